# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet whose hosts have fake GPUs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "collections"))

from fleet import Fleet, PlaybookRun

from ansible_collections.local_llm.ops.tests.fakes.nvml import install_on_lab_host, scenarios

HERE = Path(__file__).resolve().parents[1] / "gpu"
LAB = os.environ.get("LOCAL_LLM_TEST_GPU_LAB", "gpu")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""
STATE = "/var/lib/local_llm/health"
Scenario = dict[str, str]


class FakeGpus(Fleet):
    """A fleet whose hosts can be given fake GPUs."""

    def give(self, **hosts: Scenario) -> None:
        """Give hosts fake GPUs of a scenario, with no memory of earlier findings."""
        for host in hosts:
            self.shell(host, f"rm -rf {STATE}")
        install_on_lab_host.install(self.name, hosts)

    def fake_gpu(self, host: str, *arguments: str) -> None:
        """Change the fake GPUs of a host, as the command fake-gpu does."""
        install_on_lab_host.fake_gpu(self.name, [host], *arguments)


class GpuFleet(FakeGpus):
    """A fleet with fake GPUs whose health is looked after."""

    @property
    def health_root(self) -> Path:
        """Where the playbook health writes on this machine."""
        return self.work / "health"

    def playbook_command(self, playbook: str, *extra: str) -> list[str]:
        """Return the command line of a playbook with the variables of these tests."""
        ours = ["-e", f"@{HERE / 'variables.yml'}", "-e", f"local_llm_health_root={self.health_root}"]
        return super().playbook_command(playbook, *ours, *extra)

    def variables(self) -> dict[str, Any]:
        """Return the variables of these tests, to change some of them."""
        return dict(yaml.safe_load((HERE / "variables.yml").read_text(encoding="utf-8")))

    def health(self, *extra: str) -> tuple[PlaybookRun, dict[str, Any]]:
        """Run the playbook health; return the run and the document that it wrote, by host."""
        path = self.health_root / "health.json"
        path.unlink(missing_ok=True)
        done = self.playbook("health", *extra)
        document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"hosts": []}
        return done, {host["host"]: host for host in document["hosts"]}


def healthy(profile: str = "hgx_h100_8") -> Scenario:
    """Return healthy hardware."""
    scenario: Scenario = scenarios.profile(profile)
    return scenario


def with_faults(*faults: str, profile: str = "hgx_h100_8", **options: Any) -> Scenario:
    """Return hardware with these faults; options go to the only fault."""
    scenario = healthy(profile)
    for fault in faults:
        scenario = scenarios.FAULTS[fault](scenario, **options)
    return scenario
