#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does llm_benchmark's client see the same server as other tools do? The same load in turn on one real vLLM.

    python benchmarks/client_agreement.py --vllm /venvs/vllm/bin/vllm --model /models/tiny \\
        --peer vllm_bench=/venvs/vllm/bin/vllm --peer guidellm=/venvs/guidellm/bin/guidellm \\
        --peer aiperf=/venvs/aiperf/bin/aiperf

The model needs a tokenizer; one with random weights will do. vLLM is started here and ended here. In every round each
tool has its turn, in another order. Prompts are as long as ours are by the server's own count. Ratios are ours / the
tool's, the median over the rounds. The referee is the server: how many tokens it made, and its own mean time to first
token. Exit status 1 when a target is missed: throughput within 3 %, median time to first token within 5 %.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import counted, span
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_common import PeerAsk
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peers import (
    PEERS,
    run_peer,
    version_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import (
    Limits,
    Run,
    closed_plan,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._run import run_load
from ansible_collections.local_llm.ops.plugins.module_utils._bench._server_counters import (
    mean_ttft,
    read_metrics,
    read_settled,
    rise,
)
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint

API, SERVED = "openai_completions", "chat"
RATE_TOLERANCE, TTFT_TOLERANCE = 0.03, 0.05
START_SECONDS, PEER_SECONDS = 180.0, 300.0
NEVER = threading.Event()


class Server:
    """A vLLM of our own."""

    def __init__(self, program: str, model: str, port: int, log: Path, cores: set[int] | None) -> None:
        self.endpoint = parse_endpoint(f"http://127.0.0.1:{port}")
        self.url = f"http://127.0.0.1:{port}"
        command = [program, "serve", model, "--served-model-name", SERVED, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--enforce-eager", "--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "64"]
        environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [*_pinned(cores), *command], stdout=stream, stderr=stream, env=environment, start_new_session=True
            )
        self._log = log

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            found = read_metrics("vllm", self.endpoint)
            if found is not None:
                return
            time.sleep(1.0)
        raise SystemExit(f"vLLM did not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # the session is ours alone
            self._process.wait(10)


def _pinned(cores: set[int] | None) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cores)))] if cores else []


@dataclass(frozen=True)
class Seen:
    """One turn of one tool: what it says, and what the server says."""

    requests_per_second: float
    ttft_median: float
    ttft_mean: float
    output_tokens: int
    prompt_tokens: float
    server_ttft_mean: float | None
    server_tokens: int
    server_requests: int


def seen(server: Server, run: Callable[[], Run]) -> Seen:
    """Let a tool have its turn between two looks at the server's counters."""
    before = read_settled(lambda: read_metrics("vllm", server.endpoint))
    records = counted(run().records)
    after = read_settled(lambda: read_metrics("vllm", server.endpoint))
    delta = rise(before, after) or {}
    good = [record for record in records if record.error is None]
    waits = [record.ttft_seconds for record in good if record.ttft_seconds is not None]
    if not waits:
        raise SystemExit(f"not one answer: {records[:1]}")
    return Seen(
        len(good) / span(records),
        median(waits),
        sum(waits) / len(waits),
        sum(record.output_tokens or 0 for record in good),
        sum(record.prompt_tokens or 0 for record in good) / len(good),
        mean_ttft(delta),
        round(delta.get("generated_tokens_total") or 0),
        round(delta.get("requests_finished_total") or 0),
    )


def run_command(cores: set[int] | None) -> Callable[..., tuple[int, str, str]]:
    """Return a plain stand-in for AnsibleModule.run_command."""

    def run(argv: list[str], environ_update: Any = None, cwd: str | None = None, **_rest: Any) -> tuple[int, str, str]:
        environment = {**os.environ, **(environ_update or {})}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*_pinned(cores), *argv], stdout=pipe, stderr=pipe, text=True, env=environment, cwd=cwd
        ) as process:
            try:
                output, errors = process.communicate()
            except BaseException:
                process.terminate()  # `timeout` hands it on to all that it started
                raise
        return process.returncode, output, errors

    return run


def turns(options: argparse.Namespace, server: Server, cores: set[int] | None) -> dict[str, list[Seen]]:
    """Let every tool have its turn in every round, and return what was seen."""
    words = options.prompt_words

    def ours(seed: int, requests: int) -> Run:
        work = Workload(API, SERVED, prompt_tokens=words, output_tokens=options.tokens, seed=seed)
        return run_load(closed_plan(options.users, requests), work, server.endpoint, Limits(PEER_SECONDS), NEVER)

    def tool(name: str, program: str, seed: int, prompt: int) -> Run:
        with tempfile.TemporaryDirectory() as directory:
            ask = PeerAsk(
                program,
                options.model,
                directory,
                server.url,
                API,
                SERVED,
                options.requests,
                users=options.users,
                prompt_tokens=prompt,
                output_tokens=options.tokens,
                seed=seed,
            )
            return run_peer(name, ask, run_command(cores), PEER_SECONDS, NEVER)

    peers: dict[str, str] = dict(pair.split("=", 1) for pair in options.peer)
    names = ["builtin", *peers]
    found: dict[str, list[Seen]] = {name: [] for name in names}
    warm = seen(server, lambda: ours(999, max(4, options.users) * 4))
    prompt = round(warm.prompt_tokens)
    print(f"our prompts have {warm.prompt_tokens:.1f} tokens by the server's count; the tools send {prompt}")
    for number in range(options.rounds):
        place = number % len(names)
        for name in names[place:] + names[:place]:
            seed = 1000 * (number + 1)
            if name == "builtin":
                one = seen(server, partial(ours, seed, options.requests))
            else:
                one = seen(server, partial(tool, name, peers[name], seed, prompt))
            found[name].append(one)
            print(f"round {number + 1} {name:11} {_line(one)}; load {os.getloadavg()[0]:.1f}", flush=True)
    return found


def _line(one: Seen) -> str:
    server = 1000 * (one.server_ttft_mean or 0.0)
    return (
        f"{one.requests_per_second:7.2f} requests/s, TTFT median {1000 * one.ttft_median:7.2f} ms, mean "
        f"{1000 * one.ttft_mean:7.2f} ms (server's own mean {server:7.2f} ms), prompt {one.prompt_tokens:.1f}, "
        f"{one.output_tokens} tokens (server {one.server_tokens} in {one.server_requests} requests)"
    )


def judge(found: dict[str, list[Seen]]) -> bool:
    """Print the ratios of ours to each tool's; return whether all targets were met."""
    good = True
    ours = found["builtin"]
    for name, theirs in found.items():
        if name == "builtin":
            continue
        rate = median(a.requests_per_second / b.requests_per_second for a, b in zip(ours, theirs, strict=True))
        wait = median(a.ttft_median / b.ttft_median for a, b in zip(ours, theirs, strict=True))
        kept = abs(rate - 1) <= RATE_TOLERANCE, abs(wait - 1) <= TTFT_TOLERANCE
        good = good and all(kept)
        words = ["ok" if one else "MISS" for one in kept]
        print(f"ours / {name:11} throughput {rate:.3f} {words[0]}, median TTFT {wait:.3f} {words[1]}")
    for name, them in found.items():
        over = median(1000 * (one.ttft_mean - (one.server_ttft_mean or 0.0)) for one in them)
        exact = all(one.output_tokens == one.server_tokens for one in them)
        print(f"{name:20} adds {over:7.2f} ms to the server's own mean TTFT; tokens {'exact' if exact else 'DIFFER'}")
    return good


def main() -> int:
    """Print a line per turn and the ratios; return 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", required=True, help="program that starts the server")
    parser.add_argument("--model", required=True, help="directory of a model with its tokenizer")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PROGRAM", help=", ".join(PEERS))
    parser.add_argument("--port", type=int, default=18401)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--prompt-words", type=int, default=16)
    parser.add_argument("--server-cores", help="pin the server to these cores, like 0 or 0,1; the tools to the others")
    options = parser.parse_args()
    mine: set[int] | None = None
    others: set[int] | None = None
    if options.server_cores:
        mine = {int(core) for core in options.server_cores.split(",")}
        others = os.sched_getaffinity(0) - mine
        if not others:
            parser.error("--server-cores: no core is left for the tools; name fewer")
    for pair in options.peer:
        name, _equals, program = pair.partition("=")
        if name not in PEERS:
            parser.error(f"--peer: {name!r} is not known; give one of {', '.join(PEERS)} as NAME=PROGRAM")
        print(f"{name} {version_of(name, program, run_command(None))}")
    with tempfile.TemporaryDirectory() as directory:
        server = Server(options.vllm, options.model, options.port, Path(directory) / "server.log", mine)
        try:
            server.wait()
            if others:
                os.sched_setaffinity(0, others)
            found = turns(options, server, others)
        finally:
            server.stop()
    return 0 if judge(found) else 1


if __name__ == "__main__":
    sys.exit(main())
