#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long does a model need to all hosts of the lab, and how often is it fetched from outside?

Brings a random file through the role to every host of gpu_hosts, checked and published. The floor is the same bytes
read by all hosts at once over the same network, neither hashed nor written. Needs a lab that is up.

    tests/lab/lab.py up --lab fan --host gpu1=trixie --host gpu2=trixie ...
    python benchmarks/model_fan_out.py --lab fan

Prints the time, its ratio to the floor, and the downloads from outside. Exit status 1 when there is more than one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import Content, Mirror

LEAST_SHOWN_SECONDS = 0.1
LABS = Path(os.environ.get("LOCAL_LLM_LAB_ROOT", "/var/lib/local-llm-lab"))
READ = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer t"})
with urllib.request.urlopen(request) as answer:
    while answer.read(1 << 20):
        pass
"""
PLAY = """
- hosts: gpu_hosts
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: local_llm.ops._model
"""


def floor_seconds(work: Path, digest: str, address: str, hosts: list[str], ssh: Path) -> float:
    """Return how long all hosts together need to read the file."""
    command = [sys.executable, str(CHECKOUT / "plugins/plugin_utils/_share_server.py")]
    settings = {"root": str(work), "address": address, "token": "t", "bytes_per_second": 0, "play_pid": os.getpid()}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdin is None or server.stdout is None:
            raise SystemExit("no pipes to the server")
        server.stdin.write(json.dumps(settings) + "\n")
        server.stdin.flush()
        port = json.loads(server.stdout.readline())["port"]
        url = f"http://{address}:{port}/{digest}"
        began = time.monotonic()
        readers = []
        for host in hosts:
            reader = subprocess.Popen(
                ["ssh", "-F", str(ssh), host, "python3", "-", url], stdin=subprocess.PIPE, text=True
            )
            if reader.stdin is not None:
                reader.stdin.write(READ)
                reader.stdin.close()
            readers.append(reader)
        failed = [reader for reader in readers if reader.wait()]
        seconds = time.monotonic() - began
        server.terminate()
    if failed:
        raise SystemExit(f"{len(failed)} hosts could not read from {url}")
    return seconds


def timed_play(command: list[str], environment: dict[str, str]) -> tuple[int, str, list[tuple[str, float]]]:
    """Run a play; return its exit code, its output, and how long each task took for all hosts together."""
    lines, tasks = [], []
    name, since = "start of ansible-playbook", time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith(("TASK [", "PLAY RECAP")):
                now = time.monotonic()
                tasks.append((name, now - since))
                name, since = line.partition("[")[2].partition("]")[0], now
    tasks.append(("end of ansible-playbook", time.monotonic() - since))
    return process.returncode, "".join(lines), tasks


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="fan")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--way", choices=["controller", "copy"], default="controller")
    options = parser.parse_args()
    lab = LABS / options.lab
    inventory = lab / "inventory.yml"
    if not inventory.exists():
        raise SystemExit(f"lab {options.lab} is not up: tests/lab/lab.py up --lab {options.lab} --host gpu1=trixie ...")
    groups = json.loads(inventory.read_text(encoding="utf-8"))["all"]["children"]
    hosts = groups["gpu_hosts"]["hosts"]
    address = next(iter(hosts.values()))["ansible_host"].rpartition(".")[0] + ".1"
    work = Path(tempfile.mkdtemp(prefix="local_llm_fan_out_"))
    try:
        data = os.urandom(options.megabytes * 1_000_000)
        digest = hashlib.sha256(data).hexdigest()
        (work / digest).write_bytes(data)
        floor = floor_seconds(work, digest, address, list(hosts), lab / "ssh_config")
        return bring(work, data, digest, address, options, inventory, len(hosts), floor)
    finally:
        shutil.rmtree(work)


def bring(
    work: Path,
    data: bytes,
    digest: str,
    address: str,
    options: argparse.Namespace,
    inventory: Path,
    count: int,
    floor: float,
) -> int:
    """Bring the file through the role; return 1 when it was fetched more than once."""
    content = Content(files={"/m/model.gguf": data})
    (work / "play.yml").write_text(PLAY, encoding="utf-8")
    with Mirror(content, address) as mirror:
        model = {"source": "http", "url": f"{mirror.url}/m", "revision": digest[:12], "files": {"model.gguf": digest}}
        extra = {
            "local_llm_models": {"fan-out": model},
            "_model_name": "fan-out",
            "local_llm_model_cache": str(work / "cache"),
            "local_llm_model_fan_out": options.way,
        }
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".build/collections")}
        environment.update(ANSIBLE_FORKS="50", ANSIBLE_HOST_KEY_CHECKING="False")
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(work / "play.yml")]
        began = time.monotonic()
        code, output, tasks = timed_play([*command, "-e", json.dumps(extra)], environment)
        seconds = time.monotonic() - began
        extra["_model_state"] = "absent"
        subprocess.run([*command, "-e", json.dumps(extra)], env=environment, capture_output=True, check=False)
    if code:
        raise SystemExit(output[-3000:])
    whole = sum(request.sent_bytes for request in content.requests) / len(data)
    print(f"{options.megabytes} MB to {count} hosts by {options.way}: {seconds:.1f} s")
    print(f"floor, the same bytes read by all hosts at once: {floor:.1f} s; ratio {seconds / floor:.1f}")
    print(f"from outside: {whole:.2f} times the file, in {len(content.requests)} requests")
    print("where the time went:")
    for name, spent in tasks:
        if spent >= LEAST_SHOWN_SECONDS:
            print(f"  {spent:6.1f} s  {name}")
    return int(whole > 1.5)


if __name__ == "__main__":
    sys.exit(main())
