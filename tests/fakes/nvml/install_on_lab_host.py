#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give hosts of a lab fake GPUs: library, scenario, sysfs root, kernel log, programs and services; one tar per host.

As a command: install_on_lab_host.py --lab NAME --profile hgx_h100_8 [--fault NAME[:OPTION=VALUE,...]] [HOST...]
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
# As a command this file has no package; so the parts are found by the name of the directory.
_PACKAGE = __package__ or HERE.name
build: Any = importlib.import_module(f"{_PACKAGE}.build")
command: Any = importlib.import_module(f"{_PACKAGE}.command")
scenarios: Any = importlib.import_module(f"{_PACKAGE}.scenarios")

TARGET = "usr/local/lib/fake_nvml"
LABS = Path(os.environ.get("LOCAL_LLM_LAB_ROOT", "/var/lib/local-llm-lab"))
CACHE = Path(os.environ.get("LOCAL_LLM_LAB_CACHE", "/var/cache/local-llm-lab"))
LINKS = {
    "usr/local/bin/nvidia-smi": "host/nvidia-smi",
    "usr/local/bin/nvidia-bug-report.sh": "host/nvidia-bug-report.sh",
    "usr/local/bin/nv-fabricmanager": "host/nv-fabricmanager",
    "usr/local/bin/fake-gpu": "fake-gpu",
    "usr/local/sbin/modinfo": "host/modinfo",
    "etc/systemd/system/fake-gpu-boot.service": "host/fake-gpu-boot.service",
    "etc/systemd/system/multi-user.target.wants/fake-gpu-boot.service": "host/fake-gpu-boot.service",
}
REMOVE = (
    "systemctl stop -q nvidia-fabricmanager.service nvidia-persistenced.service 2>/dev/null;"
    f" rm -rf /etc/fake-nvml /run/fake-nvml /srv/fake-sys /srv/fake-kmsg /{TARGET} {' '.join('/' + x for x in LINKS)}"
    " /etc/systemd/system/nvidia-fabricmanager.service /etc/systemd/system/nvidia-persistenced.service"
    f" {command.LIBRARIES}/libnvidia-ml.so*; systemctl daemon-reload;"
    " for f in /lib/modules/*/modules.dep; do [ -f $f ] && head -1 $f | grep -q '^# fake' && rm -r ${f%/*}; done; true"
)


class InstallError(Exception):
    """A host did not get its fake GPUs; the message says which and why."""


def archive(scenario: dict[str, str], library: Path) -> bytes:
    """Return a tar of everything that a host needs for the scenario."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as tar:

        def add(name: str, content: bytes, mode: int = 0o644, link: str = "") -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            if link:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
            tar.addfile(entry, None if link else io.BytesIO(content))

        for path in sorted([*HERE.glob("*.py"), HERE / "fake-gpu", *(HERE / "host").iterdir()]):
            if path.is_file():
                name = path.name if path.suffix == ".service" else str(path.relative_to(HERE))
                mode = 0o755 if os.access(path, os.X_OK) else 0o644
                add(f"{TARGET}/{name}", path.read_bytes(), mode)
        add(f"{TARGET}/{build.LIBRARY}", library.read_bytes(), 0o755)
        for name, target in LINKS.items():
            place = target.removeprefix("host/") if target.endswith(".service") else target
            add(name, b"", link=f"/{TARGET}/{place}")
        add("etc/fake-nvml/scenario", scenarios.render(scenario).encode())
    return buffer.getvalue()


def lab_hosts(lab: str) -> list[str]:
    """Return the hosts of a lab that serve models, from the lab's own state."""
    path = LABS / lab / "lab.json"
    if not path.exists():
        raise InstallError(f"There is no lab '{lab}': {path} is missing. Make it: tests/lab/lab.py up --lab {lab}")
    hosts = json.loads(path.read_text(encoding="utf-8"))["hosts"]
    return [name for name, host in hosts.items() if host["group"] != "gateway"]


def on_host(lab: str, host: str, script: str, data: bytes = b"") -> str:
    """Run a script on a host of a lab with data as its input, and return what it printed."""
    done = subprocess.run(
        ["ssh", "-F", str(LABS / lab / "ssh_config"), "-o", "BatchMode=yes", host, script],
        input=data,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        text = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        raise InstallError(f"{host} of lab {lab}: exit code {done.returncode}: {text[-2000:]}")
    return done.stdout.decode("utf-8", "replace")


def install(lab: str, host_scenarios: dict[str, dict[str, str]], parallel: int = 8) -> None:
    """Give each named host of a lab the fake GPUs of its scenario, in place of those that it has."""
    library = build.build(CACHE)
    made: dict[str, bytes] = {}

    def one(item: tuple[str, dict[str, str]]) -> None:
        host, scenario = item
        text = scenarios.render(scenario)
        if text not in made:
            made[text] = archive(scenario, library)
        # --keep-directory-symlink: /lib and the like are links on today's systems.
        on_host(lab, host, "tar -xzf - -C / --keep-directory-symlink && fake-gpu build", made[text])

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(one, host_scenarios.items()))


def fake_gpu(lab: str, hosts: Sequence[str], *arguments: str, parallel: int = 8) -> None:
    """Run fake-gpu on hosts, such as fake_gpu("demo", ["gpu1"], "fault", "gpu_lost:gpu=3")."""
    words = " ".join("'" + argument.replace("'", "'\\''") + "'" for argument in arguments)
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(lambda host: on_host(lab, host, f"fake-gpu {words}"), hosts))


def remove(lab: str, hosts: Sequence[str], parallel: int = 8) -> None:
    """Take the fake GPUs off hosts."""
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(lambda host: on_host(lab, host, REMOVE), hosts))


def main() -> int:
    """Read the command line and carry it out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", required=True)
    parser.add_argument("--profile", default="hgx_h100_8", choices=sorted(scenarios.PROFILES))
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[:OPTION=VALUE,...]")
    parser.add_argument("--remove", action="store_true", help="take the fake GPUs away")
    parser.add_argument("host", nargs="*", help="default: every host of the lab but the gateways")
    options = parser.parse_args()
    try:
        hosts = options.host or lab_hosts(options.lab)
        if options.remove:
            remove(options.lab, hosts)
            return 0
        scenario = scenarios.profile(options.profile)
        for fault in options.fault:
            scenario = command.with_fault(scenario, fault)
        install(options.lab, dict.fromkeys(hosts, scenario))
    except (InstallError, build.BuildError, ValueError) as error:
        print(f"install_on_lab_host.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
