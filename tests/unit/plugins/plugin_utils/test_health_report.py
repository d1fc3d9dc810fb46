# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table and the page of the fleet's health: nothing that is wrong is left out, nothing fine hides it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._health_html import render_health_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_report import (
    build_health_report,
    must_leave,
    ranges,
    report_text,
    rows,
    to_mend,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._health_words import value_text
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_words import NONE
from ansible_collections.local_llm.ops.plugins.plugin_utils._runbooks import ROOT, runbook_place

GPUS = [
    {
        "index": index,
        "uuid": f"GPU-{index}",
        "name": "NVIDIA L4",
        "pci_address": f"0000:0{index}:00.0",
        "serial": f"S{index}",
    }
    for index in range(3)
]


def found(status: str, check: str, gpu: Any = None, **values: Any) -> dict[str, Any]:
    if isinstance(gpu, int):
        gpu = {"index": gpu, "uuid": f"GPU-{gpu}", "pci_address": f"0000:0{gpu}:00.0"}
    return {
        "check": check,
        "status": status,
        "severity": {"fail": "critical", "warn": "warning"}.get(status, "info"),
        "subject": "host" if gpu is None else f"GPU {gpu['index']}",
        "observed": "what was seen",
        "expected": "what is right",
        "action": "Do this.",
        "source": "NVML",
        "remedy": "reset_gpu" if status == "fail" else "none",
        "runbook": f"docs/runbooks/gpu_memory.md#{check}",
        "gpu": gpu,
        **values,
    }


def answer(*findings: dict[str, Any], status: str = "healthy", remedy: str = "none") -> dict[str, Any]:
    counts = {word: sum(item["status"] == word for item in findings) for word in ("ok", "warn", "fail", "skip")}
    return {"findings": list(findings), "status": status, "remedy": remedy, "summary": counts, "gpus": GPUS}


FINE = answer(found("ok", "temperature_gpu"), found("skip", "fabric_state"))
SICK = answer(
    found("fail", "row_remap_failed", 1),
    found("warn", "persistence", 2),
    found("ok", "temperature_gpu"),
    status="out_of_service",
    remedy="hardware",
)


def report(**answers: Any) -> dict[str, Any]:
    return build_health_report(answers, made_at="2026-11-01T12:00:00Z", versions={"ansible-core": "2.19"})


def test_healthy_fleet_is_said_in_one_sentence() -> None:
    made = report(gpu1=FINE, gpu2=FINE)
    assert made["status"] == "healthy"
    assert made["summary"] == "All is well. Asked: 2 hosts, 6 GPUs."
    assert must_leave(made) == []
    assert [row["gpus"] for row in rows(made)] == ["host", "GPU 0-2"] * 2


def test_sick_gpu_has_a_row_of_its_own_with_serial_and_what_to_do() -> None:
    made = report(gpu1=FINE, gpu2=SICK)
    assert made["status"] == "out_of_service"
    assert must_leave(made) == ["gpu2"]
    assert made["hosts"][0]["host"] == "gpu2", "the worst host comes first"
    table = [(row["gpus"], row["status"]) for row in rows(made) if row["host"] == "gpu2"]
    assert table == [("host", "ok"), ("GPU 1", "fail"), ("GPU 2", "warn"), ("GPU 0", "ok")]
    text = report_text(made)
    assert "serial S1" in text
    assert "FAIL row_remap_failed: found what was seen, expected what is right" in text
    assert "known from: NVML" in text
    assert f"runbook: {ROOT}/docs/runbooks/gpu_memory.md, section row_remap_failed" in text
    assert "remediate=true" in text


BARE = {"findings": [found("skip", "gpu_count")], "status": "no_gpu", "summary": {"skip": 1}, "gpus": []}
WARNED = answer(found("warn", "persistence", 1), found("warn", "persistence", 2), status="degraded")
BLIND = {
    "findings": [found("warn", "nvml_loadable", observed="the GPUs cannot be looked at", action="Run site.")],
    "status": "unknown", "summary": {"warn": 1}, "gpus": [], "remedy": "none",
}  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "summary"),
    [
        ({"a": FINE}, "All is well. Asked: 1 host, 3 GPUs."),
        ({"a": FINE, "b": BARE, "c": BARE}, "No GPU must leave service. 2 hosts have no GPU. Asked: 3 hosts, 3 GPUs."),
        ({"a": BARE}, "1 host has no GPU. Asked: 1 host, 0 GPUs."),
        (
            {"a": WARNED, "b": BARE},
            "To look at in working hours: a. 1 host has no GPU; 2 warnings. Asked: 2 hosts, 3 GPUs.",
        ),
        (
            {"a": {**BARE, "findings": [found("warn", "time_sync")]}},
            "1 host has no GPU; 1 warning. Asked: 1 host, 0 GPUs.",
        ),
        ({"a": BLIND}, "Cannot be looked at: a. 1 warning. Asked: 1 host, 0 GPUs."),
        (
            {"a": BLIND, "b": {"unreachable": True}},
            "Did not answer: b. Cannot be looked at: a. 1 warning. Asked: 2 hosts, 0 GPUs.",
        ),
    ],
)
def test_the_headline_says_what_is_true(answers: dict[str, Any], summary: str) -> None:
    made = report(**answers)
    assert made["summary"] == summary
    assert render_health_html(made)


def test_a_host_that_cannot_be_looked_at_is_told_with_what_is_missing() -> None:
    made = report(gpu1=BLIND)
    assert (made["status"], must_leave(made), to_mend(made)) == ("unknown", ["gpu1"], [])
    text = report_text(made)
    assert "the GPUs cannot be looked at" in text and "do: Run site." in text
    assert "did not answer" not in text and "they may serve on" in made["next_steps"]


REPAIR = {
    "at_seconds": 1793534580.0, "rung": "reset_gpu", "pci_address": "0000:18:00.0", "gpu_uuid": "GPU-0",
    "reason": "xid 79", "xid": 79, "result": "verified",
}  # fmt: skip


def test_repairs_are_told_with_what_why_when_and_what_came_of_it() -> None:
    outcome = {"outcome": "repaired", "message": "reset_gpu verified | chat proven", "steps": ["reset_gpu verified"]}
    made = build_health_report(
        {"gpu1": {**FINE, "repairs": [REPAIR]}, "gpu2": FINE},
        made_at="2026-11-01T12:00:00Z",
        outcomes={"gpu1": {**outcome, "bundles": ["/b/gpu1.tar.gz"]}, "gpu2": None},
    )
    by_host = {host["host"]: host for host in made["hosts"]}
    assert by_host["gpu1"]["repair"]["outcome"] == "repaired"
    assert (by_host["gpu1"]["repairs"], by_host["gpu2"]["repair"], by_host["gpu2"]["repairs"]) == ([REPAIR], None, [])
    for shown in (report_text(made), render_health_html(made)):
        assert "this run: repaired: reset_gpu verified | chat proven" in shown
        assert "2026-11-01 12:03 UTC: reset of the GPU 0000:18:00.0, because of xid 79: helped" in shown
        assert "/b/gpu1.tar.gz" in shown
    assert "Repairs" not in report_text(report(gpu1=FINE))


def test_a_runbook_is_named_by_where_it_lies_here() -> None:
    assert runbook_place("docs/runbooks/gpu_xid.md#xid") == f"{ROOT}/docs/runbooks/gpu_xid.md, section xid"
    assert runbook_place("docs/runbooks/gpu_recovery.md") == f"{ROOT}/docs/runbooks/gpu_recovery.md"
    assert runbook_place("docs/runbooks/nosuch.md#x") == "docs/runbooks/nosuch.md#x of the collection local_llm.ops"


def test_an_xid_is_told_in_words_and_not_as_a_dictionary() -> None:
    seen = {"xid": 79, "count": 2, "first_at": None, "last_at": "2026-11-01T12:03:09Z", "message": "NVRM: Xid ...: 79"}
    text = report_text(report(gpu1=answer(found("fail", "xid", 1, observed=seen), status="out_of_service")))
    assert "found XID 79 x2 (last 2026-11-01 12:03): NVRM: Xid ...: 79, expected" in text
    assert "{" not in text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"unreachable": True, "msg": "Connection timed out"}, "cannot be reached: Connection timed out"),
        ({"failed": True, "msg": "thresholds: nosuch"}, "could not be checked: thresholds: nosuch"),
        ({"msg": "module died"}, "could not be checked: module died"),
        (None, "not asked"),
    ],
)
def test_host_without_an_answer_is_unknown_and_counts_as_one_that_must_leave(answer: Any, words: str) -> None:
    made = report(gpu1=FINE, gpu2=answer)
    assert made["status"] == "unknown"
    assert must_leave(made) == ["gpu2"]
    assert words in report_text(made)
    assert words in render_health_html(made)


def test_host_that_must_leave_is_worse_than_one_that_did_not_answer() -> None:
    made = report(gpu1={"unreachable": True, "msg": "x"}, gpu2=SICK)
    assert made["status"] == "out_of_service"
    assert must_leave(made) == ["gpu2", "gpu1"]
    assert "did not answer" in made["next_steps"]


def test_ladder_looks_at_what_must_leave_and_at_repairs_that_have_not_ended() -> None:
    unfinished = answer(found("warn", "recovery"), status="degraded")
    warned = answer(found("warn", "persistence", 1), status="degraded")
    unreachable = {"unreachable": True, "msg": "x"}
    made = report(gpu1=FINE, gpu2=SICK, gpu3=unfinished, gpu4=warned, gpu5=unreachable)
    assert to_mend(made) == ["gpu2", "gpu3"]


def test_finding_of_the_host_itself_stands_in_the_row_of_the_host() -> None:
    made = report(gpu1=answer(found("warn", "next_kernel_module"), status="degraded"))
    (host, _gpus) = rows(made)
    assert (host["gpus"], host["status"], len(host["findings"])) == ("host", "warn", 1)
    assert must_leave(made) == []


def test_gpu_that_is_not_listed_any_more_still_has_its_row() -> None:
    gone = answer(found("fail", "gpu_lost", 7), status="out_of_service", remedy="reboot")
    row = next(row for row in rows(report(gpu1=gone)) if row["gpus"] == "GPU 7")
    assert row["status"] == "fail"
    assert "0000:07:00.0" in row["text"]


def test_gpus_that_are_gone_have_rows_of_their_own_by_address() -> None:
    gone = [
        found("fail", "gpu_lost", gpu={"index": None, "uuid": None, "pci_address": f"0000:{bus}:00.0"})
        for bus in ("af", "3b")
    ]
    made = report(gpu1=answer(*gone, found("fail", "ecc_uncorrected", 0), status="out_of_service", remedy="reboot"))
    table = [(row["gpus"], row["text"].split(", ")[1]) for row in rows(made) if row["status"] == "fail"]
    assert table == [("GPU 0", "0000:00:00.0"), ("GPU gone", "0000:3b:00.0"), ("GPU gone", "0000:af:00.0")]
    assert render_health_html(made)


@pytest.mark.parametrize(
    ("mark", "remedy", "words"),
    [
        ("", "reset_gpu", "-e remediate=true --limit gpu1"),
        ("gpu1-chat: drained ...; waits for consent to reboot", "reboot", "local_llm_reboot_consent=yes --limit gpu1"),
        ("gpu1-chat: drained ...; waits for hardware service", "hardware", "waits for hardware service"),
        ("", "configure", "Do what stands under the findings"),
    ],
)
def test_next_step_is_the_one_that_helps_this_host(mark: str, remedy: str, words: str) -> None:
    waiting = [found("warn", "recovery", observed=mark)] if mark else []
    made = report(gpu1=answer(found("fail", "gpu_lost", 1), *waiting, status="out_of_service", remedy=remedy))
    assert words in made["next_steps"]
    assert made["next_steps"].count("gpu1") == (0 if not made["next_steps"] else 1)


def test_page_escapes_what_hosts_say_and_runs_no_script() -> None:
    page = render_health_html(report(gpu1=answer(found("warn", "xid", observed="<script>alert(1)</script>"))))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_what_is_to_be_followed_stands_before_what_refers_to_it() -> None:
    weaker = found("fail", "aaa", 1, action="Follow zzz of this GPU, which asks for more (hardware).")
    made = report(gpu1=answer(weaker, found("fail", "zzz", 1), found("warn", "bbb", 1), status="out_of_service"))
    row = next(row for row in rows(made) if row["gpus"] == "GPU 1")
    assert [item["check"] for item in row["findings"]] == ["zzz", "aaa", "bbb"]


@pytest.mark.parametrize(
    ("numbers", "text"), [([0], "0"), ([0, 1, 2], "0-2"), ([0, 2, 3, 6], "0, 2-3, 6"), ([3, 1], "1, 3"), ([], "")]
)
def test_numbers_are_told_as_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"sxid": 12028, "count": 1, "last_at": None}, "SXid 12028 x1 (last at an unknown time)"),
        ({"count": 3, "last_at": "2026-11-01T12:03:00Z", "message": "hung"}, "3 times (last 2026-11-01 12:03): hung"),
        (None, NONE),
        ({"a": 1, "b": None}, f"a 1; b {NONE}"),
        ([1, 2], "1, 2"),
        ([], "none"),
        (True, "True"),
        ("x", "x"),
    ],
)
def test_values_are_words_and_not_python(value: Any, text: str) -> None:
    assert value_text(value) == text
