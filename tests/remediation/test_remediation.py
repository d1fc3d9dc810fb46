# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host helps itself, on real machines with a real HAProxy: crash loops, stuck engines, rollouts, agent checks."""

from __future__ import annotations

import json

from remedy_fleet import OUT, Remedied
from waiting import wait_for

RESTARTS = 2


def is_down(fleet: Remedied) -> str:
    """Return what the agent said when it says down, else an empty text."""
    agent = fleet.server()["agent"] or {}
    return str(agent["said"]) if agent.get("state") == "down" else ""


def test_a_crash_loop_is_taken_out_restarted_twice_and_then_left_to_a_person(fleet: Remedied) -> None:
    before = len(fleet.journal())
    fleet.engine("crash")
    fleet.on("systemctl kill -s KILL local-llm@chat")
    wait_for("the rule to give up", lambda: ("crashes", "give_up", "done") in fleet.told(before), 180)
    told = fleet.told(before)
    assert told.count(("crashes", "restart", "done")) == RESTARTS
    steps = [("take_out", "done"), ("restart", "begun"), ("restart", "done"), ("notify", "done")]
    assert told[:4] == [("crashes", *step) for step in steps]
    metrics = fleet.metrics()
    assert 'local_llm_remediation_gave_up{rule="crashes",server="gpu1-chat"} 1' in metrics
    assert 'local_llm_remediation_actions_total{action="restart",rule="crashes",server="gpu1-chat"}' in metrics
    assert "GAVE UP: crashes" in fleet.on("/usr/local/libexec/local_llm/remediate status")
    lines = wait_for("the alerts", lambda: fleet.shell("gw1", "cat /root/alerts.jsonl").splitlines(), 30)
    alerts = [json.loads(line) for line in lines]
    (gave_up,) = [x for x in alerts if x["labels"]["action"] == "give_up" and x["labels"]["rule"] == "crashes"]
    assert (gave_up["labels"]["severity"], gave_up["labels"]["server"]) == ("critical", "gpu1-chat")

    # It crashes on; nothing is done any more, also not by other rules.
    count = len(fleet.journal())
    fleet.wait_looks(4)
    assert fleet.told(count) == []

    # It serves again by itself: let in, and the person still has to say that it is mended.
    fleet.engine()
    wait_for("the server to come back", lambda: fleet.client_gets() == 200, 60)
    assert fleet.told(count) == [("crashes", "let_in", "done")]
    assert 'gave_up{rule="crashes",server="gpu1-chat"} 1' in fleet.metrics()
    fleet.on("/usr/local/libexec/local_llm/remediate reset chat")
    fleet.wait_looks(1)
    assert 'gave_up{rule="crashes",server="gpu1-chat"} 0' in fleet.metrics()
    reset = fleet.journal()[-1]
    assert (reset["action"], reset["evidence"]) == ("reset", {"gave_up": ["crashes"]})


def test_an_engine_with_requests_and_without_tokens_is_taken_out_and_restarted(fleet: Remedied) -> None:
    before = len(fleet.journal())
    run = fleet.on("systemctl show -p InvocationID --value local-llm@chat")
    fleet.engine("stuck")
    said = wait_for("the gateway to see it out", lambda: is_down(fleet), 90)
    assert "makes no tokens" in said
    assert fleet.server()["admin_state"] == "ready"
    assert ("stuck", "restart", "done") in fleet.told(before)
    assert fleet.on("systemctl show -p InvocationID --value local-llm@chat") != run
    fleet.engine()
    wait_for("it to come back", lambda: ("stuck", "let_in", "done") in fleet.told(before), 60)
    wait_for("a client to be served", lambda: fleet.client_gets() == 200, 30)


def test_an_agent_that_is_switched_off_lets_go_first(fleet: Remedied) -> None:
    before = len(fleet.journal())
    fleet.engine("crash")
    fleet.on("systemctl kill -s KILL local-llm@chat")
    wait_for("the gateway to see it out", lambda: is_down(fleet), 90)
    try:
        fleet.remediation(remediation_agent=False)
        assert ":9837 " not in fleet.on("ss -Hltn")
        assert not is_down(fleet)
        wait_for("the let-in to be written down", lambda: ("crashes", "let_in", "done") in fleet.told()[before:], 30)
        fleet.engine()
        fleet.on("systemctl reset-failed local-llm@chat; systemctl restart local-llm@chat")
        wait_for("a client to be served", lambda: fleet.client_gets() == 200, 60)
    finally:
        fleet.remediation()
    wait_for("the agent to listen again", lambda: ":9837 " in fleet.on("ss -Hltn"), 30)


def test_nothing_is_done_while_a_rollout_is_armed(fleet: Remedied) -> None:
    before = len(fleet.journal())
    boot = fleet.on("cat /proc/sys/kernel/random/boot_id").strip()
    armed = {"boot_id": boot, "deadline_at": "later", "deadline_uptime_seconds": 10**9, "release": "d126937278fd"}
    text = json.dumps(
        {**armed, "revert_to": None, "previous_before": None, "rollout_id": "test"}, separators=(",", ":")
    )
    fleet.on(f"printf '%s\\n' '{text}' > /var/lib/local_llm/instances/chat/armed.json")
    fleet.engine("crash")
    fleet.on("systemctl kill -s KILL local-llm@chat")
    fleet.wait_looks(5)
    assert fleet.told(before) == []
    assert 'local_llm_remediation_held{server="gpu1-chat"} 1' in fleet.metrics()
    fleet.on("rm /var/lib/local_llm/instances/chat/armed.json")
    wait_for(
        "remediation to act once the rollout is over", lambda: ("crashes", "restart", "done") in fleet.told(before), 60
    )


def test_a_server_that_is_taken_out_finishes_its_streams_and_comes_back_when_nobody_renews(fleet: Remedied) -> None:
    fleet.on("systemctl stop local-llm-remediation.timer")
    wait_for("a client to be served", lambda: fleet.client_gets() == 200, 30)
    stream = fleet.stream()
    wait_for("the stream to be under way", lambda: fleet.server()["in_flight"] == 1, 20)
    program = (
        "import json, time; until = time.clock_gettime(time.CLOCK_BOOTTIME) + 15; "
        'entry = {"until_uptime_seconds": until, "reason": "a test"}; '
        f'open("{OUT}", "w").write(json.dumps({{"schema": 1, "out": {{"gpu1-chat": entry}}}}))'
    )
    fleet.on(f"python3 -c '{program}'")
    wait_for("the gateway to take it out", lambda: fleet.client_gets() == 503, 15)
    # The operator's state is another thing: it is neither read nor changed by the agent.
    assert fleet.server()["admin_state"] == "ready"
    fleet.ad_hoc("gateway", "local_llm.ops.gateway_backend", "pool=chat server=gpu1-chat state=drain")
    assert stream.read().rstrip().endswith(b"data: [DONE]")
    wait_for("the agent to say up", lambda: (fleet.server()["agent"] or {})["state"] == "up", 40)
    assert fleet.server()["admin_state"] == "drain"
    assert fleet.client_gets() == 503
    fleet.ad_hoc("gateway", "local_llm.ops.gateway_backend", "pool=chat server=gpu1-chat state=ready")
    wait_for("a client to be served", lambda: fleet.client_gets() == 200, 30)


def test_a_hold_keeps_remediation_away_and_ends(fleet: Remedied) -> None:
    fleet.on("/usr/local/libexec/local_llm/remediate hold chat 5 changing the fans")
    before = len(fleet.journal())
    fleet.engine("crash")
    fleet.on("systemctl kill -s KILL local-llm@chat")
    fleet.wait_looks(3)
    assert fleet.told(before) == []
    assert "changing the fans" in fleet.on("/usr/local/libexec/local_llm/remediate status")
    fleet.on("/usr/local/libexec/local_llm/remediate release chat")
    wait_for("remediation to act", lambda: ("crashes", "restart", "done") in fleet.told(before), 60)
