# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a test run: beside each other, one after the other, failed, interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "tools/run_parts.py"
# In place of make: a part is what it is called. "long" says that it has begun and waits for its end.
MAKE = """#!/bin/sh
shift
case $1 in
bad*) exit 3 ;;
long*) echo "begun $1"; trap 'exit 1' INT TERM; while :; do sleep 0.05; done ;;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    make = tmp_path / "make"
    make.write_text(MAKE, encoding="utf-8")
    make.chmod(0o755)
    return {**os.environ, "MAKE": str(make)}


def results(output: str) -> dict[str, str]:
    """Return {part: result} of the table."""
    return dict(re.findall(r"^(\S+) +(ok|FAILED|interrupted|not run) +\d+$", output, re.MULTILINE))


def children(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for path in tasks for child in path.read_text(encoding="utf-8").split()]


def run(environment: dict[str, str], *names: str) -> tuple[int, dict[str, str]]:
    command = [sys.executable, str(PROGRAM), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, results(done.stdout)


def test_a_failed_part_does_not_stop_the_others_and_decides(environment: dict[str, str]) -> None:
    assert run(environment, "bad", "good+fine", ",", "other") == (
        1,
        {"bad": "FAILED", "good": "ok", "fine": "ok", "other": "ok"},
    )


def test_the_first_failure_ends_its_lane_where_that_is_wanted(environment: dict[str, str]) -> None:
    found = run({**environment, "FAIL_FAST": "1"}, "bad+good", "never", ",", "other")
    assert found == (1, {"bad": "FAILED", "good": "ok", "never": "not run", "other": "ok"})


def test_a_part_that_cannot_begin_is_a_failure(environment: dict[str, str]) -> None:
    assert run({**environment, "MAKE": "/nonexistent/make"}, "good") == (1, {"good": "FAILED"})


def test_an_interruption_ends_what_runs_and_hides_no_failure(environment: dict[str, str]) -> None:
    command = [sys.executable, str(PROGRAM), "good", "bad+long1+long2", "never", ",", "long3"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = ""
        while not {"long1", "long2", "long3"} <= set(re.findall(r"begun (\S+)", seen)):
            line = process.stdout.readline()
            assert line, "it ended by itself"
            seen += line
        deadline = time.monotonic() + 30
        while len(children(process.pid)) > 3:
            assert time.monotonic() < deadline, "bad does not end"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    found = results(rest)
    assert found.pop("bad") == "FAILED"
    assert found == {
        "good": "ok", "long1": "interrupted", "long2": "interrupted", "never": "not run", "long3": "interrupted",
    }  # fmt: skip
    assert process.returncode == 130
    assert "error: failed: bad" in errors
