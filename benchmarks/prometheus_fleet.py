# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does Prometheus itself cost with a fleet of 30 hosts? Processor time and memory, with the rules of the role.

Boots one lab host and sets up the roles node_exporter and monitoring on it, for an inventory of so many serving hosts
with 8 GPUs and one vLLM each. These hosts are not booted: their three metrics pages come from a small server on this
machine, as large as real ones, packed as real ones, with counters that grow. The page of node_exporter is that of the
lab host, the page of vLLM that of a running vLLM 0.32.0, the page of the GPUs has every name of the GPU exporter.
All targets have the same address; the label host tells them apart. There is no gateway in it.

  .build/venv/bin/python benchmarks/prometheus_fleet.py --hosts 30 --minutes 5
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "lab"), str(ROOT / ".build" / "collections")]

from fleet import Fleet
from waiting import wait_for

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_buckets import le_text
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import engine_metrics, gpu_metrics

GPUS = 8
VLLM = "0.32.0"
POLL_SECONDS = 5.0
PORTS = ("node", "gpu", "engine")
CPU, MEMORY = "process_cpu_seconds_total", "process_resident_memory_bytes"
SAMPLES = "prometheus_tsdb_head_samples_appended_total"
OWN = (CPU, MEMORY, SAMPLES)
_LINE = re.compile(r"^([^#\s]\S*(?:\{.*\})?) ([-+.\deE]+)$")
_COUNTER = re.compile(r"^\w[\w:]*(?:_total|_count|_sum|_bucket)(?:\{|$)")


class Page(ThreadingHTTPServer):
    """Serves one metrics page; its counters grow with the time."""

    daemon_threads = True

    def __init__(self, address: str, text: str) -> None:
        super().__init__((address, 0), _Handler)
        self.began = time.monotonic()
        self._lines = [_LINE.match(line) or line for line in text.splitlines()]
        self._packed: tuple[int, bytes] = (-1, b"")
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """Return the port that it got."""
        return int(self.server_address[1])

    def packed(self) -> bytes:
        """Return the page of this second."""
        with self._lock:
            now = int(time.monotonic() - self.began)
            if self._packed[0] != now:
                text = "\n".join(self._line(one, now) for one in self._lines) + "\n"
                self._packed = (now, gzip.compress(text.encode(), 1))
            return self._packed[1]

    @staticmethod
    def _line(line: re.Match[str] | str, seconds: int) -> str:
        if isinstance(line, str):
            return line
        value = float(line[2])
        # Gauges move a little, as those of a busy host do.
        moved = value + seconds * 3 if _COUNTER.match(line[1]) else value * (1 + seconds % 7 / 100)
        return f"{line[1]} {moved:.10g}"


class _Handler(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        body = self.server.packed()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def vllm_page() -> str:
    """Return the page of a running vLLM; the file lacks the lines of the buckets."""
    text = (ROOT / "tests/unit/fixtures/vllm_0.32.0/metrics.txt").read_text(encoding="utf-8")
    known = engine_metrics("vllm", VLLM)
    assert known is not None
    buckets = [
        f'{name}_bucket{{engine="0",le="{le_text(bound)}",model_name="tiny"}} 3.0'
        for name, bounds in known.buckets.items()
        for bound in bounds
    ]
    return "\n".join([text, *buckets])


def gpu_page() -> str:
    """Return a page with every name of the GPU exporter for each GPU."""
    found = []
    for name, entry in gpu_metrics().items():
        found.append(f"# TYPE {name} {entry['type']}")
        more = "".join(f',{label}="x"' for label in entry.get("labels", []))
        places = [f'gpu="{gpu}",uuid="GPU-{gpu}"{more}' for gpu in range(GPUS)]
        found += [f"{name}{{{place}}} 40" for place in places if entry.get("scope") != "host"]
        if entry.get("scope") == "host":
            found.append(f"{name}{{{more[1:]}}} 1")
    return "\n".join(found)


def inventory(address: str, ports: dict[str, int], hosts: int) -> dict[str, Any]:
    """Return the hosts that serve; nobody connects to them."""
    instance = {
        "name": "chat", "engine": "vllm", "engine_version": VLLM, "model": "tiny", "served_name": "chat",
        "port": ports["engine"], "gpus": "all", "pool": "chat", "slo_tier": "enhanced", "config": {},
    }  # fmt: skip
    runs = {"instance": "chat", "current": "aaaaaaaaaaaa", "current_description": {**instance, "pool": None}}
    values = {
        "ansible_host": address,
        "node_exporter_port": ports["node"],
        "gpu_exporter_port": ports["gpu"],
        "local_llm_instances": [instance],
        "_monitoring_releases": {"instances": [runs]},
    }
    return {"gpu_hosts": {"hosts": {f"gpu{number}": dict(values) for number in range(1, hosts + 1)}}}


class WatchedLab(Fleet):
    """A lab of one monitoring host."""

    def set_up(self, address: str, hosts: int, play: list[dict[str, Any]], ports: dict[str, int]) -> None:
        """Run a play on the monitoring host, with the inventory of the hosts that are only told of."""
        self.work.mkdir(parents=True, exist_ok=True)
        told, plays = self.work / "prometheus_fleet.json", self.work / "prometheus_fleet_play.json"
        told.write_text(json.dumps(inventory(address, ports, hosts)), encoding="utf-8")
        plays.write_text(json.dumps(play), encoding="utf-8")
        command = [str(self.venv / "bin" / "ansible-playbook"), "-i", str(self.lab.directory / "inventory.yml")]
        done = subprocess.run(
            [*command, "-i", str(told), str(plays)],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"the roles could not be set up:\n{(done.stdout + done.stderr)[-5000:]}")

    def page(self, url: str) -> str:
        """Return what an address of the monitoring host answers."""
        with urllib.request.urlopen(f"http://{self.lab.hosts['mon1'].address}:{url}", timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    def query(self, expression: str) -> float:
        """Return the first value of an expression, 0 when there is none."""
        found = json.loads(self.page(f"9090/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
        return float(found["data"]["result"][0]["value"][1]) if found["data"]["result"] else 0.0

    def own(self, *names: str) -> dict[str, float]:
        """Return metrics of Prometheus itself, as it is now and not as it scraped them; series of a name added up."""
        found = dict.fromkeys(names, 0.0)
        for line in self.page("9090/metrics").splitlines():
            name = re.split(r"[{ ]", line, maxsplit=1)[0]
            if name in found:
                found[name] += float(line.rsplit(" ", 1)[1])
        return found


def main() -> int:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="promfleet")
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--hosts", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    fleet = WatchedLab(options.lab)
    try:
        fleet.command("lab.py", "up", "--lab", fleet.name, f"--host=mon1={options.suite}:monitoring")
        address = fleet.lab.gateway_address
        roles = {"hosts": "monitoring", "gather_facts": False}
        fleet.set_up(address, 1, [{**roles, "roles": ["local_llm.ops.node_exporter"]}], dict.fromkeys(PORTS, 1))
        node = fleet.page("9100/metrics")
        pages = {"node": Page(address, node), "gpu": Page(address, gpu_page()), "engine": Page(address, vllm_page())}
        ports = {name: page.port for name, page in pages.items()}
        fleet.set_up(address, options.hosts, [{**roles, "roles": ["local_llm.ops.monitoring"]}], ports)
        wanted = options.hosts * len(pages)
        up = 'count(up{job=~"local_llm_(node|gpu|engine)",host=~"gpu.*"} == 1)'
        wait_for("every target is scraped", lambda: fleet.query(up) == wanted, 120)
        load_before = os.getloadavg()[0]
        began, before = time.monotonic(), fleet.own(*OWN)
        most = 0.0
        while time.monotonic() - began < options.minutes * 60:
            time.sleep(POLL_SECONDS)  # the pace at which memory is looked at, not a wait for something
            most = max(most, fleet.own(MEMORY)[MEMORY])
        seconds, after = time.monotonic() - began, fleet.own(*OWN)
        window = f"{seconds:.0f}s"
        figures = {
            "targets": fleet.query("count(up)"),
            "series": fleet.query("prometheus_tsdb_head_series"),
            "rules": fleet.query("sum(prometheus_rule_group_rules)"),
            "evaluation": fleet.query("sum(prometheus_rule_group_last_duration_seconds)"),
            "late": fleet.query(f"sum(increase(prometheus_rule_group_iterations_missed_total[{window}]))"),
            "alertmanager": fleet.query('process_resident_memory_bytes{job="local_llm_alertmanager"}'),
            "largest": fleet.query('max(scrape_samples_scraped{job="local_llm_node"})'),
        }
        version = json.loads(fleet.page("9090/api/v1/status/buildinfo"))["data"]["version"]
    finally:
        fleet.lab_command("down")
    cpu, samples = ((after[name] - before[name]) / seconds for name in (CPU, SAMPLES))
    print(f"\nPrometheus {version}, {options.hosts} hosts with {GPUS} GPUs and one vLLM, {seconds:.0f} s")
    print(f"load of the machine: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after")
    print(f"{figures['targets']:.0f} targets, {figures['series']:.0f} series, {samples:.0f} samples a second")
    print(f"largest page: {figures['largest']:.0f} samples")
    print(f"processor time: {cpu * 100:.1f} % of one core")
    print(f"memory: {after[MEMORY] / 1e6:.0f} MB at the end, {most / 1e6:.0f} MB at most")
    print(f"{figures['rules']:.0f} rules, evaluated in {figures['evaluation']:.2f} s; {figures['late']:.0f} missed")
    print(f"Alertmanager beside it: {figures['alertmanager'] / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
