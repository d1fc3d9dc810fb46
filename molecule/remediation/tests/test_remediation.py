# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role remediation leaves on a host, and that its parts work there as systemd runs them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from testinfra.host import Host
from waiting import wait_for

testinfra_hosts = ["ansible://gpu_hosts"]

STATE = "/var/lib/local_llm/remediation/state.json"
HOME = "/var/cache/local-llm/chat"


def ask_agent(host: Host, server: str) -> str:
    """Ask as HAProxy does, at the address where the agent listens."""
    listen = host.check_output("systemctl show -p Listen --value local-llm-remediation-agent.socket").split()[0]
    address, _colon, port = listen.rpartition(":")
    program = (
        "import socket, sys\n"
        f"with socket.create_connection(({address.strip('[]')!r}, {int(port)}), 5) as it:\n"
        f"    it.sendall({server!r}.encode() + b'\\n')\n"
        "    print(it.recv(300).decode(), end='')\n"
    )
    return host.check_output("python3 -c %s", program)


def journal(host: Host) -> list[dict[str, Any]]:
    """Return the lines of remediation's journal."""
    path = host.file("/var/lib/local_llm/remediation/journal.jsonl")
    return [json.loads(line) for line in path.content_string.splitlines()] if path.exists else []


def test_units_hold_what_systemd_expects(host: Host) -> None:
    names = "local-llm-remediation.timer local-llm-remediation.service"
    agent = "local-llm-remediation-agent.socket local-llm-remediation-agent.service"
    found = host.run(f"systemd-analyze verify {names} {agent}")
    assert not [line for line in found.stderr.splitlines() if "local-llm-remediation" in line]


@pytest.mark.parametrize(("unit", "most"), [("local-llm-remediation-agent", 1.5), ("local-llm-remediation", 6.5)])
def test_exposure_of_the_services_is_small(host: Host, unit: str, most: float) -> None:
    output = host.check_output(f"systemd-analyze security --no-pager {unit}.service")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert found is not None
    assert float(found[1]) <= most


def test_timer_and_socket_are_on_and_the_host_was_looked_at(host: Host) -> None:
    assert host.service("local-llm-remediation.timer").is_enabled
    assert ":9837 " in host.check_output("ss -Hltn")
    state = wait_for("a first look", lambda: host.file(STATE).exists and json.loads(host.file(STATE).content_string))
    assert list(state["instances"]) == ["chat"]
    wait_for("the unit to be at rest and well", lambda: host.run("systemctl is-failed local-llm-remediation").rc != 0)


def test_the_agent_listens_on_the_private_address_alone(host: Host) -> None:
    assert "0.0.0.0:9837" not in host.check_output("ss -Hltn")
    assert "127.0.0.1:9837" not in host.check_output("ss -Hltn")


def test_the_agent_says_up_and_runs_without_a_right(host: Host) -> None:
    name = host.check_output("uname -n")
    assert ask_agent(host, f"{name}-chat") == "up"
    assert ask_agent(host, "../../../etc/passwd") == "up"
    user = host.check_output("ps -o user= -C remediation_age")
    assert "root" not in user


def test_metrics_are_there_for_the_exporter(host: Host) -> None:
    path = host.file("/var/lib/prometheus/node-exporter/local_llm_remediation.prom")
    text = wait_for("metrics", lambda: path.exists and path.content_string)
    assert path.mode == 0o644
    assert "local_llm_remediation_acting 1" in text
    assert 'local_llm_remediation_gave_up{rule="crashes",server=' in text


def test_people_get_a_status_and_the_settings_hold_no_secret(host: Host) -> None:
    assert "mode act" in host.check_output("/usr/local/libexec/local_llm/remediate status")
    settings = json.loads(host.file("/etc/local_llm/remediation.json").content_string)
    assert settings["rules"][0]["name"] == "crashes"
    assert host.run("/usr/local/libexec/local_llm/remediate hold chat").rc == 2


def test_an_engine_that_does_not_answer_any_more_is_restarted(host: Host) -> None:
    run = "systemctl show -p InvocationID --value local-llm@chat"
    before = host.check_output(run)
    wait_for(
        "remediation to have seen the engine answer",
        lambda: json.loads(host.file(STATE).content_string)["instances"]["chat"]["answered_invocation"] == before,
    )
    host.check_output(f"touch {HOME}/mute")
    try:
        done = {"action": "restart", "result": "done"}
        wait_for("a restart", lambda: [x for x in journal(host) if {k: x[k] for k in done} == done], 90)
    finally:
        host.check_output(f"rm -f {HOME}/mute")
    assert host.check_output(run) != before
    assert journal(host)[-1]["rule"] == "unresponsive"
    log = host.check_output("journalctl -u local-llm-remediation -o cat")
    assert "restart done" in log
