# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release on a host: stage, switch, commit, remove. The way back has a file of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_ready import Readiness
from ansible_collections.local_llm.ops.plugins.module_utils._release_stage import commit, remove_instance, stage
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import revert, switch
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.release_host import FakeHost, host, serving

__all__ = ["host"]


def tree(host: FakeHost) -> dict[str, str]:
    found = {}
    for path in sorted(host.root.rglob("*")):
        found[str(path)] = str(path.readlink()) if path.is_symlink() else (path.read_text() if path.is_file() else "")
    return found


# Staging.


def test_staging_twice_changes_nothing_the_second_time(host: FakeHost) -> None:
    assert host.stage("v1").changed
    before = tree(host)
    assert not host.stage("v1").changed
    assert tree(host) == before
    assert host.state()["state"] == "staged"


def test_staging_does_not_touch_the_state_of_what_serves(host: FakeHost) -> None:
    serving(host, "v1")
    host.calls.clear()
    host.stage("v2")
    assert host.state()["state"] == "healthy"
    assert host.events()[-1] == "staged"
    assert host.calls == []


@pytest.mark.parametrize("name", ["run", "environment", "release.json", "files.sha256"])
def test_a_staged_file_that_was_changed_is_reported_and_put_right(host: FakeHost, name: str) -> None:
    host.stage("v1")
    path = host.directory / "releases" / host.identity("v1") / name
    right = path.read_text()
    path.write_text("changed")
    outcome = host.stage("v1")
    assert outcome.changed
    assert "was changed after it was staged" in outcome.warnings[0]
    assert path.read_text() == right


def test_a_changed_mode_is_damage(host: FakeHost) -> None:
    host.stage("v1")
    (host.directory / "releases" / host.identity("v1") / "environment").chmod(0o644)
    assert host.store.damage(host.identity("v1")) == ["environment"]


def test_a_release_in_use_is_not_rewritten_by_a_newer_renderer(host: FakeHost) -> None:
    serving(host, "v1")
    outcome = host.stage("v1", text="newer")
    assert not outcome.changed
    assert "stays as it was first staged" in outcome.warnings[0]


def test_a_release_not_in_use_is_rewritten_by_a_newer_renderer(host: FakeHost) -> None:
    host.stage("v1")
    assert host.stage("v1", text="newer").changed


def test_leftovers_of_an_interrupted_staging_go(host: FakeHost) -> None:
    host.stage("v1")
    (host.directory / "releases" / ".abc.1.tmp").mkdir()
    host.stage("v2")
    assert not (host.directory / "releases" / ".abc.1.tmp").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine_version": "v9"}, "engines/llamacpp/v9 is missing. Install it"),
        ({"model_revision": "r9"}, "r9/manifest.json is missing. Install the model"),
        ({"model_manifest_sha256": "c" * 64}, "Install the model again, or correct"),
        ({"model_entry": "other.gguf"}, "other.gguf (model_entry) is missing"),
        ({"port": 0}, "port 0 must be"),
    ],
)
def test_staging_refuses_what_could_not_serve_and_writes_nothing(
    host: FakeHost, change: dict[str, Any], words: str
) -> None:
    before = tree(host)
    with pytest.raises(ReleaseError) as caught:
        stage(host.context(), host.description("v1", **change), "10.0.0.1", lambda *_: {"run": "", "environment": ""})
    assert words in str(caught.value)
    assert tree(host) == before


def test_staging_refuses_a_listen_address_that_is_none(host: FakeHost) -> None:
    with pytest.raises(ReleaseError, match="local_llm_address"):
        stage(host.context(), host.description("v1"), "gpu1 ; rm", lambda *_: {"run": "", "environment": ""})


# Switching.


def test_first_switch_arms_to_no_release_and_commit_disarms(host: FakeHost) -> None:
    host.stage("v1")
    outcome = switch(host.context(rollout_id="r1"), host.identity("v1"), 600)
    armed = host.store.armed() or {}
    assert outcome.changed and outcome.seconds == {"ready": 1.0}
    assert (armed["release"], armed["revert_to"], armed["deadline_uptime_seconds"]) == (host.identity("v1"), None, 700)
    assert host.timer_runs()
    assert host.state()["state"] == "verifying"
    commit(host.context(), None, 3)
    assert host.store.armed() is None
    assert not host.timer_runs()
    assert host.state()["state"] == "healthy"
    assert host.events() == ["staged", "switching", "ready", "committed"]


def test_the_dead_man_is_armed_before_the_link_changes_and_restart_comes_last(host: FakeHost) -> None:
    host.stage("v1")
    seen: list[tuple[str, bool, str | None]] = []
    real = host.run

    def run(command: list[str]) -> tuple[int, str, str]:
        if command[1] in ("start", "enable") or "restart" in command:
            seen.append((command[-1], (host.directory / "armed.json").exists(), host.store.link("current")))
        return real(command)

    host.run = run  # type: ignore[method-assign]
    switch(host.context(), host.identity("v1"), 600)
    assert seen == [
        ("local-llm-revert@chat.timer", True, None),
        ("local-llm@chat.service", True, None),
        ("local-llm@chat.service", True, host.identity("v1")),
    ]


def test_no_switch_without_a_running_dead_man(host: FakeHost) -> None:
    serving(host, "v1")
    host.stage("v2")
    host.timer_starts = False
    with pytest.raises(ReleaseError, match="does not run after its start"):
        switch(host.context(), host.identity("v2"), 600)
    assert host.store.link("current") == host.identity("v1")
    assert host.store.armed() is None


def test_switch_to_what_serves_changes_nothing(host: FakeHost) -> None:
    serving(host, "v1")
    before = tree(host)
    assert not switch(host.context(), host.identity("v1"), 600).changed
    assert tree(host) == before


def test_start_of_what_is_current_keeps_its_state_and_arms_nothing(host: FakeHost) -> None:
    serving(host, "v1")
    host.active = False
    assert switch(host.context(), host.identity("v1"), 600).changed
    assert host.active
    assert host.store.armed() is None
    assert host.state()["state"] == "healthy"


def test_without_a_timeout_there_is_no_dead_man(host: FakeHost) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 0)
    assert host.store.armed() is None
    assert not host.timer


def test_unknown_release_is_refused_and_the_known_ones_are_named(host: FakeHost) -> None:
    host.stage("v1")
    with pytest.raises(ReleaseError, match=host.identity("v1")):
        switch(host.context(), "0123456789ab", 600)


def test_damaged_release_is_refused(host: FakeHost) -> None:
    host.stage("v1")
    (host.directory / "releases" / host.identity("v1") / "run").write_text("changed")
    with pytest.raises(ReleaseError, match="Stage it again"):
        switch(host.context(), host.identity("v1"), 600)


def test_a_second_change_is_refused_and_the_first_is_named(host: FakeHost) -> None:
    serving(host, "v1")
    host.stage("v2")
    host.stage("v3")
    switch(host.context(rollout_id="first"), host.identity("v2"), 600)
    with pytest.raises(ReleaseError, match="rollout first"):
        switch(host.context(rollout_id="second"), host.identity("v3"), 600)


def test_the_same_change_again_moves_the_deadline_and_keeps_the_way_back(host: FakeHost) -> None:
    serving(host, "v1", "v2")
    host.stage("v3")
    switch(host.context(), host.identity("v3"), 600)
    host.set_clock("boot-1", 300.0)
    host.calls.clear()
    assert switch(host.context(), host.identity("v3"), 600).changed
    armed = host.store.armed() or {}
    assert armed["deadline_uptime_seconds"] == 900
    assert (armed["revert_to"], armed["previous_before"]) == (host.identity("v2"), host.identity("v1"))
    assert not [call for call in host.calls if "restart" in call]


@pytest.mark.parametrize("clock", [("boot-1", 701.0), ("boot-2", 1.0)])
def test_nothing_goes_forward_once_the_dead_man_is_due(host: FakeHost, clock: tuple[str, float]) -> None:
    serving(host, "v1")
    host.stage("v2")
    switch(host.context(), host.identity("v2"), 600)
    host.set_clock(*clock)
    with pytest.raises(ReleaseError, match="going back"):
        switch(host.context(), host.identity("v2"), 600)
    with pytest.raises(ReleaseError, match="too late"):
        commit(host.context(), None, 3)


def test_a_failed_wait_leaves_the_dead_man_armed_and_shows_the_log(host: FakeHost) -> None:
    serving(host, "v1")
    host.stage("v2")
    host.readiness = Readiness(False, "the service failed", {"stop": 0.1})
    with pytest.raises(ReleaseError) as caught:
        switch(host.context(), host.identity("v2"), 600)
    assert caught.value.details["log_lines"] == ["one line of its log"]
    assert caught.value.details["seconds"] == {"stop": 0.1}
    assert (host.store.armed() or {})["revert_to"] == host.identity("v1")
    assert host.timer
    assert host.state()["state"] == "switching"
    assert host.events()[-1] == "switch_failed"


def test_the_lock_is_free_while_waiting(host: FakeHost) -> None:
    host.stage("v1")

    def take() -> None:
        with host.store.lock(0):
            pass

    host.on_wait = take
    switch(host.context(), host.identity("v1"), 600)


def test_ready_after_the_dead_man_went_back_is_no_success(host: FakeHost) -> None:
    serving(host, "v1")
    host.stage("v2")

    def go_back() -> None:
        host.store.point("current", host.identity("v1"))
        host.store.disarm()

    host.on_wait = go_back
    with pytest.raises(ReleaseError, match="taken back"):
        switch(host.context(), host.identity("v2"), 600)


def test_a_held_lock_is_refused_after_its_deadline(host: FakeHost) -> None:
    host.stage("v1")
    with host.store.lock(1), pytest.raises(ReleaseError, match="another change"):
        switch(host.context(), host.identity("v1"), 600)


# Committing.


def test_commit_twice_changes_nothing_the_second_time(host: FakeHost) -> None:
    serving(host, "v1")
    assert not commit(host.context(), None, 3).changed


@pytest.mark.parametrize("state", ["verifying", "switching"])
def test_a_first_release_without_a_dead_man_is_committed_once_it_serves(host: FakeHost, state: str) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 0)
    if state == "switching":  # the module was cut off before the service was ready
        host.context().record("switching", "switching", "cut off")
    assert host.state()["state"] == state
    assert commit(host.context(check_mode=True), None, 3).changed
    assert commit(host.context(), None, 3).changed
    assert (host.state()["state"], host.state()["release"]) == ("healthy", host.identity("v1"))
    assert not commit(host.context(), None, 3).changed


def test_a_first_release_without_a_dead_man_that_does_not_run_is_not_committed(host: FakeHost) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 0)
    host.active = False
    with pytest.raises(ReleaseError, match="does not run"):
        commit(host.context(), None, 3)


def test_commit_finishes_one_that_was_cut_off_after_disarming(host: FakeHost) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 600)
    host.store.disarm()
    assert commit(host.context(), host.identity("v1"), 3).changed
    assert host.state()["state"] == "healthy"


def test_commit_of_another_release_than_the_current_is_refused(host: FakeHost) -> None:
    serving(host, "v1")
    with pytest.raises(ReleaseError, match="refused"):
        commit(host.context(), "0123456789ab", 3)


def test_commit_of_a_service_that_does_not_run_is_refused(host: FakeHost) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 600)
    host.active = False
    with pytest.raises(ReleaseError, match="does not run"):
        commit(host.context(), None, 3)
    assert host.store.armed() is not None


def test_commit_prunes_but_never_current_and_previous(host: FakeHost) -> None:
    serving(host, "v1", "v2", "v3", "v4")
    outcome = commit(host.context(), None, 1)
    assert outcome.changed
    assert {identity for identity, _time in host.store.releases()} == {host.identity("v3"), host.identity("v4")}
    assert not commit(host.context(), None, 1).changed


# Removing, check mode, damage.


def test_removing_takes_the_instance_and_leaves_models_and_engines(host: FakeHost) -> None:
    serving(host, "v1")
    assert remove_instance(host.context()).changed
    assert not host.directory.exists()
    assert not host.active
    assert (host.root / "base" / "models" / "tiny" / "r1" / "model.gguf").exists()
    assert not remove_instance(host.context()).changed


def test_check_mode_predicts_every_step_and_writes_nothing(host: FakeHost) -> None:
    serving(host, "v1", "v2")
    host.stage("v3")
    before = tree(host)
    host.calls.clear()
    check = host.context(check_mode=True)
    assert host.stage("v4", check_mode=True).predicted["releases"][0] == host.identity("v4")
    assert switch(check, host.identity("v3"), 600).predicted["current"] == host.identity("v3")
    assert switch(check, "0123456789ab", 600).warnings
    assert revert(check, None, False).predicted["current"] == host.identity("v1")
    assert commit(check, host.identity("v3"), 3).changed
    assert not commit(check, None, 3).changed
    assert remove_instance(check).predicted["current"] is None
    assert tree(host) == before
    assert {call.split()[1] for call in host.calls} <= {"show"}


def test_a_torn_last_line_of_the_journal_is_dropped_and_the_chain_holds(host: FakeHost) -> None:
    serving(host, "v1")
    with open(host.directory / "journal.jsonl", "a") as stream:
        stream.write('{"at":"2026')
    host.stage("v2")
    assert host.events()[-1] == "staged"


def test_damaged_state_files_are_named(host: FakeHost) -> None:
    host.stage("v1")
    (host.directory / "armed.json").write_text("{")
    with pytest.raises(ReleaseError, match=r"armed\.json is damaged"):
        switch(host.context(), host.identity("v1"), 600)


def test_state_json_is_pinned(host: FakeHost) -> None:
    serving(host, "v1")
    state = host.state()
    assert sorted(state) == ["detail", "instance", "previous", "release", "rollout_id", "schema", "state", "updated_at"]
    line = json.loads((host.directory / "journal.jsonl").read_text().splitlines()[-1])
    assert sorted(line) == [
        "at", "detail", "event", "evidence", "host", "instance", "previous_release", "previous_sha256",
        "release", "rollout_id", "schema", "seconds", "seq", "state",
    ]  # fmt: skip
