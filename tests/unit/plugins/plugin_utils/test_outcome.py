# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a rollout stands and what the operator is told: completed, taken back, halted; the lock goes or stays."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._outcome import conclude, decide

HOSTS = ("gpu1", "gpu2", "gpu3")
FAILED = "Judge the new release: ttft_p95 is 0.9 s, 0.3 s is the limit"


def plan(*hosts: str, instances: tuple[str, ...] = ("chat",), **actions: str) -> dict[str, Any]:
    names = hosts or HOSTS
    entries = {host: {name: {"action": actions.get(host, "upgrade")} for name in instances} for host in names}
    return {"batches": [[host] for host in names], "hosts": entries}


def resumed() -> dict[str, Any]:
    """Return the plan of a second run: gpu1 was promoted by the first one, gpu2 and gpu3 still have to be."""
    entry = {"action": "none", "carried": True}
    return {"batches": [["gpu2"], ["gpu3"]], "hosts": {**plan()["hosts"], "gpu1": {"chat": entry}}}


def refused(fault: bool, detail: str = "gpu1/chat: expected unit state active, found unit state failed") -> Any:
    return line(None, "gate_refused", detail=detail, evidence={"fault": fault})


def line(host: str | None, event: str, state: str | None = None, **values: Any) -> dict[str, Any]:
    return {"host": host, "instance": None, "event": event, "state": state, "detail": "", "evidence": {}, **values}


def states(**by_host: str) -> list[dict[str, Any]]:
    return [line(host, "x", state, instance="chat") for host, state in by_host.items()]


def failed(host: str, verdict: str = "fail", detail: str = FAILED) -> dict[str, Any]:
    return line(host, "failed", "rolling_back", detail=detail, evidence={"verdict": verdict})


def test_every_planned_instance_healthy_is_completed() -> None:
    lines = states(gpu1="healthy", gpu2="healthy", gpu3="healthy")
    assert decide(plan(), lines, "fleet") == {"outcome": "completed", "take_back": {}, "failures": []}


def test_an_instance_that_the_plan_leaves_alone_is_not_waited_for() -> None:
    lines = states(gpu1="healthy", gpu2="healthy")
    assert decide(plan(gpu3="none"), lines, "fleet")["outcome"] == "completed"


@pytest.mark.parametrize("instances", [("chat",), ("chat", "other")])
def test_one_instance_without_a_line_is_not_completed(instances: tuple[str, ...]) -> None:
    lines = states(gpu1="healthy", gpu2="healthy", **({} if len(instances) == 1 else {"gpu3": "healthy"}))
    assert decide(plan(instances=instances), lines, "fleet")["outcome"] == "halted"


def test_only_the_last_state_of_an_instance_counts() -> None:
    lines = [*states(gpu1="rolling_back", gpu2="healthy"), *states(gpu1="healthy"), *states(gpu2="unknown")]
    assert decide(plan("gpu1", "gpu2"), lines, "fleet")["outcome"] != "completed"


@pytest.mark.parametrize(("scope", "take_back"), [("fleet", {"gpu1": ["chat"]}), ("batch", {})])
def test_a_proven_fault_takes_back_what_was_promoted_only_in_the_scope_of_the_fleet(
    scope: str, take_back: dict[str, list[str]]
) -> None:
    lines = [*states(gpu1="healthy"), failed("gpu2"), *states(gpu2="rolled_back_verified", gpu3="staged")]
    decision = decide(plan(), lines, scope)
    assert (decision["outcome"], decision["take_back"]) == ("rolling_back", take_back)
    assert decision["failures"] == [f"gpu2: {FAILED}."]


@pytest.mark.parametrize("verdict", ["inconclusive", "error", "no_approval"])
def test_a_lack_of_proof_or_of_a_yes_condemns_no_host_that_was_proven_healthy(verdict: str) -> None:
    decision = decide(plan(), [*states(gpu1="healthy"), failed("gpu2", verdict)], "fleet")
    assert (decision["outcome"], decision["take_back"]) == ("halted", {})


@pytest.mark.parametrize("verdict", ["fail", "pass", ""])
def test_one_proven_fault_outweighs_others_that_lack_proof(verdict: str) -> None:
    lines = [*states(gpu1="healthy"), failed("gpu2", "inconclusive"), failed("gpu3", verdict)]
    assert decide(plan(), lines, "fleet")["take_back"] == {"gpu1": ["chat"]}


def test_a_machine_that_became_slower_halts_instead_of_blaming_the_release() -> None:
    lines = [*states(gpu1="healthy"), failed("gpu2"), line("gpu2", "drift_found", "rolling_back")]
    assert decide(plan(), lines, "fleet")["outcome"] == "halted"
    elsewhere = [*states(gpu1="healthy"), failed("gpu2"), line("gpu3", "drift_found", "rolling_back")]
    assert decide(plan(), elsewhere, "fleet")["outcome"] == "rolling_back"


def test_staging_that_failed_halts_with_nothing_touched_and_the_lock_released() -> None:
    lines = [
        line("gpu2", "stage_failed", "unknown", detail="Stage: no space left on /var\nmore"),
        *states(gpu1="staged"),
    ]
    decision = decide(plan(), lines, "fleet")
    assert (decision["outcome"], decision["take_back"]) == ("halted", {})
    conclusion = conclude(plan(), lines, "fleet")
    assert (conclusion["state"], conclusion["release_lock"]) == ("halted", True)
    assert conclusion["message"].startswith("gpu2: Stage: no space left on /var. No host was taken out of service")


def test_one_cause_on_many_hosts_is_told_once() -> None:
    lines = [failed("gpu2", "no_approval", "nobody said yes."), failed("gpu3", "no_approval", "nobody said yes.")]
    assert decide(plan(), lines, "fleet")["failures"] == ["gpu2, gpu3: nobody said yes."]


def test_a_scope_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"local_llm_rollout_scope is 'host'\. Use one of: fleet, batch\."):
        decide(plan(), [], "host")


CONCLUSIONS = {
    "all healthy": (
        states(gpu1="healthy", gpu2="healthy", gpu3="healthy"), "fleet",
        ("completed", True), ["gpu1/chat, gpu2/chat, gpu3/chat serve the new release"],
    ),
    "the canary failed": (
        [failed("gpu1"), *states(gpu1="rolled_back_verified", gpu2="staged", gpu3="staged")], "fleet",
        ("rolled_back_verified", True), [f"gpu1: {FAILED}.", "gpu1/chat serve the old release again", "run upgrade"],
    ),
    "all promoted hosts went back": (
        [failed("gpu2"), *states(gpu1="rolled_back_verified", gpu2="rolled_back_verified", gpu3="staged")], "fleet",
        ("rolled_back_verified", True), ["gpu1/chat, gpu2/chat serve the old release again"],
    ),
    "the batch went back": (
        [*states(gpu1="healthy"), failed("gpu2"), *states(gpu2="rolled_back_verified", gpu3="staged")], "batch",
        ("rolled_back_verified", True), ["gpu2/chat serve the old", "gpu1/chat keep the new release (scope batch)"],
    ),
    "a promoted host did not go back": (
        [*states(gpu1="healthy"), failed("gpu2"), *states(gpu2="rolled_back_verified", gpu3="staged")], "fleet",
        ("halted", False), ["gpu1/chat should have gone back too and still serve the new release", "Run rollback"],
    ),
    "the way back failed": (
        [
            failed("gpu1"),
            line("gpu1", "rollback_failed", "rollback_failed", instance="chat", detail="Go back: not ready in 300 s"),
        ], "fleet",
        ("rollback_failed", False), ["gpu1: Go back: not ready in 300 s.", "NOT proven on gpu1/chat", "run rollback"],
    ),
    "a host was lost": (
        [*states(gpu1="healthy"), failed("gpu2"), *states(gpu1="rolled_back_verified", gpu2="unknown")], "fleet",
        ("halted", False), ["Nothing is known of gpu2/chat", "at its deadline", "run upgrade or rollback once more"],
    ),
    "the controller stopped in the middle": (
        states(gpu1="healthy", gpu2="switching"), "fleet",
        ("halted", False), ["Nothing is known of gpu2/chat", "what was committed stays"],
    ),
    "no proof": (
        [*states(gpu1="healthy"), failed("gpu2", "inconclusive"), *states(gpu2="rolled_back_verified")], "fleet",
        ("halted", False), ["gpu1/chat keep the new release", "A person decides", "run upgrade again", "rollback"],
    ),
    "no proof for the canary": (
        [failed("gpu1", "inconclusive"), *states(gpu1="rolled_back_verified", gpu2="staged")], "fleet",
        ("halted", True), ["A person decides"],
    ),
    "nobody said yes": (
        [*states(gpu1="healthy"), failed("gpu2", "no_approval", "nobody said yes"), *states(gpu2="staged")], "fleet",
        ("halted", False), ["gpu2: nobody said yes.", "gpu1/chat keep the new release"],
    ),
    "stopped before the first host": (
        [], "fleet",
        ("halted", True), ["The rollout was stopped. No host was taken out of service"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONCLUSIONS)
def test_the_conclusion_names_the_hosts_and_the_fix_and_lets_the_lock_go_only_when_all_is_settled(case: str) -> None:
    lines, scope, wanted, words = CONCLUSIONS[case]
    conclusion = conclude(plan(), lines, scope)
    assert (conclusion["state"], conclusion["release_lock"]) == wanted, conclusion["message"]
    assert [word for word in words if word not in conclusion["message"]] == []


def test_a_rollback_on_purpose_ends_verified_without_talk_of_a_failure() -> None:
    lines = states(gpu1="rolled_back_verified", gpu2="rolled_back_verified", gpu3="rolled_back_verified")
    conclusion = conclude(plan(), lines, "fleet")
    assert (conclusion["state"], conclusion["release_lock"]) == ("rolled_back_verified", True)
    assert conclusion["message"].startswith("Rolled back, verified: gpu1/chat, gpu2/chat, gpu3/chat")


def test_a_way_back_that_is_not_proven_stops_a_rollback_on_purpose_until_a_later_one_is() -> None:
    lines = [line("gpu1", "rollback_failed", "rollback_failed", instance="chat", detail="Drain: no socket")]
    assert decide(plan(), lines, "fleet")["failures"] == ["gpu1: Drain: no socket."]
    assert conclude(plan(), lines, "fleet")["state"] == "rollback_failed"
    later = [*lines, *states(gpu1="rolled_back_verified", gpu2="rolled_back_verified", gpu3="rolled_back_verified")]
    assert decide(plan(), later, "fleet")["failures"] == []
    assert conclude(plan(), later, "fleet")["state"] == "rolled_back_verified"


def test_two_instances_of_a_host_are_told_apart() -> None:
    lines = [
        line("gpu1", "x", "healthy", instance="chat"),
        failed("gpu1"),
        line("gpu1", "rolled_back_verified", "rolled_back_verified", instance="other"),
    ]
    assert decide(plan("gpu1", instances=("chat", "other")), lines, "fleet")["take_back"] == {"gpu1": ["chat"]}


def test_what_an_earlier_run_promoted_counts_as_promoted() -> None:
    done = states(gpu2="healthy", gpu3="healthy")
    assert decide(resumed(), done, "fleet")["outcome"] == "completed"
    assert "gpu1/chat" in conclude(resumed(), done, "fleet")["message"]


@pytest.mark.parametrize(("scope", "take_back"), [("fleet", {"gpu1": ["chat"]}), ("batch", {})])
def test_a_proven_fault_takes_back_what_an_earlier_run_promoted_too(scope: str, take_back: Any) -> None:
    lines = [failed("gpu2"), *states(gpu2="rolled_back_verified", gpu3="staged")]
    assert decide(resumed(), lines, scope)["take_back"] == take_back


def test_a_rollout_is_not_rolled_back_while_what_an_earlier_run_promoted_is_not() -> None:
    lines = [failed("gpu2"), *states(gpu2="rolled_back_verified", gpu3="staged")]
    conclusion = conclude(resumed(), lines, "fleet")
    assert (conclusion["state"], conclusion["release_lock"]) == ("halted", False)
    assert "gpu1/chat should have gone back too" in conclusion["message"]
    after = conclude(resumed(), [*lines, *states(gpu1="rolled_back_verified")], "fleet")
    assert (after["state"], after["release_lock"]) == ("rolled_back_verified", True)


def test_a_way_back_that_failed_on_what_an_earlier_run_promoted_is_told() -> None:
    lines = [failed("gpu2"), *states(gpu2="rolled_back_verified", gpu3="staged", gpu1="rollback_failed")]
    conclusion = conclude(resumed(), lines, "fleet")
    assert conclusion["state"] == "rollback_failed"
    assert "gpu1/chat" in conclusion["message"]


def test_a_second_run_that_touched_nothing_says_so_and_releases_the_lock() -> None:
    lines = [line("gpu2", "stage_failed", "unknown", detail="Stage: no space"), *states(gpu2="pending")]
    conclusion = conclude(resumed(), lines, "fleet")
    assert (conclusion["state"], conclusion["release_lock"]) == ("halted", True)
    assert "gpu1/chat keep the new release" in conclusion["message"]
    assert "No host was taken out of service" in conclusion["message"]


def test_a_gate_that_refused_for_a_proven_fault_takes_back_what_was_promoted() -> None:
    lines = [*states(gpu1="healthy", gpu2="staged", gpu3="staged"), refused(fault=True)]
    decision = decide(plan(), lines, "fleet")
    assert (decision["outcome"], decision["take_back"]) == ("rolling_back", {"gpu1": ["chat"]})
    told = "gate: gpu1/chat: expected unit state active, found unit state failed."
    assert decision["failures"] == [told]
    after = conclude(plan(), [*lines, *states(gpu1="rolled_back_verified")], "fleet")
    assert after["state"] == "rolled_back_verified"
    assert told in after["message"]


def test_a_gate_that_refused_for_want_of_evidence_halts_and_says_why() -> None:
    lines = [*states(gpu1="healthy", gpu2="staged", gpu3="staged"), refused(fault=False, detail="gpu1: no answer")]
    decision = decide(plan(), lines, "fleet")
    assert (decision["outcome"], decision["take_back"]) == ("halted", {})
    conclusion = conclude(plan(), lines, "fleet")
    assert conclusion["state"] == "halted"
    assert "gate: gpu1: no answer." in conclusion["message"]


def test_a_gate_that_refused_only_because_of_an_earlier_failure_does_not_hide_its_cause() -> None:
    lines = [failed("gpu1"), *states(gpu1="rolled_back_verified"), refused(fault=False), refused(fault=False)]
    assert decide(plan(), lines, "fleet")["failures"] == [f"gpu1: {FAILED}."]


def test_a_gate_that_refused_twice_for_one_reason_is_told_once() -> None:
    assert len(decide(plan(), [refused(fault=True), refused(fault=True)], "fleet")["failures"]) == 1


def test_what_an_earlier_run_promoted_and_the_gate_condemned_is_told_as_taken_back() -> None:
    lines = [*states(gpu2="staged", gpu3="staged"), refused(fault=True), *states(gpu1="rolled_back_verified")]
    conclusion = conclude(resumed(), lines, "fleet")
    assert (conclusion["state"], conclusion["release_lock"]) == ("rolled_back_verified", True)
    assert "gpu1/chat serve the old release again" in conclusion["message"]
