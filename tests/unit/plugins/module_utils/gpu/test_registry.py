# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry: names are known once, one broken check takes no other with it, and the worst decides the status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Check, Context, Findings, Snapshot
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import COMPARING_CHECKS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import (
    ALL_CHECKS,
    names_to_run,
    one_to_follow,
    overall_status,
    run_checks,
    summarise,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import bare_host, snapshot

KEYS = {
    "check", "status", "severity", "subject", "observed", "expected", "action", "source", "remedy", "runbook", "gpu",
}  # fmt: skip


def check(name: str, status: str = "ok") -> Check:
    def run(self: Check, _snapshot: Snapshot, _context: Context) -> Findings:
        if status == "raise":
            raise KeyError("gpus")
        if status == "nothing":
            return []
        if status == "warn":
            return [self.warn("x", 1, 2, "Look.")]
        if status == "fail":
            return [self.fail("x", 1, 2, "Go.", "reboot")]
        return self.skip("x", "why") if status == "skip" else self.ok("x")

    return Check(name, "x", "x", "x", "gpu_test", run)


def test_every_check_has_a_name_of_its_own_and_says_what_it_looks_at() -> None:
    names = [one.name for one in ALL_CHECKS]
    assert len(names) == len(set(names)) and len(names) > 30
    assert all(one.looks_at and one.source and one.reference and one.group for one in ALL_CHECKS)


def test_the_checks_that_compare_counters_are_known_by_their_names() -> None:
    assert names_to_run() >= set(COMPARING_CHECKS)
    assert names_to_run(["xid", "disk"], ["disk"]) == {"xid"}
    assert names_to_run([], ["xid"]) == names_to_run() - {"xid"}


def test_findings_are_ordered_by_what_must_be_acted_on() -> None:
    checks = [check("d", "skip"), check("c"), check("b", "warn"), check("e", "fail"), check("a", "fail")]
    found = run_checks({}, Context(), checks=checks)
    assert [(item["status"], item["check"]) for item in found] == [
        ("fail", "a"), ("fail", "e"), ("warn", "b"), ("ok", "c"), ("skip", "d"),
    ]  # fmt: skip
    assert summarise(found) == {"ok": 1, "warn": 1, "fail": 2, "skip": 1}


@pytest.mark.parametrize(("kind", "words"), [("raise", "KeyError: 'gpus'"), ("nothing", "it returned nothing")])
def test_a_check_that_breaks_is_a_finding_and_the_others_run(kind: str, words: str) -> None:
    found = run_checks({}, Context(), checks=[check("a", kind), check("b")])
    assert [(item["check"], item["status"]) for item in found] == [("a", "warn"), ("b", "ok")]
    assert words in found[0]["observed"] and "skip_checks" in found[0]["action"]


def test_only_what_was_asked_for_runs() -> None:
    checks = [check("a"), check("b"), check("c")]
    assert [item["check"] for item in run_checks({}, Context(), ["a", "b"], ["b"], checks)] == ["a"]
    assert [item["check"] for item in run_checks({}, Context(), None, ["b"], checks)] == ["a", "c"]


def test_a_healthy_host_is_healthy_in_every_check() -> None:
    record = {**snapshot(), "state": {"path": "/x", "problem": None}}
    found = run_checks(record, Context(expected={"persistence": True}))
    assert [item for item in found if item["status"] in ("fail", "warn")] == []
    assert overall_status(record, Context(), found) == "healthy"
    assert all(set(item) == KEYS for item in found)
    json.dumps(found)


def test_a_host_without_a_gpu_runs_the_checks_of_the_host_only() -> None:
    record = bare_host()
    found = run_checks(record, Context())
    assert overall_status(record, Context(), found) == "no_gpu"
    assert {item["status"] for item in found} == {"ok", "skip"}
    by_name = {item["check"]: item["status"] for item in found}
    assert by_name["nvml_loadable"] == by_name["gpu_count"] == "skip"


@pytest.mark.parametrize(
    ("expected", "statuses", "status"),
    [
        ({}, ["ok", "skip"], "no_gpu"),
        ({}, ["warn"], "no_gpu"),
        ({}, ["fail"], "out_of_service"),
        ({"gpu_count": 8}, ["fail"], "out_of_service"),
        ({"minimum_gpus": 1}, ["warn"], "degraded"),
        ({"gpu_name": "H100"}, ["ok"], "healthy"),
    ],
)
def test_the_status_of_a_bare_host(expected: dict[str, Any], statuses: list[str], status: str) -> None:
    found = [item for one in statuses for item in run_checks({}, Context(), checks=[check("a", one)])]
    assert overall_status(bare_host(), Context(expected=expected), found) == status


@pytest.mark.parametrize(("status", "overall"), [("ok", "healthy"), ("warn", "degraded"), ("fail", "out_of_service")])
def test_the_status_of_a_host_with_gpus(status: str, overall: str) -> None:
    found = run_checks({}, Context(), checks=[check("a", status), check("b")])
    assert overall_status(snapshot(), Context(), found) == overall


@pytest.mark.parametrize(
    ("state", "status"),
    [(None, "skip"), ({"path": "/x", "problem": None}, "ok"), ({"path": "/x", "problem": "is broken"}, "warn")],
)
def test_a_state_that_cannot_be_kept_is_a_warning(state: Any, status: str) -> None:
    record = snapshot() if state is None else {**snapshot(), "state": state}
    (found,) = run_checks(record, Context(), ["health_state"])
    assert found["status"] == status
    assert status != "warn" or found["observed"] == "is broken"


def test_a_host_that_cannot_be_looked_at_is_unknown_and_never_said_to_be_sick() -> None:
    record = snapshot(gpus=[], nvml__status="missing_package")
    record["pci"] = snapshot()["pci"]
    found = run_checks(record, Context())
    assert [item["check"] for item in found if item["status"] == "fail"] == []
    assert overall_status(record, Context(), found) == "unknown"
    sick = [*found, {**found[0], "status": "fail"}]
    assert overall_status(record, Context(), sick) == "out_of_service", "what is seen all the same still counts"


def asks(check: str, status: str, remedy: str, address: str | None = "0000:18:00.0") -> dict[str, Any]:
    gpu = {"index": 0, "uuid": "GPU-0", "pci_address": address} if address else None
    return {"check": check, "status": status, "remedy": remedy, "gpu": gpu, "action": f"Do {remedy}."}


def test_of_two_findings_about_one_card_the_stronger_one_is_to_be_followed() -> None:
    found = one_to_follow(
        [
            asks("row_remap_failed", "fail", "hardware"),
            asks("xid", "fail", "reset_gpu"),
            asks("xid", "warn", "hardware"),
            asks("persistence", "warn", "configure"),
            asks("ecc_mode", "warn", "none"),
            asks("xid", "fail", "reset_gpu", "0000:2a:00.0"),
            asks("kernel_faults", "warn", "reboot", None),
        ]
    )
    actions = [item["action"] for item in found]
    assert actions[1] == "Follow row_remap_failed of this GPU, which asks for more (hardware). Alone: Do reset_gpu."
    assert [actions[number] for number in (0, 2, 3, 4, 5, 6)] == [
        "Do hardware.", "Do hardware.", "Do configure.", "Do none.", "Do reset_gpu.", "Do reboot.",
    ]  # fmt: skip
    assert [item["remedy"] for item in found][:2] == ["hardware", "reset_gpu"], "the ladder sees both"
