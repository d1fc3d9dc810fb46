# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rollout: what it says, what it adds up, what it leaves out."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, chained_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._report import build_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_compare import change_percent, error_share
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_evidence import MAX_SAMPLES, find_benchmark, samples
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import (
    ReportError,
    changed_files,
    make_report,
    write_files,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_html import render_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import parse_time, read_journal

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fakes" / "example_rollout"))
import make


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rollouts")
    make.main(directory)
    return directory


@pytest.fixture(scope="module")
def reports(examples: Path) -> dict[str, dict[str, Any]]:
    return {name: make_report(examples / name, {})[0] for name in make.ROLLOUTS}


def journal(*records: dict[str, Any]) -> str:
    lines, digest = [], CHAIN_START
    for number, record in enumerate(records, start=1):
        base = {"schema": 1, "seq": number, "rollout_id": "r", "host": None, "instance": None, "evidence": {}}
        line, digest = chained_line(digest, {**base, **record})
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def at(second: float) -> str:
    return f"2026-01-05T10:00:{second:06.3f}Z"


def walk(*steps: tuple[Any, ...], host: str = "h") -> list[dict[str, Any]]:
    """Return journal records of one host: (event, second, fields)."""
    return [
        {"host": host, "instance": "i", "event": step[0], "at": at(step[1]), **(step[2] if len(step) > 2 else {})}
        for step in steps
    ]


REPORT_KEYS = {
    "on_purpose",
    "rollout_kind",
    "schema",
    "kind",
    "rollout_id",
    "outcome",
    "state",
    "finished",
    "summary",
    "next_steps",
    "started_at",
    "ended_at",
    "duration_seconds",
    "cause",
    "plan",
    "hosts",
    "events",
    "journal",
    "controller",
    "versions",
}
HOST_KEYS = {
    "host",
    "instance",
    "batch",
    "canary",
    "state",
    "outcome",
    "release",
    "previous_release",
    "changes",
    "started_at",
    "ended_at",
    "wall_seconds",
    "seconds",
    "orchestration_share",
    "steps",
    "verdict",
    "rollback_verdict",
    "live",
    "benchmarks",
    "quality",
    "comparison",
}
STEP_KEYS = {
    "failed",
    "step",
    "state",
    "category",
    "started_at",
    "ended_at",
    "wall_seconds",
    "measured_seconds",
    "overhead_seconds",
    "assumed",
    "line",
}


def test_schema_1_of_the_report_has_exactly_these_keys(reports: dict[str, dict[str, Any]]) -> None:
    for report in reports.values():
        assert (report["schema"], set(report)) == (1, REPORT_KEYS)
        for host in report["hosts"]:
            assert set(host) == HOST_KEYS
            assert set(host["seconds"]) == {"engine", "measurement", "waiting", "orchestration"}
            assert set(host["benchmarks"]) == set(host["quality"]) == {"baseline", "new", "after_rollback"}
            assert all(set(step) == STEP_KEYS for step in host["steps"])
        assert set(report["journal"]) == {
            "ok",
            "lines",
            "readable",
            "first_broken_line",
            "reason",
            "head_sha256",
            "evidence_problems",
        }


@pytest.mark.parametrize(
    ("name", "outcome", "hosts", "summary", "next_steps"),
    [
        ("completed", "completed", ["healthy"] * 3, "Completed: all 3 instances serve release b7e0915cc2d4", None),
        (
            "rolled_back",
            "rolled_back_verified",
            ["rolled_back_verified", "untouched", "untouched"],
            "Rolled back and verified: chat on gpu1 in batch 1 failed at the step \u201cverdict\u201d",
            "See the verdict table and the plots of gpu1",
        ),
        (
            "unreachable",
            "halted",
            ["rolled_back_verified", "unknown", "untouched"],
            "Halted: chat on gpu2 in batch 2 became unreachable at the step \u201cswitch and wait until ready\u201d",
            "Bring gpu2 back",
        ),
        (
            "on_purpose",
            "rolled_back_verified",
            ["rolled_back_verified"] * 3,
            "Rolled back on purpose, verified: all 3 instances serve release 4f1c2ab09d3e again",
            None,
        ),
    ],
)
def test_outcome_and_advice_of_the_examples(
    reports: dict[str, dict[str, Any]], name: str, outcome: str, hosts: list[str], summary: str, next_steps: str | None
) -> None:
    report = reports[name]
    assert report["outcome"] == outcome
    assert [entry["outcome"] for entry in report["hosts"]] == hosts
    assert report["summary"].startswith(summary)
    assert report["next_steps"] is None if next_steps is None else next_steps in report["next_steps"]
    assert report["journal"]["ok"]
    assert report["journal"]["evidence_problems"] == []


def test_the_seconds_of_a_host_add_up_to_its_wall_time(reports: dict[str, dict[str, Any]]) -> None:
    for report in reports.values():
        for host in report["hosts"]:
            assert sum(host["seconds"].values()) == pytest.approx(host["wall_seconds"], abs=0.01)


def test_orchestration_is_what_is_neither_engine_nor_measurement_nor_waiting() -> None:
    text = journal(
        *walk(
            ("staged", 1, {"seconds": 9.0}),
            ("baseline", 10, {"seconds": 4.0}),
            ("switched", 15, {"evidence": {"seconds": {"stop": 1.0, "start": 0.5, "ready": 3.0}}}),
            ("benchmark", 20, {"seconds": 4.5}),
            ("watched", 30, {"seconds": 9.0}),
            ("full_share", 31, {"state": "healthy"}),
        )
    )
    host = build_report(text)["hosts"][0]
    # 4 s baseline; 5 s switch of which ready took 3; 5 s of which 4.5 measure; 10 s of which 9 wait; 1 s to the end.
    assert host["seconds"] == {"engine": 3.0, "measurement": 8.5, "waiting": 9.0, "orchestration": 4.5}
    assert (host["wall_seconds"], host["orchestration_share"]) == (25.0, 0.18)


def test_the_time_between_promotion_and_a_later_rollback_is_not_the_hosts_own() -> None:
    text = journal(
        *walk(("baseline", 2, {"seconds": 2.0}), ("full_share", 3, {"state": "healthy"})),
        *walk(("reverting", 40), ("rolled_back_verified", 41, {"state": "rolled_back_verified"})),
    )
    assert build_report(text)["hosts"][0]["wall_seconds"] == 4.0


def test_the_time_between_a_lost_controller_and_the_resumption_does_not_count() -> None:
    text = journal(
        *walk(("baseline", 2, {"seconds": 2.0})),
        {"event": "planned", "at": at(40)},
        {"event": "batch_started", "at": at(50)},
        *walk(("full_share", 51, {"state": "healthy"})),
    )
    assert build_report(text)["hosts"][0]["wall_seconds"] == 3.0


def test_a_first_walk_begins_with_its_batch_where_the_journal_tells() -> None:
    text = journal({"event": "batch_started", "at": at(5)}, *walk(("baseline", 10, {"seconds": 4.0})))
    assert build_report(text)["hosts"][0]["seconds"]["orchestration"] == 1.0


def test_a_failed_verdict_is_shown_with_its_reasons_and_the_new_benchmark(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["rolled_back"]
    host = report["hosts"][0]
    assert host["verdict"]["verdict"] == "fail"
    assert host["benchmarks"]["new"] is not None
    assert [step["step"] for step in host["steps"] if step["failed"]] == ["verdict", "failed"]
    assert "(time to first token p95 is" in report["summary"]
    assert "journalctl" not in report["next_steps"]


@pytest.mark.parametrize("step", ["quality", "benchmark"])
def test_a_failed_step_keeps_what_it_measured(step: str) -> None:
    lines = walk(("step_failed", 2, {"evidence": {"step": step, "report": {"kind": step}}}))
    host = build_report(journal(*lines))["hosts"][0]
    assert host["quality" if step == "quality" else "benchmarks"]["new"]["kind"] == step


LIVE = {"requests": 41, "failed": 1, "others_requests": 360, "others_failed": 0}


def test_live_requests_that_failed_are_told_also_where_they_may_be_chance() -> None:
    judged = {"verdict": "pass", "reasons": [], "summary": "Pass: few"}
    first = ("watched", 1, {"evidence": {**LIVE, "requests": 12}, "detail": "1 of 12 failed; watching on."})
    last = ("watched", 2, {"evidence": {**judged, **LIVE}, "detail": "1 of 41 failed: too few to tell."})
    report = build_report(journal(*walk(first, last)))
    (host,) = report["hosts"]
    assert (
        host["live"] == {**LIVE, "told": "1 of 41 failed: too few to tell.", "stopped": False}
        and host["verdict"] is None
    )
    page = render_html(report)
    assert '<p class="live warn">1 of 41 failed: too few to tell.</p>' in page
    stopped = {**judged, **LIVE, "verdict": "fail", "step": "watched", "summary": "Fail: many"}
    detail = "the verdict is fail: Fail: h-i: many failed."
    report = build_report(journal(*walk(("step_failed", 2, {"evidence": stopped, "detail": detail}))))
    (failed,) = report["hosts"]
    assert failed["verdict"]["summary"] == "Fail: many" and failed["live"]["stopped"] is True
    assert 'class="live' not in render_html(report), "the verdict above says it"


def test_a_journal_from_before_the_counts_is_read_too() -> None:
    (host,) = build_report(journal(*walk(("watched", 1, {"evidence": {"requests": 431}}))))["hosts"]
    assert host["live"]["requests"] == 431 and host["live"]["failed"] is None


@pytest.mark.parametrize("event", ["metric_contract", "watched", "metrics_known", "metrics_watched"])
def test_a_verdict_beside_the_judges_is_shown_only_where_it_stopped_the_release(event: str) -> None:
    judged: dict[str, Any] = {"verdict": "pass", "reasons": [], "summary": "pass"}
    beside: dict[str, Any] = {"verdict": "fail", "reasons": [], "summary": "fail"}
    passed = walk(("verdict", 1, {"evidence": judged}), (event, 2, {"evidence": {**judged, "summary": "beside"}}))
    assert build_report(journal(*passed))["hosts"][0]["verdict"]["summary"] == "pass"
    failed = walk(("verdict", 1, {"evidence": judged}), ("step_failed", 2, {"evidence": {**beside, "step": event}}))
    assert build_report(journal(*failed))["hosts"][0]["verdict"]["summary"] == "fail"


def test_a_host_that_was_never_reached_is_neutral_and_took_no_time(reports: dict[str, dict[str, Any]]) -> None:
    for host in reports["rolled_back"]["hosts"][1:]:
        assert (host["outcome"], host["wall_seconds"], host["orchestration_share"]) == ("untouched", 0.0, None)


def test_waiting_for_other_batches_is_not_the_hosts_own_time() -> None:
    text = journal(
        {"event": "batch_started", "at": at(5), "evidence": {"batch": 1, "hosts": ["other"]}},
        *walk(("lock_renewed", 6)),
        {"event": "batch_started", "at": at(30), "evidence": {"batch": 2, "hosts": ["h"]}},
        *walk(("drained", 31), ("lease_renewed", 32), ("full_share", 33, {"state": "healthy"})),
        {"event": "batch_started", "at": at(40), "evidence": {"batch": 3, "hosts": ["third"]}},
    )
    assert build_report(text)["hosts"][0]["wall_seconds"] == 3.0


def test_a_rollback_on_purpose_is_calm(examples: Path, reports: dict[str, dict[str, Any]]) -> None:
    report = reports["on_purpose"]
    assert (report["on_purpose"], report["cause"], report["next_steps"]) == (True, None, None)
    assert {(host["previous_release"], host["release"]) for host in report["hosts"]} == {(make.NEW, make.OLD)}
    page = make_report(examples / "on_purpose", {})[1]["report.html"]
    assert '<header class="outcome good"' in page
    assert not any(reports[name]["on_purpose"] for name in ("completed", "rolled_back", "unreachable"))


def test_the_end_of_a_log_is_kept_and_the_reason_is_whole() -> None:
    log = "\n".join(f"line {number} {'x' * 60}" for number in range(20))
    detail = f"Switch: i to release 9ed: the service exited. Last lines of its log:\n{log}\nthe real cause"
    report = build_report(journal(*walk(("failed", 2, {"detail": detail}))))
    assert report["cause"]["reason"] == "the service exited. Last lines of its log:"
    assert report["cause"]["log_lines"][-1] == "the real cause"
    assert report["events"][0]["detail"].endswith("the real cause")
    assert "failed (the service exited)" in report["summary"]


def test_instances_of_one_host_take_their_turns() -> None:
    first = walk(("baseline", 10, {"seconds": 4.0}), ("full_share", 20, {"state": "healthy"}))
    second = [{**line, "instance": "k"} for line in walk(("baseline", 26, {"seconds": 5.0}))]
    hosts = build_report(journal({"event": "batch_started", "at": at(5)}, *first, *second))["hosts"]
    assert [host["wall_seconds"] for host in hosts] == [15.0, 6.0]


def test_a_step_without_seconds_counts_as_its_kind_and_is_marked() -> None:
    text = journal(*walk(("baseline", 2, {"seconds": 2.0}), ("quality", 5, {"evidence": {"category": "measurement"}})))
    host = build_report(text)["hosts"][0]
    assert host["seconds"]["measurement"] == 5.0
    assert [step["assumed"] for step in host["steps"]] == [False, True]


def test_planned_instances_without_a_line_are_listed_as_untouched() -> None:
    plan = {
        "batches": [["a"], ["b"]],
        "hosts": {
            "a": {"i": {"action": "upgrade", "from": "1", "to": "2"}},
            "b": {"i": {"action": "install", "from": None, "to": "2"}, "j": {"action": "none"}},
        },
    }
    report = build_report(journal({"event": "planned", "at": at(1), "state": "planned", "evidence": {"plan": plan}}))
    assert [(entry["host"], entry["instance"], entry["outcome"], entry["batch"]) for entry in report["hosts"]] == [
        ("a", "i", "untouched", 1),
        ("b", "i", "untouched", 2),
    ]


def test_the_plan_is_also_read_from_its_own_file(tmp_path: Path) -> None:
    plan = {"batches": [["a"]], "hosts": {"a": {"i": {"action": "upgrade", "from": "1", "to": "2"}}}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "journal.jsonl").write_text(journal({"event": "planned", "at": at(1), "state": "planned"}))
    report, _texts = make_report(tmp_path, {})
    assert (report["plan"]["batches"], report["hosts"][0]["release"]) == ([["a"]], "2")


def test_a_line_without_an_instance_speaks_for_all_instances_of_its_host() -> None:
    lines = walk(("baseline", 2), ("baseline", 3))
    lines[1]["instance"] = "k"
    lost = {"host": "h", "event": "unreachable", "state": "unknown", "at": at(9), "detail": "no answer"}
    report = build_report(journal(*lines, lost))
    assert [(entry["instance"], entry["state"]) for entry in report["hosts"]] == [("i", "unknown"), ("k", "unknown")]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "The journal ends without an outcome"),
        ([{"event": "rollback_failed", "state": "rollback_failed", "at": at(9)}], "Rollback failed on i on h"),
    ],
)
def test_other_outcomes_are_told_in_one_sentence(lines: list[dict[str, Any]], words: str) -> None:
    end = {"state": "rollback_failed"} if lines else {}
    report = build_report(journal(*walk(("baseline", 2), ("rollback_failed", 3, end)), *lines))
    assert words.lower() in report["summary"].lower()
    assert report["next_steps"]


def test_a_missing_yes_says_how_to_go_on() -> None:
    failed = walk(("failed", 3, {"evidence": {"verdict": "no_approval"}, "detail": "nobody said yes"}))
    report = build_report(journal(*failed, {"event": "halted", "state": "halted", "at": at(4)}))
    assert "local_llm_rollout_approved=true" in report["next_steps"]


LINES = [
    {"event": "planned", "at": at(1), "state": "planned"},
    {"event": "a", "at": at(2)},
    {"event": "b", "at": at(3)},
]


@pytest.mark.parametrize(
    ("damage", "broken_line", "reason"),
    [
        (lambda text: text, None, None),
        (lambda text: text.replace('"event":"a"', '"event":"x"'), 3, "line 2 was changed"),
        (lambda text: text.split("\n", 1)[1], 1, "does not start a chain"),
        (lambda text: text[:-20], 3, "cut off"),
        (lambda text: text + "[]\n", 4, "not a JSON object"),
        (lambda text: "\n".join(text.split("\n")[i] for i in (0, 2, 3)), 2, "lines between them are missing"),
        (lambda text: "", None, "empty"),
    ],
)
def test_damage_of_the_journal_is_found_and_told(damage: Any, broken_line: int | None, reason: str | None) -> None:
    _records, integrity = read_journal(damage(journal(*LINES)))
    assert integrity["first_broken_line"] == broken_line
    assert integrity["ok"] is (reason is None)
    assert (reason or "") in (integrity["reason"] or "")


@pytest.mark.parametrize("text", ["", "\x00\xff\n", "{}\n", '{"host":3,"evidence":7,"at":[]}\n', "[" * 100000 + "\n"])
def test_a_report_is_made_of_any_bytes(text: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(text, encoding="utf-8")
    report, texts = make_report(tmp_path, {})
    assert report["outcome"] == "unfinished"
    assert "The journal is damaged" in texts["report.html"]


def test_prompts_and_answers_in_evidence_never_reach_a_report(tmp_path: Path) -> None:
    secret = "THE-ANSWER-TEXT"
    quality = {"kind": "quality", "items": [{"id": "a", "status": "fail", "prompt": secret, "answer": secret}]}
    benchmark = {"kind": "benchmark", "requests": {"issued": 1, "succeeded": 1, "texts": [secret]}, "outputs": secret}
    text = journal(
        *walk(
            ("quality", 2, {"evidence": {**quality, "completion": secret}}),
            ("benchmark", 3, {"evidence": {"report": benchmark, "headers": {"Authorization": secret}}}),
            ("completion", 4, {"evidence": {"text": secret, "message": {"content": secret}, "http_status": 200}}),
        )
    )
    (tmp_path / "journal.jsonl").write_text(text, encoding="utf-8")
    _report, texts = make_report(tmp_path, {})
    assert secret not in "".join(texts.values())
    assert '"id": "a"' in texts["report.json"]


def test_large_evidence_is_read_from_its_file_and_a_changed_file_is_told(tmp_path: Path) -> None:
    make.completed(tmp_path)
    path = min((tmp_path / "evidence").glob("*-baseline.json"))
    data = json.loads(path.read_text())
    data["requests"]["succeeded"] = 149
    path.write_text(json.dumps(data))
    report, texts = make_report(tmp_path, {})
    assert report["hosts"][0]["benchmarks"]["baseline"]["requests"]["succeeded"] == 149
    assert "was changed after it was recorded" in report["journal"]["evidence_problems"][0]
    assert "Evidence does not match the journal" in texts["report.html"]


def test_evidence_files_are_not_followed_out_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "outside.json").write_text('{"kind": "benchmark"}')
    (tmp_path / "evidence" / "link.json").symlink_to(tmp_path / "outside.json")
    digests = {"../outside.json": "0", "/etc/hostname": "0", "evidence/../../x": "0"}
    text = journal(*walk(("baseline", 2, {"evidence": {"report": "evidence/link.json", "evidence_sha256": digests}})))
    (tmp_path / "journal.jsonl").write_text(text)
    report, _texts = make_report(tmp_path, {})
    assert report["hosts"][0]["benchmarks"]["baseline"] is None
    assert report["journal"]["evidence_problems"] == ["evidence/link.json is no plain file of at most 32 MiB"]


def test_files_are_written_once_with_a_narrow_mode(tmp_path: Path) -> None:
    make.completed(tmp_path)
    _report, texts = make_report(tmp_path, {})
    names = changed_files(tmp_path, texts)
    write_files(tmp_path, texts, names)
    assert sorted(names) == ["report.html", "report.json"]
    assert changed_files(tmp_path, make_report(tmp_path, {})[1]) == []
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names] == [0o640, 0o640]
    assert not list(tmp_path.glob(".*.part"))


def test_a_directory_without_a_journal_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=f"no journal at {tmp_path}/journal.jsonl"):
        make_report(tmp_path, {})


def test_an_empty_percentile_stays_null_and_error_share_counts_timeouts() -> None:
    assert error_share({"requests": {"issued": 10, "succeeded": 7, "failed": 3, "timeouts": 1}}) == 0.3
    assert error_share({"requests": {"issued": 0, "succeeded": 0}}) is None
    assert change_percent(2.0, 1.0) == -50.0
    assert change_percent(0, 1.0) is change_percent(None, 1.0) is None


def test_many_samples_are_thinned_but_keep_both_ends() -> None:
    thinned = samples(list(range(5000, 0, -1)))
    assert thinned is not None
    assert (len(thinned), thinned[0], thinned[-1]) == (MAX_SAMPLES, 1, 5000)
    assert samples([1.0, float("nan"), "x", True, None]) == [1.0]


@pytest.mark.parametrize("evidence", [None, [], "x", {"report": "evidence/none.json"}, {"kind": "quality"}])
def test_no_benchmark_is_found_where_none_is(evidence: Any) -> None:
    assert find_benchmark(evidence, {}) is None


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("2026-01-05T10:00:00Z", "10:00"),
        ("2026-01-05T12:00:00+02:00", "10:00"),
        ("2026-01-05T10:00:00", "10:00"),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_times_are_read_as_utc(text: Any, clock: str | None) -> None:
    moment = parse_time(text)
    assert (moment.strftime("%H:%M") if moment else None) == clock
