# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run make targets one after the other, then print a table: part, result, seconds; and what pytest says last.

python3 tools/run_parts.py lint sanity unit        a failed part does not stop the others (FAIL_FAST=1: it does)
python3 tools/run_parts.py rollout-tests , lint    a comma begins a lane: lanes run side by side. Most tests of a lab
                                                   wait for machines, so that two lanes end sooner, also on two cores
python3 tools/run_parts.py lint gpu-tests+unit     a plus joins parts of one lane that run beside each other

Only the standard library, and syntax that an old Python reads.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

CLOSING_LINE = re.compile(r"^=+ .*\b(passed|failed|errors?|skipped|deselected|no tests ran)\b.* =+$")
FAILED_TEST = re.compile(r"^(FAILED|ERROR) \S+::")
MOST_FAILED_TESTS = 20
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Part:
    """One make target and what came of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.result = "not run"
        self.seconds = 0.0
        self.closing_lines: list[str] = []
        self.failed_tests: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.interrupted = False

    def run(self, prefix: str = "") -> None:
        """Run the target, show its output as it comes and keep pytest's closing lines and the failed tests' names."""
        started = time.monotonic()
        # Until it has ended well, also where this ends in an exception.
        self.result = "FAILED"
        self.process = subprocess.Popen(
            [os.environ.get("MAKE", "make"), "--no-print-directory", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LOCAL_LLM_SETUP_DONE": "1"},
            # A group of its own: an interruption reaches everything that the part has started, and nothing else.
            start_new_session=True,
        )
        if self.interrupted:
            end_groups([self.process])
        for line in self.process.stdout or ():
            sys.stdout.write(prefix + line)
            sys.stdout.flush()
            plain = COLOUR.sub("", line).strip()
            if CLOSING_LINE.match(plain):
                self.closing_lines.append(plain)
            elif FAILED_TEST.match(plain):
                self.failed_tests.append(plain[:300])
        code = self.process.wait()
        self.seconds = time.monotonic() - started
        self.result = "interrupted" if self.interrupted else "ok" if code == 0 else "FAILED"

    def running(self) -> bool:
        """Return whether it has begun, or is about to, and has not ended."""
        return self.process is None or self.process.poll() is None


class Lane:
    """Steps that run one after the other, each of one part or of several at a time; another lane may run beside it."""

    def __init__(self, names: list[str]) -> None:
        self.steps = [[Part(part) for part in name.split("+")] for name in names]
        self.parts = [part for step in self.steps for part in step]
        self.stopping = threading.Event()

    def run(self, several: bool) -> None:
        for number, step in enumerate(self.steps, start=1):
            if self.stopping.is_set():
                return
            print(f"\n######## {' and '.join(part.name for part in step)} ({number} of {len(self.steps)})", flush=True)
            threads = [
                threading.Thread(target=part.run, args=(f"[{part.name}] " if several or len(step) > 1 else "",))
                for part in step
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if os.environ.get("FAIL_FAST") == "1" and any(part.result != "ok" for part in step):
                return

    def interrupt(self) -> list[subprocess.Popen[str]]:
        """Begin no part any more; return what runs and is to be ended."""
        self.stopping.set()
        found = []
        for part in self.parts:
            part.interrupted = part.running()
            if part.interrupted and part.process is not None:
                print(f"\ninterrupted: ending {part.name}; what it started is being put away", file=sys.stderr)
                found.append(part.process)
        return found


def end_groups(processes: list[subprocess.Popen[str]]) -> None:
    """End parts and what they started, all at one time: politely, then firmly."""
    for number, patience_seconds in ((signal.SIGINT, 30), (signal.SIGTERM, 30), (signal.SIGKILL, 5)):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + patience_seconds
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
        processes = [process for process in processes if process.poll() is None]
        if not processes:
            return


def table(parts: list[Part], seconds: float) -> str:
    """Return the table, pytest's closing lines and the names of failed tests with their reasons."""
    width = max(len(part.name) for part in parts)
    lines = [f"{'part':<{width}}  {'result':<11}  seconds"]
    lines += [f"{part.name:<{width}}  {part.result:<11}  {part.seconds:7.0f}" for part in parts]
    lines.append(f"{'total':<{width}}  {'':<11}  {seconds:7.0f}")
    closing = [f"{part.name}: {line}" for part in parts for line in part.closing_lines]
    failed = [f"{part.name}: {line}" for part in parts for line in part.failed_tests[:MOST_FAILED_TESTS]]
    return "\n".join(["", *lines, *([""] if closing else []), *closing, *([""] if failed else []), *failed])


def main(names: list[str]) -> int:
    """Run the named targets; return 0 when all went well."""
    if not names:
        print("error: no part is named. Usage: run_parts.py lint sanity unit ...", file=sys.stderr)
        return 2
    # Also where the caller has these signals ignored, as a shell does for commands in the background.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    lanes = [Lane(words.split()) for words in " ".join(names).split(",") if words.split()]
    parts = [part for lane in lanes for part in lane.parts]
    threads = [threading.Thread(target=lane.run, args=(len(lanes) > 1,)) for lane in lanes]
    code, started = 0, time.monotonic()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        code = 130
        end_groups([process for lane in lanes for process in lane.interrupt()])
        for thread in threads:
            thread.join()
    print(table(parts, time.monotonic() - started))
    failed = [part.name for part in parts if part.result == "FAILED"]
    if failed:
        code = code or 1
        print(f"\nerror: failed: {' '.join(failed)}. One part alone: make {failed[0]}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
