# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the GPU exporter cost? Time of a scrape and of a reading, memory and processor time, beside the floor.

Boots one lab host with eight fake GPUs, sets the role up, and scrapes it from this machine, as Prometheus would.
The floor of a scrape is the same bytes from a web server that only hands out a file; that of memory is a bare Python.
Targets: one scrape below 100 ms, 40 MB resident (memory that processes share counts once: Pss).

  .build/venv/bin/python benchmarks/gpu_exporter_cost.py --scrapes 50
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lab"))

from exporter_host import HOST, PORT, ExporterHost
from waiting import wait_for

TARGET_SCRAPE_SECONDS, TARGET_BYTES = 0.1, 40e6
FLOOR_PORT = 9837
WATCH_SECONDS = 60.0


def timed(count: int, call: Callable[[], object]) -> list[float]:
    """Return how long each of some calls takes, sorted."""
    found = []
    for _number in range(count):
        started = time.monotonic()
        call()
        found.append(time.monotonic() - started)
    return sorted(found)


def line(what: str, seconds: list[float]) -> str:
    """Return a line of the table."""
    tail = seconds[int(0.95 * (len(seconds) - 1))]
    return f"{what:<34} {statistics.median(seconds) * 1000:7.1f} ms median  {tail * 1000:7.1f} ms p95"


def used_seconds(host: ExporterHost) -> float:
    """Return the processor time that the processes of the unit have used so far."""
    return float(sum(one["used_seconds"] for one in host.processes()))


def main() -> int:
    """Measure, print the figures, and exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="gpucost")
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--scrapes", type=int, default=50)
    options = parser.parse_args()
    host = ExporterHost(options.lab)
    try:
        host.begin(options.suite)
        wait_for("eight GPUs", lambda: len(host.scrape().values.get("local_llm_gpu_lost", ())) == 8, 60)
        first = host.scrape()
        host.shell(HOST, f"mkdir -p /root/floor && head -c {first.size_bytes} /dev/zero >/root/floor/metrics")
        host.shell(
            HOST, f"systemd-run -q --unit=floor -p WorkingDirectory=/root/floor python3 -m http.server {FLOOR_PORT}"
        )
        address = host.lab.hosts[HOST].address

        def get(port: int) -> bytes:
            with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=10) as answer:
                data: bytes = answer.read()
            return data

        def floor_is_up() -> bool:
            try:
                return bool(get(FLOOR_PORT))
            except OSError:
                return False

        wait_for("the floor", floor_is_up, 30)
        floor = timed(options.scrapes, lambda: get(FLOOR_PORT))
        scrapes = timed(options.scrapes, lambda: get(PORT))
        before = used_seconds(host)
        readings: list[float] = []
        end = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < end:
            time.sleep(2)  # the pace at which it is looked at, not a wait for something
            readings.append(host.scrape().value("read_seconds") or 0.0)
        share = (used_seconds(host) - before) / WATCH_SECONDS
        processes = host.processes()
        bare = int(
            host.shell(
                HOST,
                'python3 -c \'print([x for x in open("/proc/self/status") if x.startswith("VmRSS")][0].split()[1])\'',
            )
        )
    finally:
        host.lab_command("down")
    resident = sum(one["pss"] for one in processes)
    series = sum(len(values) for values in first.values.values())
    print(f"\n8 fake GPUs on {options.suite}, {series} series, {first.size_bytes} bytes, {options.scrapes} scrapes")
    print(line("floor: the same bytes from a file", floor))
    print(line("scrape", scrapes))
    print(line("reading of all GPUs, beside it", sorted(readings)))
    print(f"processor time, a reading every 2 s: {share * 100:.1f} % of one core")
    print(f"memory: {resident / 1e6:.1f} MB; the floor, one bare Python: {bare * 1024 / 1e6:.1f} MB")
    for one in processes:
        print(f"  process: {one['pss'] / 1e6:5.1f} MB shared memory parted, {one['rss'] / 1e6:5.1f} MB with all of it")
    return 0 if statistics.median(scrapes) <= TARGET_SCRAPE_SECONDS and resident <= TARGET_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
