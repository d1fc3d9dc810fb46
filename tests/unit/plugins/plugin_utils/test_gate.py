# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate: only positive evidence lets a batch start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._gate import gate, reason_line, reasons_text
from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import JOURNAL_NAME, append_line, read_journal

NEW = "b" * 12
OLD = "a" * 12
PLAN: dict[str, Any] = {
    "schema": 1,
    "rollout_id": "r",
    "batches": [["gpu1"], ["gpu2", "gpu3"], ["gpu4"]],
    "hosts": {
        **{f"gpu{n}": {"chat": {"from": OLD, "to": NEW, "action": "upgrade"}} for n in range(1, 5)},
        "gpu2": {
            "chat": {"from": OLD, "to": NEW, "action": "upgrade"},
            "code": {"from": NEW, "to": NEW, "action": "none"},
        },
    },
}


def confirmed(*names: str, **values: Any) -> dict[str, Any]:
    good = {
        "current": NEW, "armed": None, "instance_state": {"state": "healthy"}, "active_state": "active",
        "evidence": {"verdict": "pass", "rollout_id": "r", "accepted": None},
    }  # fmt: skip
    return {"changed": False, "instances": [{"instance": name, **good, **values} for name in names or ("chat",)]}


def line(directory: Path, host: str | None, state: str | None, instance: str | None = "chat", **values: Any) -> None:
    record = {"rollout_id": "r", "event": "x", "host": host, "instance": instance, "state": state, **values}
    append_line(directory, record)


@pytest.fixture
def rollout(tmp_path: Path) -> Path:
    """A rollout whose first batch is proven."""
    line(tmp_path, None, "planned", None)
    line(tmp_path, None, "canary", None)
    line(tmp_path, "gpu1", "healthy", release=NEW)
    return tmp_path


def ask(
    directory: Path, batch: list[str] | None = None, infos: Any = None, strategy: str | None = "linear"
) -> dict[str, Any]:
    infos = {"gpu1": confirmed()} if infos is None else infos
    return gate(PLAN, read_journal(directory), infos, ["gpu2", "gpu3"] if batch is None else batch, strategy)


def test_a_proven_batch_lets_the_next_start(rollout: Path) -> None:
    assert ask(rollout) == {"go": True, "batch": 2, "fault": False, "reasons": [], "checked": ["gpu1/chat"]}


def test_the_first_batch_needs_only_the_rollout(tmp_path: Path) -> None:
    line(tmp_path, None, "preflight", None)
    assert ask(tmp_path, ["gpu1"], {})["go"]


def test_every_earlier_batch_counts_not_only_the_last(rollout: Path) -> None:
    for host in ("gpu2", "gpu3"):
        line(rollout, host, "healthy", release=NEW)
    infos = {"gpu1": confirmed(), "gpu2": confirmed("chat", "code"), "gpu3": confirmed()}
    assert ask(rollout, ["gpu4"], infos)["go"]
    infos["gpu1"] = confirmed(current=OLD)
    decision = ask(rollout, ["gpu4"], infos)
    assert not decision["go"]
    assert [reason["host"] for reason in decision["reasons"]] == ["gpu1"]


def test_an_instance_without_a_change_needs_no_line_but_its_host_must_confirm_it(rollout: Path) -> None:
    for host in ("gpu2", "gpu3"):
        line(rollout, host, "healthy", release=NEW)
    infos = {"gpu1": confirmed(), "gpu2": confirmed("chat"), "gpu3": confirmed()}
    reasons = ask(rollout, ["gpu4"], infos)["reasons"]
    assert [(reason["host"], reason["instance"]) for reason in reasons] == [("gpu2", "code")]


@pytest.mark.parametrize("state", ["healthy", "verifying", "rolled_back_verified"])
def test_an_instance_without_a_change_may_be_in_any_state_that_serves(rollout: Path, state: str) -> None:
    for host in ("gpu2", "gpu3"):
        line(rollout, host, "healthy", release=NEW)
    code = {**confirmed("code", instance_state={"state": state})["instances"][0]}
    gpu2 = {"instances": [*confirmed()["instances"], code]}
    assert ask(rollout, ["gpu4"], {"gpu1": confirmed(), "gpu2": gpu2, "gpu3": confirmed()})["go"]
    for wrong in ({"armed": {"release": NEW}}, {"current": OLD}, {"active_state": "failed"}):
        gpu2["instances"][1] = {**code, **wrong}
        decision = ask(rollout, ["gpu4"], {"gpu1": confirmed(), "gpu2": gpu2, "gpu3": confirmed()})
        assert (decision["go"], decision["fault"]) == (False, False)


@pytest.mark.parametrize(
    ("info", "fault"),
    [
        (confirmed(current=OLD), True),
        (confirmed(active_state="failed"), True),
        (confirmed(active_state="activating"), True),
        (confirmed(current=None), False),
        (confirmed(active_state=None), False),
        (confirmed(armed={"release": NEW}), False),
        (confirmed(instance_state={"state": "verifying"}), False),
        (confirmed("other"), False),
        ({"unreachable": True, "msg": "no route", **confirmed(active_state="failed")}, False),
        (None, False),
    ],
    ids=str,
)
def test_only_what_a_host_says_against_a_healthy_line_is_a_proven_fault(rollout: Path, info: Any, fault: bool) -> None:
    decision = ask(rollout, infos={"gpu1": info})
    assert (decision["go"], decision["fault"]) == (False, fault)


def test_an_instance_that_the_journal_does_not_call_healthy_proves_no_fault(rollout: Path) -> None:
    line(rollout, "gpu1", "verifying")
    assert not ask(rollout, infos={"gpu1": confirmed(active_state="failed")})["fault"]


def test_the_reasons_are_one_line_of_text(rollout: Path) -> None:
    decision = ask(rollout, infos={"gpu1": {"unreachable": True, "msg": "no route\nto host"}})
    assert reasons_text(decision["reasons"]) == (
        "gpu1/chat: expected an answer of llm_release_info, found no answer: no route to host"
    )
    assert reasons_text([]) == ""


@pytest.mark.parametrize(
    "info",
    [
        None,
        "nonsense",
        {},
        {"instances": None},
        {"instances": []},
        {"instances": ["chat"]},
        {"unreachable": True, "msg": "no route", **confirmed()},
        {"failed": True, **confirmed()},
        {"skipped": True, **confirmed()},
        confirmed("other"),
        confirmed(current=OLD),
        confirmed(current=None),
        confirmed(armed={"release": NEW}),
        confirmed(instance_state=None),
        confirmed(instance_state={"state": "verifying"}),
        confirmed(active_state="failed"),
        confirmed(active_state=None),
        {
            "instances": [
                {"instance": "chat", "current": NEW, "instance_state": {"state": "healthy"}, "active_state": "active"}
            ]
        },
    ],
    ids=str,
)
def test_what_a_host_does_not_confirm_means_no(rollout: Path, info: Any) -> None:
    decision = ask(rollout, infos={"gpu1": info})
    assert not decision["go"]
    assert decision["reasons"][0]["host"] == "gpu1"
    assert decision["checked"] == []


def test_no_infos_at_all_mean_no(rollout: Path) -> None:
    assert not ask(rollout, infos={})["go"]


Change = Callable[[Path], None]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: line(d, "gpu1", "verifying"), id="not healthy any more"),
        pytest.param(lambda d: line(d, "gpu1", "healthy", release=OLD), id="healthy with another release"),
        pytest.param(lambda d: line(d, "gpu1", "healthy"), id="healthy without a release"),
        pytest.param(lambda d: line(d, "gpu1", "unknown", None), id="the whole host unknown"),
        pytest.param(lambda d: line(d, "gpu1", "rolling_back"), id="going back"),
        pytest.param(lambda d: line(d, "gpu1", "rolled_back_verified"), id="went back"),
        pytest.param(lambda d: line(d, "gpu2", "rollback_failed"), id="a peer of this batch failed"),
        pytest.param(lambda d: line(d, "gpu4", "unknown"), id="a later host is unknown"),
        pytest.param(lambda d: line(d, None, "halted", None), id="halted"),
        pytest.param(lambda d: line(d, None, "rolling_back", None), id="rollout goes back"),
        pytest.param(lambda d: line(d, None, "awaiting_approval", None), id="waits for a person"),
        pytest.param(lambda d: line(d, None, "completed", None), id="completed"),
    ],
)
def test_what_the_journal_says_against_it_means_no(rollout: Path, change: Change) -> None:
    change(rollout)
    assert not ask(rollout)["go"]


def test_a_host_without_a_line_means_no(tmp_path: Path) -> None:
    line(tmp_path, None, "canary", None)
    reasons = ask(tmp_path)["reasons"]
    assert [reason["observed"] for reason in reasons] == ["no line in the journal"]


@pytest.mark.parametrize(
    ("evidence", "go"),
    [
        (None, False),
        ({"verdict": "inconclusive", "accepted": None}, False),
        ({"verdict": "fail", "accepted": None}, False),
        ({"verdict": "inconclusive", "accepted": "m.rossi: the old release crashes"}, True),
        ({"verdict": "fail", "accepted": "m.rossi: the old release crashes"}, False),
        ({"accepted": "m.rossi: the old release crashes"}, False),
    ],
)
def test_a_release_without_kept_evidence_holds_the_next_batch_back(rollout: Path, evidence: Any, go: bool) -> None:
    found = ask(rollout, infos={"gpu1": confirmed(evidence=evidence)})
    assert found["go"] is go
    assert go or "evidence of release" in found["reasons"][0]["expected"]


def test_a_journal_without_a_state_of_the_rollout_means_no(tmp_path: Path) -> None:
    line(tmp_path, "gpu1", "healthy", release=NEW)
    assert not ask(tmp_path)["go"]


def test_no_journal_means_no(tmp_path: Path) -> None:
    assert not ask(tmp_path)["go"]


def test_a_journal_that_was_changed_means_no(rollout: Path) -> None:
    path = rollout / JOURNAL_NAME
    path.write_bytes(path.read_bytes().replace(b'"canary"', b'"preflight"'))
    assert not ask(rollout)["go"]


def test_the_journal_of_another_rollout_means_no(rollout: Path) -> None:
    other = {**PLAN, "rollout_id": "other"}
    assert not gate(other, read_journal(rollout), {"gpu1": confirmed()}, ["gpu2", "gpu3"])["go"]


@pytest.mark.parametrize("batch", [[], ["gpu1", "gpu2"], ["gpu9"], ["gpu2", "gpu3", "gpu4"]])
def test_hosts_that_are_no_batch_of_the_plan_mean_no(rollout: Path, batch: list[str]) -> None:
    decision = ask(rollout, batch)
    assert (decision["go"], decision["batch"]) == (False, None)


def test_a_host_lost_from_this_batch_means_no(rollout: Path) -> None:
    decision = ask(rollout, ["gpu3"])
    assert not decision["go"]
    assert decision["reasons"][0]["host"] == "gpu2"


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_a_strategy_other_than_linear_means_no(rollout: Path, strategy: str) -> None:
    assert not ask(rollout, strategy=strategy)["go"]


def test_an_unknown_strategy_is_not_held_against_it(rollout: Path) -> None:
    assert ask(rollout, strategy=None)["go"]


def test_a_reason_reads_well(rollout: Path) -> None:
    reason = ask(rollout, infos={"gpu1": confirmed(current=OLD)})["reasons"][0]
    assert reason_line(reason) == f"gpu1/chat: expected current release {NEW}, found current release {OLD}"
