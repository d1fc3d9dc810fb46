#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How true is llm_benchmark's client, and what does it cost? Side by side with the floor and with peers, on one server.

    python benchmarks/client_accuracy.py                 # about a minute; exit status 1 when a target is missed
    python benchmarks/client_accuracy.py --real-time     # before all other processes (root)

    LOCAL_LLM_PEER_MODEL=/models/small LOCAL_LLM_PEER_VLLM=/venvs/vllm LOCAL_LLM_PEER_GUIDELLM=/venvs/guidellm \\
    LOCAL_LLM_PEER_AIPERF=/venvs/aiperf python benchmarks/client_accuracy.py --case 64

The server is a fake (tests/fakes/fake_stream_server.py) that sends the first token after 50 ms and the others 10 ms
apart, on the same cores. It measures its own lateness, which is printed beside. CPU, memory and seconds are of the
whole command of each client, process start and reckoning included. The ideal rate is users / length of an answer;
2,000 requests of 64 users cannot go above 0.977 of it, because the last round is not full.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.benchmarks.client_peers import Peer, Result, Work, clients

PORT = 18393
TTFT_SECONDS, ITL_SECONDS, TOKENS = 0.05, 0.01, 32
ANSWER_SECONDS = TTFT_SECONDS + ITL_SECONDS * (TOKENS - 1)
PEER_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Case:
    """A load, and what our client is meant to reach with it."""

    users: int
    requests: int
    error_ms: float
    rate_share: float
    cpu_seconds: float
    memory_mb: float
    wall_seconds: float


CASES = (
    Case(4, 60, 5.0, 0.95, 0.6, 60.0, 6.5),
    Case(64, 2000, 2.0, 0.97, 5.0, 60.0, 20.0),
    Case(200, 2000, 10.0, 0.94, 5.0, 60.0, 20.0),
)


class Fake:
    """The fake server as a process of its own."""

    def __init__(self, real_time: bool) -> None:
        script = str(CHECKOUT / "tests" / "fakes" / "fake_stream_server.py")
        pace = ["--ttft-seconds", str(TTFT_SECONDS), "--itl-seconds", str(ITL_SECONDS)]
        self._process = subprocess.Popen(
            [*_priority(real_time), sys.executable, script, "--port", str(PORT), *pace],
            stdout=subprocess.PIPE,
            text=True,
        )
        if "listens" not in self._line():
            raise SystemExit(f"the fake server did not start; is port {PORT} taken?")

    def _line(self) -> str:
        if self._process.stdout is None:
            raise SystemExit("the fake server has no output")
        return self._process.stdout.readline()

    def lateness(self) -> str:
        """Return its own words on how late it was since it was last asked."""
        self._process.send_signal(signal.SIGUSR1)
        return self._line().split("mean lateness ")[-1].strip()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def _priority(real_time: bool) -> list[str]:
    return ["chrt", "--rr", "5"] if real_time else []


@dataclass(frozen=True)
class Cost:
    """Of one command with all its children."""

    cpu_seconds: float
    memory_mb: float
    wall_seconds: float


def measure(peer: Peer, work: Work, real_time: bool) -> tuple[Result | str, Cost]:
    """Run one client; return what it found, or why it found nothing, and what it cost."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if peer.name.startswith("aiperf"):
        del environment["HF_HUB_OFFLINE"]  # set, it does not load a tokenizer from a directory
    log = work.directory / "log.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*_priority(real_time), *peer.command(work)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=work.directory,
        )
        sizes: list[float] = []
        done = threading.Event()
        watcher = threading.Thread(target=_watch_memory, args=(process.pid, sizes, done))
        watcher.start()
        try:
            output, _none = process.communicate(timeout=PEER_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, _none = process.communicate()
        finally:
            done.set()
            watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost = Cost(cpu, max(sizes, default=0.0), time.monotonic() - began)
    try:
        return peer.result(work, output), cost
    except (OSError, ValueError, KeyError, IndexError, TypeError, StopIteration) as exc:
        tail = (output + log.read_text()).strip().splitlines()[-1:]
        return f"no result (exit status {process.returncode}, {type(exc).__name__}): {tail}", cost


def _watch_memory(pid: int, sizes: list[float], done: threading.Event) -> None:
    """Note the resident memory of a process and all its children, twice a second. Shared pages count more than once."""
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
    while not done.wait(0.5):
        total, waiting = 0.0, [pid]
        while waiting:
            process = waiting.pop()
            try:
                total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * page_mb
                for task in Path(f"/proc/{process}/task").iterdir():
                    waiting += [int(child) for child in (task / "children").read_text().split()]
            except (OSError, IndexError):
                continue
        sizes.append(total)


def run_builtin(url: str, users: int, requests: int, tokens: int) -> None:
    """Be the client: run, and print a line of JSON."""
    from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload
    from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import Limits, closed_plan
    from ansible_collections.local_llm.ops.plugins.module_utils._bench._run import run_load
    from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint

    work = Workload("openai_chat", "fake", output_tokens=tokens)
    run = run_load(closed_plan(users, requests), work, parse_endpoint(url), Limits(300.0), threading.Event())
    good = [record for record in run.records if record.error is None]
    waits = [record.ttft_seconds for record in good if record.ttft_seconds is not None]
    seconds = max(record.ended for record in run.records) - min(record.started for record in run.records)
    print(
        json.dumps(
            {
                "succeeded": len(good),
                "failed": len(run.records) - len(good),
                "output_tokens": sum(record.output_tokens or 0 for record in good),
                "ttft_mean_seconds": sum(waits) / max(1, len(waits)),
                "requests_per_second": len(good) / seconds,
            }
        )
    )


def _row(case: Case, peer: Peer, found: Result | str, cost: Cost, lateness: str) -> tuple[str, bool]:
    """Return the line for one client, and whether it reached what our client is meant to reach."""
    place = f"{case.users:4} users, {case.requests:4} requests  {peer.name:22}"
    used = f"CPU {cost.cpu_seconds:5.1f} s, {cost.memory_mb:6.0f} MB, {cost.wall_seconds:5.1f} s in all"
    if isinstance(found, str):
        return f"{place} {found}; {used}", False
    error_ms = 1000 * ((found.ttft_mean_seconds or 0.0) - TTFT_SECONDS)
    share = (found.requests_per_second or 0.0) / (case.users / ANSWER_SECONDS)
    exact = found.succeeded == case.requests and found.output_tokens == case.requests * TOKENS
    good = (
        exact
        and error_ms <= case.error_ms
        and share >= case.rate_share
        and cost.cpu_seconds <= case.cpu_seconds
        and cost.memory_mb <= case.memory_mb
        and cost.wall_seconds <= case.wall_seconds
    )
    count = "counts exact" if exact else f"{found.succeeded} answers, {found.output_tokens} tokens"
    return (
        f"{place} TTFT error {error_ms:6.2f} ms, rate {share:.3f} of the ideal, {used}, {count}; fake late {lateness}",
        good,
    )


def main() -> int:
    """Print a line per case and client; return 1 when our client missed a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", type=int, choices=[case.users for case in CASES], help="only the case of so many users"
    )
    parser.add_argument("--only", help="only clients whose name begins so")
    parser.add_argument(
        "--real-time", action="store_true", help="run fake and clients before all other processes (root)"
    )
    parser.add_argument("--client", nargs=4, metavar=("URL", "USERS", "REQUESTS", "TOKENS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        run_builtin(options.client[0], *map(int, options.client[1:]))
        return 0
    taking_part = [peer for peer in clients() if peer.name.startswith(options.only or "")]
    fake = Fake(options.real_time)
    missed = 0
    try:
        for case in CASES:
            if options.case not in (None, case.users):
                continue
            for peer in taking_part:
                fake.lateness()
                with tempfile.TemporaryDirectory() as directory:
                    work = Work(f"http://127.0.0.1:{PORT}", case.users, case.requests, TOKENS, Path(directory))
                    found, cost = measure(peer, work, options.real_time)
                line, good = _row(case, peer, found, cost, fake.lateness())
                ours = peer.name == "builtin"
                missed += ours and not good
                print(f"{('ok  ' if good else 'MISS') if ours else '    '} {line}", flush=True)
    finally:
        fake.stop()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
