#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How true is llm_benchmark's client? Measures a fake server of known pace and holds the result against fixed limits.

    python benchmarks/client_accuracy.py            # about 25 seconds; exit status 1 when a limit is missed

The fake (tests/fakes/fake_stream_server.py) sends the first token after 50 ms and the others 10 ms apart. The limits
are those of a 2-core machine on which client and fake share the cores.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.module_utils._benchmark import measure  # noqa: E402
from ansible_collections.local_llm.ops.plugins.module_utils._benchmark_report import build_report  # noqa: E402
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint  # noqa: E402
from ansible_collections.local_llm.ops.plugins.module_utils._workload import Workload  # noqa: E402

PORT = 18393
TTFT_SECONDS, ITL_SECONDS, TOKENS = 0.05, 0.01, 32
E2EL_SECONDS = TTFT_SECONDS + ITL_SECONDS * (TOKENS - 1)
# users, requests, largest mean TTFT error in ms, smallest share of the ideal rate, most client CPU per request in ms
CASES = ((4, 60, 5.0, 0.95, 10.0), (64, 2000, 5.0, 0.945, 5.0), (200, 2000, 25.0, 0.86, 5.0))


def main() -> int:
    """Print a line per case; return 1 when a limit is missed."""
    fake = subprocess.Popen(
        [sys.executable, str(CHECKOUT / "tests/fakes/fake_stream_server.py"), "--port", str(PORT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    missed = 0
    try:
        if fake.stdout is None or "listens" not in fake.stdout.readline():
            print(f"the fake server did not start; is port {PORT} taken?")
            return 1
        for users, requests, max_error_ms, min_share, max_cpu_ms in CASES:
            work = Workload("openai_chat", "fake", users, requests, 32, TOKENS, users, 1)
            run = measure(work, parse_endpoint(f"http://127.0.0.1:{PORT}"), 120, 30, threading.Event())
            report = build_report(work, run, "")
            error_ms = 1000 * (report["ttft_seconds"]["mean"] - TTFT_SECONDS)
            share = report["requests_per_second"] / (users / E2EL_SECONDS)
            cpu_ms = 1000 * run.cpu_seconds / requests
            good = (
                report["requests"]["failed"] == 0
                and report["output_tokens_total"] == requests * TOKENS
                and error_ms <= max_error_ms
                and share >= min_share
                and cpu_ms <= max_cpu_ms
            )
            missed += not good
            print(
                f"{'ok  ' if good else 'MISS'} {users:4} users {requests:5} requests: "
                f"TTFT error {error_ms:5.1f} ms (limit {max_error_ms:.0f}), "
                f"rate {share:.3f} of the ideal (limit {min_share}), "
                f"CPU {cpu_ms:.1f} ms per request (limit {max_cpu_ms:.0f})",
                flush=True,
            )
    finally:
        fake.terminate()
        fake.wait(10)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
