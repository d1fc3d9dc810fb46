# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much time does a rollout spend on itself? In multiples of one ping of the same hosts.

Upgrades the lab to a good release and back (twice by default), takes the orchestration seconds per host out of the
reports (wall time without engine start, measurement and waiting), and divides their median by the median time of
"ansible gpu_hosts -m ping", run before and after each rollout. The target is at most 15 pings per host.

  make lab-up LAB=bench && .build/venv/bin/python benchmarks/orchestration.py --lab bench
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lab"))

from fleet import Fleet, read_report

TARGET_PINGS_PER_HOST = 15.0


def ping_seconds(fleet: Fleet) -> float:
    """Return how long one ping of all GPU hosts takes, as a user would type it."""
    command = [str(fleet.venv / "bin" / "ansible"), "gpu_hosts", "-i", str(fleet.lab.directory / "inventory.yml")]
    started = time.monotonic()
    subprocess.run([*command, "-m", "ansible.builtin.ping"], env=fleet.environment(), check=True, capture_output=True)
    return time.monotonic() - started


def main() -> int:
    """Measure, print the figures, and exit 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="bench")
    parser.add_argument("--rollouts", type=int, default=2)
    options = parser.parse_args()
    fleet = Fleet(options.lab)
    fleet.up()
    site = fleet.playbook("site")
    if site.code != 0:
        print(site.output[-3000:], file=sys.stderr)
        return 2
    pings = [ping_seconds(fleet)]
    hosts: list[dict[str, float]] = []
    for number in range(options.rollouts):
        done = fleet.playbook("upgrade", "-e", f"lab_parallel_requests={3 + number % 2}")
        if done.code != 0:
            print(done.output[-3000:], file=sys.stderr)
            return 2
        hosts += [host["seconds"] for host in read_report(done.made_rollout)["hosts"]]
        pings += [ping_seconds(fleet), ping_seconds(fleet)]
    ping = statistics.median(pings)
    print(f"\nping of all hosts: median {ping:.2f} s of {len(pings)} (from {min(pings):.2f} to {max(pings):.2f})")
    for key in ("engine", "measurement", "waiting", "orchestration"):
        middle = statistics.median(host[key] for host in hosts)
        print(f"{key:<14} per host: median {middle:6.2f} s = {middle / ping:5.1f} pings")
    ratio = statistics.median(host["orchestration"] for host in hosts) / ping
    print(f"orchestration per host: {ratio:.1f} pings; target: at most {TARGET_PINGS_PER_HOST:.0f}")
    return 0 if ratio <= TARGET_PINGS_PER_HOST else 1


if __name__ == "__main__":
    sys.exit(main())
