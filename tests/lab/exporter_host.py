# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab host with fake GPUs and the GPU exporter on it."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from gpu_fleet import HERE, GpuFleet, healthy

HOST = "gpu1"
PORT = 9836
UNIT = "local-llm-gpu-exporter.service"
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# Prints figures of every process of the unit that lives: pid, resident and proportional memory, threads, used time.
FIGURES = """
import glob, json, os
found = []
for path in glob.glob("/sys/fs/cgroup/system.slice/%s/**/cgroup.procs", recursive=True) or glob.glob(
    "/sys/fs/cgroup/*/system.slice/%s/cgroup.procs"
):
    for pid in open(path).read().split():
        try:
            status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
            shared = dict(line.split(":", 1) for line in open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:])
            times = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if "Pss" in shared and pid not in [one["pid"] for one in found]:
            found.append({"pid": pid, "threads": int(status["Threads"]),
                          "used_seconds": (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
                          "rss": int(status["VmRSS"].split()[0]) * 1024, "pss": int(shared["Pss"].split()[0]) * 1024})
print(json.dumps(found))
"""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scrape:
    """What one scrape brought: {name: {labels: value}}, the types, and how long it took."""

    values: dict[str, dict[Labels, float]]
    types: dict[str, str]
    seconds: float
    size_bytes: int

    def value(self, metric: str, /, **labels: str) -> float | None:
        """Return the value of the one series with these labels among others; None when there is none."""
        wanted = set(labels.items())
        found = [
            number for have, number in self.values.get(f"local_llm_gpu_{metric}", {}).items() if wanted <= set(have)
        ]
        if len(found) > 1:
            raise LookupError(f"{len(found)} series of {metric} have {labels}")
        return found[0] if found else None


class ExporterHost(GpuFleet):
    """A lab of one host."""

    def begin(self, suite: str = "bookworm") -> None:
        """Boot the host, give it eight fake GPUs, and set the exporter up."""
        self.command("lab.py", "up", "--lab", self.name, f"--host={HOST}={suite}")
        self.give(**{HOST: healthy()})
        done = self.run_role()
        if done.returncode != 0:
            raise RuntimeError((done.stdout + done.stderr)[-6000:])

    def run_role(self, *extra: str) -> subprocess.CompletedProcess[str]:
        """Run the role on the host."""
        command = [str(self.venv / "bin" / "ansible-playbook"), "-i", str(self.lab.directory / "inventory.yml")]
        return subprocess.run(
            [*command, str(HERE / "gpu_exporter.yml"), *extra],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def scrape(self) -> Scrape:
        """Return what Prometheus would get now."""
        request = urllib.request.Request(
            f"http://{self.lab.hosts[HOST].address}:{PORT}/metrics", headers={"Accept-Encoding": "identity"}
        )
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        return parsed(text, time.monotonic() - started)

    def processes(self) -> list[dict[str, Any]]:
        """Return pid, rss, pss, threads and used_seconds of every process of the exporter's unit."""
        script = FIGURES % (UNIT, UNIT)
        found: list[dict[str, Any]] = json.loads(self.shell(HOST, f"python3 - <<'EOF'\n{script}\nEOF"))
        return found


def parsed(text: str, seconds: float = 0.0) -> Scrape:
    """Return the text of a scrape as values."""
    values: dict[str, dict[Labels, float]] = {}
    types: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            types[name] = kind
        match = _SAMPLE.match(line)
        if match:
            values.setdefault(match[1], {})[tuple(_LABEL.findall(match[2] or ""))] = float(match[3])
    return Scrape(values, types, seconds, len(text))
