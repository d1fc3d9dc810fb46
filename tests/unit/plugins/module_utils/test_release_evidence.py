# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release without kept evidence cannot be promoted; a person can stand for it, but not for a proven fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_evidence import evidence_name, evidence_problem
from ansible_collections.local_llm.ops.plugins.module_utils._release_stage import commit
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import switch
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.release_host import FakeHost, host

__all__ = ["host"]
RELEASE, ROLLOUT = "0123456789ab", "20261121T065421Z-8b83"


def evidence(word: str = "pass", **changes: Any) -> str:
    kept = {"schema": 1, "kind": "release_evidence", "release": RELEASE, "rollout_id": ROLLOUT, "accepted": None}
    return json.dumps({**kept, "verdict": {"verdict": word}, **changes})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (evidence(), None),
        (evidence("inconclusive", accepted="m.rossi: no baseline"), None),
        (evidence("error", accepted="m.rossi: no baseline"), None),
        (evidence("fail", accepted="m.rossi: no baseline"), "its verdict is fail"),
        (evidence("inconclusive"), "nobody has accepted it by name"),
        (evidence(verdict=None), "its verdict is missing"),
        (evidence(rollout_id="another"), "of rollout another"),
        (evidence(release="ba9876543210"), "that of release ba9876543210"),
        (evidence(schema=2), "schema 1"),
        (None, "no evidence"),
        ("{", "no JSON"),
        ("[]", "schema 1"),
    ],
)
def test_only_evidence_of_this_release_and_rollout_allows_a_commit(text: str | None, told: str | None) -> None:
    problem = evidence_problem(text, RELEASE, ROLLOUT)
    assert (problem is None) if told is None else told in str(problem)


def test_commit_is_refused_without_evidence_and_the_dead_man_stays(host: FakeHost) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 600)
    with pytest.raises(ReleaseError, match="no evidence of release"):
        commit(host.context(), None, 3, require_evidence=True)
    assert host.store.armed() is not None
    rollout_id = host.context().rollout_id
    place = Path(host.store.path("evidence", evidence_name(host.identity("v1"))))
    place.write_text(evidence(release=host.identity("v1"), rollout_id=rollout_id), encoding="utf-8")
    assert commit(host.context(), None, 3, require_evidence=True).changed
    assert host.store.armed() is None
