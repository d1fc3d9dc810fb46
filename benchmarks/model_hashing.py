#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast are models hashed and fetched, and with how much memory? Held against sha256sum.

    python benchmarks/model_hashing.py                 # 1 GB of random bytes, about 20 seconds
    python benchmarks/model_hashing.py --megabytes 200

Prints the speed of state verified as a ratio to sha256sum on the same file in the same run (target: at least 0.9), the
speed of state fetched from a server on this machine, and the peak memory of both (target: below 100 MB). Exit status 1
when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
COLLECTIONS = CHECKOUT / ".build" / "collections"
ROUNDS = 3
MIN_RATIO, MAX_MEGABYTES = 0.9, 100.0

# The module in a process of its own, as on a host. The last line is its peak memory in kilobytes.
MODULE = """
import json, resource, sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible.module_utils.testing import patch_module_args
from ansible_collections.local_llm.ops.plugins.modules import model_artifact
with patch_module_args(json.loads(sys.argv[1])):
    try:
        model_artifact.main()
    finally:
        print()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run_module(**options: Any) -> tuple[dict[str, Any], float]:
    """Return the result of the module and its peak memory in megabytes."""
    arguments = json.dumps({"name": "benchmark", "reserve_bytes": 0, **options})
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    done = subprocess.run(
        [sys.executable, "-c", MODULE, arguments], env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line]
    if done.returncode:
        raise SystemExit(f"the module failed: {lines[:1]} {done.stderr[-500:]}")
    return json.loads(lines[0]), int(lines[-1]) / 1024


def make_file(path: Path, megabytes: int) -> None:
    """Write random bytes."""
    with path.open("wb") as stream:
        for _megabyte in range(megabytes):
            stream.write(os.urandom(1_000_000))


def sha256sum(path: Path) -> tuple[str, float]:
    """Return the digest of a file and how long the program took."""
    began = time.monotonic()
    done = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.split()[0], time.monotonic() - began


def main() -> int:
    """Print a line per figure; return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    count = parser.parse_args().megabytes
    work = Path(tempfile.mkdtemp(prefix="local_llm_hashing_"))
    try:
        return measure(work, count)
    finally:
        shutil.rmtree(work)


def measure(work: Path, count: int) -> int:
    """Measure in a directory; return 1 when a target is missed."""
    model = work / "model"
    model.mkdir()
    make_file(model / "model.gguf", count)
    digest, _seconds = sha256sum(model / "model.gguf")  # also brings the file into the page cache
    manifest = {"schema": 1, "files": {"model.gguf": digest}, "sizes": {"model.gguf": count * 1_000_000}}
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    ratios, speeds, peaks = [], [], []
    for _round in range(ROUNDS):
        _digest, theirs = sha256sum(model / "model.gguf")
        result, peak = run_module(state="verified", directory=str(model))
        ratios.append(theirs / result["seconds"])
        speeds.append(count / result["seconds"])
        peaks.append(peak)
    ratio = statistics.median(ratios)
    print(f"hash {count} MB: {statistics.median(speeds):.0f} MB/s, {ratio:.2f} of sha256sum, peak {max(peaks):.0f} MB")
    command = [sys.executable, str(CHECKOUT / "plugins/plugin_utils/_share_server.py")]
    settings = {"root": str(work), "address": "127.0.0.1", "token": "t", "bytes_per_second": 0, "play_pid": os.getpid()}
    os.link(model / "model.gguf", work / digest)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdin is None or server.stdout is None:
            return 1
        server.stdin.write(json.dumps(settings) + "\n")
        server.stdin.flush()
        port = json.loads(server.stdout.readline())["port"]
        try:
            result, peak = run_module(
                state="fetched",
                source="http",
                url=f"http://127.0.0.1:{port}",
                url_layout="sha256",
                token="t",
                use_proxy=False,
                files={"model.gguf": digest},
                sizes={"model.gguf": count * 1_000_000},
                directory=str(work / "incoming"),
            )
        finally:
            server.terminate()
    peaks.append(peak)
    print(f"fetch, hash and write {count} MB: {count / result['seconds']:.0f} MB/s, peak {peak:.0f} MB")
    missed = ratio < MIN_RATIO or max(peaks) > MAX_MEGABYTES
    print("a target was missed" if missed else "all targets are met")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
