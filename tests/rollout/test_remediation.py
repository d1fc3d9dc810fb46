# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that helps itself holds its hands while a rollout has it, and acts again afterwards."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from fleet import Fleet
from remediation_journal import DIRECTORY, HOLD, REMEDIATE, assert_held, told, unit_time
from rollouts import HOSTS, Rollout
from waiting import wait_for

# On demand for its time: about four minutes beside others.
pytestmark = pytest.mark.extra
PLAYBOOK = Path(__file__).parent / "remediation.yml"


def looked_at(fleet: Fleet, host: str) -> float:
    """Return when the host looked last."""
    state = json.loads(fleet.shell(host, f"cat {DIRECTORY}/state.json 2>/dev/null || echo '{{}}'"))
    return float(state.get("looked_at") or 0)


def crash(fleet: Fleet, host: str) -> None:
    """Kill the engine; systemd starts it again, and remediation sees that."""
    fleet.shell(host, "systemctl kill -s KILL local-llm@chat")


def restarts(fleet: Fleet, host: str) -> int:
    """Return how often systemd has started the engine again by itself."""
    return int(fleet.shell(host, "systemctl show -p NRestarts --value local-llm@chat"))


def wait_looks(fleet: Fleet, host: str) -> None:
    """Wait for two looks from now on."""
    last = looked_at(fleet, host)
    wait_for("two looks", lambda: looked_at(fleet, host) > last + 6)


@pytest.fixture(scope="module")
def watchful(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet with remediation in mode act."""
    command = [str(fleet.venv / "bin/ansible-playbook"), "-i", str(fleet.lab.directory / "inventory.yml")]
    for state in ("present", "absent"):
        done = subprocess.run(
            [*command, str(PLAYBOOK), "-e", f"remediation_state={state}"],
            env=fleet.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        if state == "present":
            for host in HOSTS:
                wait_for(f"{host} to look", partial(looked_at, fleet, host))
            yield fleet


def test_a_host_holds_its_hands_from_the_begin_of_its_turn_to_the_end_forward_and_back(
    watchful: Fleet, rollout: Callable[..., Rollout], other_release: list[str], settled: Callable[[], None]
) -> None:
    fleet = watchful
    before = {host: len(told(fleet, host)) for host in HOSTS}
    run = rollout(*other_release)
    run.wait_event("drained")
    first = next(host for host in HOSTS if len(told(fleet, host)) > before[host])
    # The dead-man is not armed yet: nothing but what the rollout said keeps remediation away.
    assert HOLD in fleet.shell(first, f"{REMEDIATE} status")
    done = run.finish()
    assert done.code == 0, done.output[-4000:]
    settled()
    name = f"by {done.made_rollout.name}"
    for host in HOSTS:
        assert told(fleet, host)[before[host] :] == [("begin", name), ("end", name)], host
        assert_held(fleet, host, unit_time(fleet, host, "ActiveEnterTimestamp"), name)

    back = fleet.playbook("rollback")
    assert back.code == 0, back.output[-4000:]
    settled()
    name = f"by {back.made_rollout.name}"
    for host in HOSTS:
        assert_held(fleet, host, unit_time(fleet, host, "ActiveEnterTimestamp"), name)


def test_a_crash_while_somebody_has_the_host_is_left_to_them_and_the_next_one_is_not(watchful: Fleet) -> None:
    fleet, host = watchful, HOSTS[0]
    count = len(told(fleet, host))
    started = restarts(fleet, host)
    fleet.shell(host, f"{REMEDIATE} begin test 5")
    crash(fleet, host)
    wait_for("systemd to start it again", lambda: restarts(fleet, host) > started)
    wait_looks(fleet, host)
    fleet.shell(host, f"{REMEDIATE} end test")
    wait_looks(fleet, host)
    assert told(fleet, host)[count:] == [("begin", "by test"), ("end", "by test")]
    crash(fleet, host)
    wait_for("remediation to act", lambda: ("restart", "done") in told(fleet, host)[count:])


def test_stop_and_start_have_the_host_while_they_change_its_service(watchful: Fleet) -> None:
    fleet, host = watchful, HOSTS[0]
    done = fleet.playbook("stop", "--limit", host)
    assert done.code == 0, done.output[-4000:]
    assert_held(fleet, host, unit_time(fleet, host, "InactiveEnterTimestamp"), "by stop")
    count = len(told(fleet, host))
    wait_looks(fleet, host)
    assert told(fleet, host)[count:] == [], "what a person has stopped stays stopped"
    done = fleet.playbook("start")
    assert done.code == 0, done.output[-4000:]
    assert_held(fleet, host, unit_time(fleet, host, "ActiveEnterTimestamp"), "by start")


def test_start_says_that_it_has_the_host_and_changes_nothing_where_all_serve(watchful: Fleet) -> None:
    done = watchful.playbook("start")
    assert done.code == 0, done.output[-4000:]
    assert done.changed == 0, done.output[-4000:]
    for host in HOSTS:
        assert told(watchful, host)[-2:] == [("begin", "by start"), ("end", "by start")]
