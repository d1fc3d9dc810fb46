# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of the dead-man: when it goes back, to what, and what it leaves. Here it has a fake systemctl."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._release_stage import commit
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import revert, switch
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.release_host import FakeHost, host

__all__ = ["host"]

SCRIPT = Path(__file__).resolve().parents[4] / "roles" / "host" / "files" / "revert"


def run_script(host: FakeHost, refused: str = "nothing") -> tuple[int, list[str], str]:
    """Run the script; return its exit status, the calls of systemctl, and what it logged.

    systemctl fails where the verb `refused` is among its arguments.
    """
    programs, calls = host.root / "bin", host.root / "systemctl.calls"
    programs.mkdir(exist_ok=True)
    calls.write_text("")
    (programs / "systemctl").write_text(
        f'#!/bin/sh\necho "$*" >>{calls}\ncase " $* " in *" {refused} "*) exit 1 ;; esac\n'
    )
    (programs / "systemctl").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LOCAL_LLM_BASE": host.paths.base,
        "LOCAL_LLM_PROC": host.paths.proc,
    }
    done = subprocess.run(
        ["sh", str(SCRIPT), "chat"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, calls.read_text().splitlines(), done.stderr


def change(host: FakeHost, *committed: str, to: str, rollout_id: str | None = "r1") -> None:
    """Let the host serve some versions, then switch to another one without a commit."""
    for version in committed:
        host.stage(version)
        switch(host.context(), host.identity(version), 600)
        commit(host.context(), None, 9)
    host.stage(to)
    switch(host.context(rollout_id=rollout_id), host.identity(to), 600)


STOP_TIMER = "--no-block stop local-llm-revert@chat.timer"
RESTART = "--no-block restart local-llm@chat.service"


def test_before_the_deadline_it_does_nothing_and_says_nothing(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    host.set_clock("boot-1", 699.9)
    assert run_script(host) == (0, [], "")
    assert host.store.link("current") == host.identity("v2")


@pytest.mark.parametrize(
    ("boot_id", "uptime", "reason"), [("boot-1", 700.0, "not committed by"), ("boot-2", 3.0, "restarted in mid-change")]
)
def test_it_goes_back_by_deadline_and_after_a_restart(host: FakeHost, boot_id: str, uptime: float, reason: str) -> None:
    change(host, "v1", "v2", to="v3")
    host.set_clock(boot_id, uptime)
    status, calls, log = run_script(host)
    assert status == 0
    assert (host.store.link("current"), host.store.link("previous")) == (host.identity("v2"), host.identity("v1"))
    assert host.store.armed() is None
    assert calls == ["reset-failed local-llm@chat.service", RESTART, STOP_TIMER]
    assert reason in log and host.identity("v2") in log
    state = host.state()
    assert (state["state"], state["release"], state["rollout_id"]) == ("rolling_back", host.identity("v2"), "r1")
    assert state["detail"] == "dead-man reverted, not verified yet"


def test_its_journal_line_continues_the_chain_and_the_module_continues_after_it(host: FakeHost) -> None:
    change(host, "v1", to="v2", rollout_id=None)
    host.set_clock("boot-2", 3.0)
    run_script(host)
    assert host.events()[-1] == "dead_man_reverted"
    assert not revert(host.context(), None, False).changed
    assert revert(host.context(), None, True).changed
    assert host.events()[-2:] == ["dead_man_reverted", "revert_verified"]


def test_its_state_file_has_the_same_keys_as_the_modules(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    keys = sorted(host.state())
    host.set_clock("boot-2", 3.0)
    run_script(host)
    assert sorted(host.state()) == keys


def test_a_first_release_that_was_not_committed_is_stopped(host: FakeHost) -> None:
    change(host, to="v1")
    host.set_clock("boot-1", 700.0)
    _status, calls, _log = run_script(host)
    assert host.store.link("current") is None
    assert calls == [
        "--no-block stop local-llm@chat.service",
        "--quiet --no-reload disable local-llm@chat.service",
        STOP_TIMER,
    ]


def test_not_armed_ends_the_polling(host: FakeHost) -> None:
    host.stage("v1")
    assert run_script(host) == (0, [STOP_TIMER], "")


def test_not_armed_leaves_the_timer_of_a_change_that_is_arming_right_now(host: FakeHost) -> None:
    host.stage("v1")
    with host.store.lock(1):
        assert run_script(host) == (0, [], "")


def test_an_interrupted_way_back_is_finished_by_the_next_run(host: FakeHost) -> None:
    change(host, "v1", "v2", to="v3")
    armed = (host.directory / "armed.json").read_text()
    host.set_clock("boot-2", 3.0)
    run_script(host)
    (host.directory / "armed.json").write_text(armed)
    run_script(host)
    assert (host.store.link("current"), host.store.link("previous")) == (host.identity("v2"), host.identity("v1"))
    assert host.store.armed() is None
    host.events()


START_TIMER = "--no-block start local-llm-revert@chat.timer"


@pytest.mark.parametrize(("served_before", "refused"), [(["v1"], "restart"), ([], "stop")])
def test_a_service_manager_that_refuses_leaves_it_armed_and_the_next_poll_finishes(
    host: FakeHost, served_before: list[str], refused: str
) -> None:
    change(host, *served_before, to="v2")
    host.set_clock("boot-2", 3.0)
    for _poll in range(3):
        status, calls, log = run_script(host, refused)
        assert status == 1
        assert host.store.armed() is not None
        assert calls[-1] == START_TIMER, "at boot nothing polls unless the timer is started"
        assert "trying again" in log and "local-llm@chat.service" in log
    status, calls, _log = run_script(host)
    assert (status, calls[-1]) == (0, STOP_TIMER)
    assert host.store.armed() is None
    assert host.store.link("current") == (host.identity("v1") if served_before else None)
    assert host.events().count("dead_man_reverted") == 1, "one way back is one line"


def test_the_second_way_back_is_written_down_too(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    for number in (2, 3):
        host.set_clock(f"boot-{number}", 3.0)
        run_script(host)
        switch(host.context(), host.identity("v2"), 600)
    assert host.events().count("dead_man_reverted") == 2


def test_a_torn_journal_line_is_dropped(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    with open(host.directory / "journal.jsonl", "a") as stream:
        stream.write('{"at":"2026')
    host.set_clock("boot-2", 3.0)
    run_script(host)
    assert host.events()[-1] == "dead_man_reverted"


def test_a_journal_that_cannot_be_written_does_not_keep_it_from_going_back(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    (host.directory / "journal.jsonl").unlink()
    (host.directory / "journal.jsonl").mkdir()
    (host.directory / "state.json").unlink()
    (host.directory / "state.json").mkdir()
    host.set_clock("boot-2", 3.0)
    _status, calls, _log = run_script(host)
    assert host.store.link("current") == host.identity("v1")
    assert RESTART in calls


def test_a_lock_that_cannot_be_opened_does_not_keep_it_from_going_back(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    lock = host.root / "base" / "locks" / "chat.lock"
    lock.unlink()
    lock.mkdir()
    host.set_clock("boot-2", 3.0)
    _status, _calls, log = run_script(host)
    assert "going on without it" in log
    assert host.store.link("current") == host.identity("v1")


def test_a_damaged_armed_file_goes_back_to_previous(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    (host.directory / "armed.json").write_text("")
    run_script(host)
    assert host.store.link("current") == host.identity("v1")


def test_a_damaged_armed_file_without_previous_leaves_what_serves_and_says_so(host: FakeHost) -> None:
    change(host, to="v1")
    (host.directory / "armed.json").write_text("")
    status, calls, log = run_script(host)
    assert status == 1
    assert host.store.link("current") == host.identity("v1")
    assert calls == [STOP_TIMER]
    assert "cannot go back" in log
    assert host.state()["state"] == "rollback_failed"


def test_a_missing_release_is_told_and_not_switched_to(host: FakeHost) -> None:
    change(host, "v1", to="v2")
    host.store.remove_release(host.identity("v1"))
    host.set_clock("boot-2", 3.0)
    status, calls, log = run_script(host)
    assert status == 1
    assert host.store.link("current") == host.identity("v2")
    assert RESTART not in calls
    assert host.identity("v1") in log
    assert host.state()["state"] == "rollback_failed"
    assert host.events()[-1] == "dead_man_failed"
