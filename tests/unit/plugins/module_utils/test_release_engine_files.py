# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine adds to a release: files of its own, and the cause of a start that failed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_ready import Readiness
from ansible_collections.local_llm.ops.plugins.module_utils._release_stage import stage
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import switch
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.release_host import FakeHost, host

__all__ = ["host"]
NAME = "engine.yaml"


def put(host: FakeHost, text: str = "{}\n") -> Any:
    rendered = {"run": "#!/bin/sh\n", "environment": "A=1\n", NAME: text}
    return stage(host.context(), host.description("v1"), "10.0.0.1", lambda _description, _paths: rendered)


def test_a_file_of_the_engine_is_part_of_the_release(host: FakeHost) -> None:
    assert put(host).changed
    path = host.directory / "releases" / host.identity("v1") / NAME
    assert path.read_text() == "{}\n" and path.stat().st_mode & 0o777 == 0o640
    assert not put(host).changed


@pytest.mark.parametrize("damage", ["text", "mode", "gone"])
def test_a_damaged_file_of_the_engine_is_reported_and_put_right(host: FakeHost, damage: str) -> None:
    put(host)
    path = host.directory / "releases" / host.identity("v1") / NAME
    if damage == "text":
        path.write_text("changed")
    elif damage == "mode":
        path.chmod(0o644)
    else:
        path.unlink()
    outcome = put(host)
    assert outcome.changed and f"was changed after it was staged ({NAME})" in outcome.warnings[0]
    assert path.read_text() == "{}\n" and path.stat().st_mode & 0o777 == 0o640


def test_another_text_of_the_renderer_is_seen(host: FakeHost) -> None:
    put(host)
    assert put(host, "{\n}\n").changed


def test_the_cause_that_the_engine_knows_is_part_of_the_error_and_of_the_journal(host: FakeHost) -> None:
    put(host)
    host.readiness = Readiness(False, "the service exited (result exit-code, exit status 1)")
    asked: list[tuple[str, list[str]]] = []

    def failure_cause(engine: str, lines: list[str]) -> str:
        asked.append((engine, lines))
        return "the cache is too small"

    with pytest.raises(ReleaseError, match=r"exit status 1\); its log says: the cache is too small\. ") as caught:
        switch(host.context(failure_cause=failure_cause), host.identity("v1"), 600)
    assert asked == [("llamacpp", ["one line of its log"])]
    assert caught.value.details["reason"].endswith("its log says: the cache is too small")
    assert "--since=@" in next(call for call in host.calls if "--lines 2000" in call)
