# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The evidence that a rollout keeps on the host by release id, and whether it allows a commit."""

from __future__ import annotations

import json
from typing import Any

KIND = "release_evidence"
OVERRIDE = "local_llm_accept_without_evidence"


def evidence_name(release: str) -> str:
    """Return the name of the file in the instance's directory evidence/."""
    return f"release-{release}.json"


def parse_evidence(text: str | None, release: str) -> tuple[dict[str, Any] | None, str | None]:
    """Return (evidence, None), or (None, what is wrong with it)."""
    if text is None:
        return None, f"no evidence of release {release} is kept (evidence/{evidence_name(release)})"
    try:
        evidence = json.loads(text)
    except ValueError:
        return None, f"evidence/{evidence_name(release)} is no JSON"
    if not isinstance(evidence, dict) or evidence.get("kind") != KIND or evidence.get("schema") != 1:
        return None, f"evidence/{evidence_name(release)} is no {KIND} of schema 1"
    if evidence.get("release") != release:
        return None, f"evidence/{evidence_name(release)} is that of release {evidence.get('release')}"
    return evidence, None


def evidence_problem(text: str | None, release: str, rollout_id: str | None) -> str | None:
    """Return why a release must not be committed on this evidence, or None.

    It must be of this release and this rollout, and its verdict pass; or a person has accepted it by name. What is
    proven bad cannot be accepted.
    """
    evidence, problem = parse_evidence(text, release)
    if evidence is None:
        return problem
    if evidence.get("rollout_id") != rollout_id:
        return f"the evidence of release {release} is of rollout {evidence.get('rollout_id')}, not of {rollout_id}"
    word = verdict_word(evidence)
    if word == "pass" or (word in ("inconclusive", "error") and evidence.get("accepted")):
        return None
    return f"its verdict is {word or 'missing'}, and nobody has accepted it by name ({OVERRIDE})"


def verdict_word(evidence: dict[str, Any]) -> str | None:
    """Return the word of the verdict that the evidence holds."""
    verdict = evidence.get("verdict")
    return verdict.get("verdict") if isinstance(verdict, dict) else None
