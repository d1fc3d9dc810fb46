# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does it cost to ask a whole fleet how its GPUs are? In multiples of one ping of the same hosts.

Boots 30 lab hosts (by default), gives each eight fake GPUs, and times the playbook health against
"ansible gpu_hosts -m ping" with the same forks, in turns. Then it times the module alone on one host, with its memory.
Targets: at most 1.5 pings plus 3 s for the playbook; 0.3 s and 60 MB for the module with all its children.

  .build/venv/bin/python benchmarks/health_cost.py --hosts 30
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lab"))

from gpu_fleet import GpuFleet, healthy

FORKS = 20
TOOLS = "/opt/local_llm/tools"
TARGET_PINGS, TARGET_EXTRA_SECONDS = 1.5, 3.0
TARGET_MODULE_SECONDS, TARGET_MODULE_BYTES = 0.3, 60e6
# Runs a module's payload as Ansible left it on the host; prints its wall times and the peak memory of it and all its
# children, where memory that processes share counts once (Pss).
ON_HOST = """
import json, os, resource, subprocess, sys, threading, time
def tree(pid):
    total, left = 0, [pid]
    while left:
        one = left.pop()
        try:
            for line in open(f"/proc/{one}/smaps_rollup"):
                if line.startswith("Pss:"): total += int(line.split()[1]) * 1024
            for task in os.listdir(f"/proc/{one}/task"):
                left += [int(x) for x in open(f"/proc/{one}/task/{task}/children").read().split()]
        except OSError: pass
    return total
times, peak = [], 0
for _ in range(7):
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, tree(process.pid)); time.sleep(0.004)
    times.append(time.monotonic() - started)
print(json.dumps({"seconds": sorted(times), "peak_bytes": peak}))
"""


def run_seconds(command: list[str], environment: dict[str, str]) -> float:
    """Return how long a command takes; stop when it fails."""
    started = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return time.monotonic() - started


def prepare(fleet: GpuFleet, hosts: list[str]) -> None:
    """Give every host fake GPUs and the package nvidia-ml-py, which is fetched once and copied."""
    fleet.up([f"{host}=bookworm" for host in hosts])
    fleet.give(**dict.fromkeys(hosts, healthy()))
    first, *others = hosts
    fleet.shell(
        first,
        f"[ -x {TOOLS}/bin/python ] || {{ apt-get -qq update && apt-get -qq install -y python3-venv >/dev/null"
        f" && python3 -m venv {TOOLS} && {TOOLS}/bin/pip -q install nvidia-ml-py==13.615.71; }};"
        f" {TOOLS}/bin/python -c 'import pynvml'",
    )
    ssh = ["ssh", "-F", str(fleet.lab.directory / "ssh_config")]
    tools = subprocess.run([*ssh, first, f"tar -C / -c {TOOLS[1:]}"], check=True, capture_output=True).stdout
    for host in others:
        subprocess.run([*ssh, host, "tar -C / -x"], input=tools, check=True)


def module_figures(
    fleet: GpuFleet, host: str, environment: dict[str, str], name: str, options: str = ""
) -> tuple[list[float], int]:
    """Return the wall times in seconds, sorted, and the peak memory in bytes of a module alone, on the host."""
    command = [str(fleet.venv / "bin" / "ansible"), host, "-i", str(fleet.lab.directory / "inventory.yml")]
    command += ["-m", name, *(["-a", options] if options else [])]
    # Without pipelining Ansible leaves the payload on the host as a file.
    kept = {**environment, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_PIPELINING": "0"}
    run_seconds(command, kept)
    payload = fleet.shell(host, f"ls -t /root/.ansible/tmp/*/AnsiballZ_{name.rpartition('.')[2]}.py | head -1").strip()
    ssh = ["ssh", "-F", str(fleet.lab.directory / "ssh_config"), host, "python3", "-", payload]
    done = subprocess.run(ssh, input=ON_HOST, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    return figures["seconds"], figures["peak_bytes"]


def main() -> int:
    """Measure, print the figures, and exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="healthcost")
    parser.add_argument("--hosts", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    fleet = GpuFleet(options.lab)
    hosts = [f"gpu{number}" for number in range(1, options.hosts + 1)]
    try:
        prepare(fleet, hosts)
        environment = {**fleet.environment(), "ANSIBLE_FORKS": str(FORKS)}
        os.environ["ANSIBLE_FORKS"] = str(FORKS)
        inventory = str(fleet.lab.directory / "inventory.yml")
        ping = [str(fleet.venv / "bin" / "ansible"), "gpu_hosts", "-i", inventory, "-m", "ansible.builtin.ping"]
        health = [*fleet.playbook_command("health"), "-f", str(FORKS)]
        run_seconds(ping, environment)
        pings, healths = [], []
        for _turn in range(options.turns):
            pings.append(run_seconds(ping, environment))
            healths.append(run_seconds(health, environment))
        arguments = "sysfs_root=/srv/fake-sys kernel_log=/srv/fake-kmsg"
        floor, _bytes = module_figures(fleet, hosts[0], environment, "ansible.builtin.ping")
        seconds, peak = module_figures(fleet, hosts[0], environment, "local_llm.ops.gpu_health", arguments)
    finally:
        fleet.lab_command("down")
    ping_median, health_median = statistics.median(pings), statistics.median(healths)
    allowed = TARGET_PINGS * ping_median + TARGET_EXTRA_SECONDS
    print(f"\n{len(hosts)} hosts with 8 fake GPUs each, {FORKS} forks, {options.turns} turns")
    print(f"ping:   median {ping_median:6.2f} s  (from {min(pings):.2f} to {max(pings):.2f})")
    print(f"health: median {health_median:6.2f} s  (from {min(healths):.2f} to {max(healths):.2f})")
    print(f"        = {(health_median - TARGET_EXTRA_SECONDS) / ping_median:.2f} pings + 3 s; allowed {allowed:.2f} s")
    print(
        f"module alone: median {statistics.median(seconds):.3f} s (from {seconds[0]:.3f}), peak {peak / 1e6:.0f} MB; "
        f"ping alone: median {statistics.median(floor):.3f} s (from {floor[0]:.3f})"
    )
    good = health_median <= allowed and seconds[0] <= TARGET_MODULE_SECONDS and peak <= TARGET_MODULE_BYTES
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
