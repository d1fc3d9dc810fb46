# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with fake GPUs whose driver comes as packages, from a signed repository made for the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleet import Fleet
from waiting import wait_for

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "collections"))

from ansible_collections.local_llm.ops.tests.fakes.driver_repository import build as repository
from ansible_collections.local_llm.ops.tests.fakes.driver_repository import install_on_lab_host as mirror
from ansible_collections.local_llm.ops.tests.fakes.nvml import build as fake_library
from ansible_collections.local_llm.ops.tests.fakes.nvml import install_on_lab_host as gpus
from ansible_collections.local_llm.ops.tests.fakes.nvml import scenarios

HERE = Path(__file__).resolve().parents[1] / "driver"
LAB = os.environ.get("LOCAL_LLM_TEST_DRIVER_LAB", "driver")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""
HOSTS = ("gpu1", "gpu2")
DIRECTORY = "/var/lib/local_llm/driver"
OLD, NEW = "580.10.01", "580.20.02"
FAILS, SILENT, OTHER = "580.30.03", "580.31.03", "580.40.04"
RELEASES = (OLD, NEW, f"{FAILS}:fails", f"{SILENT}:silent", f"{OTHER}:module=580.40.99")
PACKAGES = (
    "libcuda1",
    "libnvidia-ml1",
    "nvidia-kernel-dkms",
    "nvidia-kernel-support",
    "nvidia-persistenced",
    "nvidia-smi",
)
# What they need has a version of its own, and is held with them.
HELD = (*PACKAGES, "nvidia-support")
PIN = "/etc/apt/preferences.d/local-llm-nvidia.pref"
UNATTENDED = "/etc/apt/apt.conf.d/52local-llm-nvidia"
ALL = ("downloaded", "stopped", "installed", "loaded", "held", "committed")
Answers = dict[str, list[dict[str, Any]]]


def plan(version: str, before: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a plan that brings a host to a version; a test says what is different."""
    pin = f"Package: {' '.join(PACKAGES)}\nPin: version {version}*\nPin-Priority: 1001\n"
    patterns = "".join(f'"^{name}$"; ' for name in PACKAGES)
    blacklist = f"Unattended-Upgrade::Package-Blacklist {{ {patterns}}};\n"
    made = {
        "schema": 1,
        "changes": True,
        "from": before,
        "to": version,
        "modules": "open",
        "modules_reason": "the test says so",
        "install": dict.fromkeys(PACKAGES, f"{version}-1"),
        "remove": [],
        "downgrade": [],
        "hold": list(PACKAGES),
        "pin": [{"path": PIN, "content": pin}, {"path": UNATTENDED, "content": blacklist}],
        "reboot": "not_needed",
        "reboot_reason": "",
        "stop_units": ["nvidia-persistenced.service"],
        "start_units": ["nvidia-persistenced.service"],
        "downtime_seconds": {"expected": 60, "why": "a test"},
        "refusals": [],
    }
    return {**made, **changes}


class DriverFleet(Fleet):
    """Hosts whose driver is changed."""

    def furnish(self) -> None:
        """Start the hosts, give them fake GPUs without a driver, and the repository."""
        self.command("lab.py", "up", "--lab", self.name, "--host=gpu1=bookworm", "--host=gpu2=trixie")
        self.give_gpus()
        self.publish(RELEASES)

    def give_gpus(self) -> None:
        """Give the hosts fake GPUs without a driver; those of a lab that was kept may have one, and keep theirs."""
        bare = [host for host in HOSTS if not self.versions(host)]
        gpus.install(self.name, dict.fromkeys(bare, mirror.bare(scenarios.profile("l4_1"))))

    def publish(self, releases: Sequence[str], hosts: Sequence[str] = HOSTS) -> None:
        """Let the mirror of the hosts have just these versions."""
        place = self.work / "driver-repository"
        place.parent.mkdir(parents=True, exist_ok=True)
        library = fake_library.build(gpus.CACHE)
        repository.build(place, [repository.release_of(word) for word in releases], library)
        mirror.install(self.name, hosts, place)

    def steps_command(
        self, steps: Sequence[str], wanted: Mapping[str, Any] | None, identity: str, *extra: str, **options: Any
    ) -> list[str]:
        """Return the command line that takes steps on hosts."""
        self.work.mkdir(parents=True, exist_ok=True)
        given = {
            "target": ",".join(options.get("hosts", HOSTS)),
            "steps": list(steps),
            "driver_plan": wanted,
            "identity": identity,
            "window_seconds": options.get("window_seconds", 600),
            "sysfs_root": options.get("sysfs_root", "/srv/fake-sys"),
            "answers": str(self.work),
        }
        inventory = str(self.lab.directory / "inventory.yml")
        command = [str(self.venv / "bin/ansible-playbook"), "-i", inventory, str(HERE / "steps.yml")]
        return [*command, "-e", json.dumps(given), *extra]

    def steps(
        self, steps: Sequence[str], wanted: Mapping[str, Any] | None, identity: str, *extra: str, **options: Any
    ) -> Answers:
        """Take steps on hosts at the same time, and return the answers of each host in their order."""
        command = self.steps_command(steps, wanted, identity, *extra, **options)
        hosts = options.get("hosts", HOSTS)
        for host in hosts:
            (self.work / f"{host}.json").unlink(missing_ok=True)
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False, timeout=1500
        )
        try:
            return {host: json.loads((self.work / f"{host}.json").read_text(encoding="utf-8")) for host in hosts}
        except FileNotFoundError:
            pytest.fail((done.stdout + done.stderr)[-6000:])

    def started(self, steps: Sequence[str], wanted: Mapping[str, Any], identity: str) -> subprocess.Popen[bytes]:
        """Begin steps on all hosts and return at once."""
        return subprocess.Popen(
            self.steps_command(steps, wanted, identity),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def bring(self, version: str) -> None:
        """Bring all hosts to a version, with no transaction open."""
        late = [host for host in HOSTS if self.driver(host) != (version, version) or self.state(host) == "open"]
        if late:
            for host in late:
                self.shell(host, "rm -rf /run/driver_stand_in")
            self.steps(["rolled_back"], None, "", hosts=late)
            self.publish(RELEASES, late)
            well(self.steps(ALL, plan(version), f"to-{version}", hosts=late))

    def transaction(self, host: str) -> dict[str, Any]:
        """Return transaction.json of a host, an empty one when there is none."""
        text = self.shell(host, f"cat {DIRECTORY}/transaction.json 2>/dev/null || echo {{}}")
        return dict(json.loads(text))

    def state(self, host: str) -> str:
        """Return "open" while a transaction is under way, else "closed"."""
        return "closed" if self.transaction(host).get("state", "committed") in ("committed", "rolled_back") else "open"

    def versions(self, host: str) -> dict[str, str]:
        """Return the versions of the packages of the driver with their status, such as "580.10.01-1 installed"."""
        names = " ".join(PACKAGES)
        shown = r"${Package}\t${Version} ${db:Status-Status}\n"
        lines = self.shell(host, f"dpkg-query -W -f '{shown}' {names} 2>/dev/null || true").splitlines()
        found = dict(line.split("\t") for line in lines)
        return {name: value for name, value in found.items() if "not-installed" not in value}

    def held(self, host: str) -> list[str]:
        """Return the held packages of a host."""
        return sorted(self.shell(host, "apt-mark showhold").split())

    def driver(self, host: str) -> tuple[str, str]:
        """Return (the version that is loaded, the version of the library), empty texts for none."""
        text = self.shell(
            host,
            "cat /srv/fake-sys/module/nvidia/version 2>/dev/null || echo -;"
            " readlink /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1 || echo -",
        )
        loaded, library = text.split()
        return loaded.strip("-"), library.removeprefix("libnvidia-ml.so.").strip("-")

    def fake_loaded(self, host: str, version: str) -> None:
        """Let another version of the driver run on a host than the one that lies on its disk."""
        gpus.fake_gpu(self.name, [host], "set", f"host.module_version={version}")

    def reboot(self, *hosts: str) -> None:
        """Pull the plug of hosts and switch them on again."""
        self.lab_command("power-cut", *hosts)
        self.lab_command("boot", *hosts)

    def wait_file(self, path: str) -> None:
        """Wait until every host has a file."""
        for host in HOSTS:
            wait_for(f"{path} on {host}", partial(self._has, host, path), 90)

    def _has(self, host: str, path: str) -> bool:
        return bool(self.shell(host, f"test -e {path} && echo yes || true").strip())

    def is_on_version(self, version: str) -> None:
        """Every host has the driver in this version, whole, running, held, and with nothing of a transaction open."""
        for host in HOSTS:
            assert self.versions(host) == dict.fromkeys(PACKAGES, f"{version}-1 installed"), host
            assert self.driver(host) == (version, version), host
            assert self.held(host) == sorted(HELD), host
            assert self.state(host) == "closed", host
            assert f"Pin: version {version}*" in self.shell(host, f"cat {PIN}"), host
            assert self.shell(host, "dpkg --audit") == "", host
            assert self.shell(host, "systemctl is-active nvidia-persistenced.service").strip() == "active", host
            masked = self.shell(host, "systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer || true")
            assert "masked" not in masked, host


def well(answers: Answers) -> Answers:
    """Return answers, none of which may be a failure."""
    for host, results in answers.items():
        for one in results:
            assert not one.get("failed"), f"{host}, {one['item']}: {one.get('msg')}"
    return answers


def failed(answers: Answers, step: str) -> dict[str, str]:
    """Return what the step said that must have failed, by host."""
    result = {}
    for host, results in answers.items():
        one = next(one for one in results if one["item"] == step)
        assert one.get("failed"), f"{host}: {step} went well: {one}"
        result[host] = str(one["msg"])
    return result
