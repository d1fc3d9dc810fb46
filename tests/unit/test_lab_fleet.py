# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rollout tests judge by: whose outcome it is, and whether the steady client can vouch for the traffic."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LAB = Path(__file__).resolve().parents[1] / "lab"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, LAB / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fleet = load("fleet")
demo = load("demo")


def text(answered: int, summary: int | None, failed: int = 0) -> str:
    """Return what a client writes that sent some requests; no summary: it died."""
    lines: list[dict[str, Any]] = [
        {"number": n, "sent_at": 100.0 + n, "seconds": 0.5, "ok": n > failed, "error": "" if n > failed else "http_503"}
        for n in range(1, answered + 1)
    ]
    if summary is not None:
        lines.append({"summary": True, "sent": summary})
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_client_that_kept_its_schedule_vouches_for_its_traffic() -> None:
    traffic = fleet.whole_traffic(text(80, 80, failed=2), 0, due=100.0)
    assert (traffic.sent, traffic.failed, traffic.errors) == (80, 2, {"http_503": 2})


@pytest.mark.parametrize(
    ("written", "code", "due", "words"),
    [
        (text(80, 80), -9, 80.0, "exit code -9"),
        (text(80, None), 0, 80.0, "exit code 0"),
        ("", 1, 80.0, "exit code 1"),
        (text(79, 80), 0, 80.0, "knows the end of 79"),
        (text(79, 79), 0, 100.0, "79 requests where 100 were due"),
        (text(0, 0), 0, 100.0, "0 requests"),
    ],
)
def test_a_client_that_died_or_fell_behind_is_no_witness(written: str, code: int, due: float, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        fleet.whole_traffic(written, code, due)


def test_traffic_under_way_skips_a_torn_line_and_what_was_sent_before() -> None:
    outcomes, sent = fleet.read_lines(text(10, None) + '{"number": 11, "sent')
    assert sent is None
    assert fleet.traffic_of(outcomes, since=106.0).sent == 5


def test_finish_ends_the_client_and_a_second_stop_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "client.jsonl"
    path.write_text(text(3, 3))
    process = subprocess.Popen([sys.executable, "-c", ""])
    client = fleet.Client(process, path, rate=20.0, seconds=0.1)
    process.wait(timeout=30)
    assert client.finish().sent == 3
    assert client.stop() == 0


def test_outcome_is_that_of_the_rollout_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"outcome": "halted"}')
    assert fleet.PlaybookRun(2, "", 1.0, tmp_path).outcome == "halted"


def test_a_refused_run_has_no_outcome_and_says_so_with_its_output() -> None:
    with pytest.raises(LookupError, match="port 8055 is taken"):
        _unused = fleet.PlaybookRun(2, "port 8055 is taken", 1.0).outcome


def test_a_rollout_without_a_report_has_no_outcome(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="without a report"):
        _unused = fleet.PlaybookRun(2, "", 1.0, tmp_path).outcome


def test_the_rollout_of_a_run_is_the_directory_that_appeared_during_it() -> None:
    old, new = Path("old"), Path("new")
    assert fleet.made_since({old}, {old}) is None
    assert fleet.made_since({old}, {old, new}) == new
    with pytest.raises(LookupError, match="new, other"):
        fleet.made_since({old}, {old, new, Path("other")})


@pytest.mark.parametrize(
    ("outcome", "code", "sent", "failed", "good"),
    [
        ("completed", 0, 100, 0, True),
        ("completed", 2, 100, 0, False),
        ("completed", 0, 49, 0, False),
        ("completed", 0, 100, 1, False),
        ("refused", 2, 100, 0, False),
    ],
)
def test_demo_believes_an_upgrade_only_with_exit_code_and_traffic(
    outcome: str, code: int, sent: int, failed: int, good: bool
) -> None:
    row = demo.Row("good", "", "completed", outcome, code, fleet.Traffic(sent, failed, 0.1), 5.0, None, 50.0)
    assert row.as_expected is good


@pytest.mark.parametrize(("code", "good"), [(2, True), (0, False)])
def test_demo_does_not_believe_a_way_back_with_exit_code_0(code: int, good: bool) -> None:
    taken_back = "rolled_back_verified"
    row = demo.Row("slow", "", taken_back, taken_back, code, fleet.Traffic(100, 0, 0.1), 5.0, None, 50.0)
    assert row.as_expected is good
