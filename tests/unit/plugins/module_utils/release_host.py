# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for tests of releases: directories under a root, a service manager that remembers, clocks that are set."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._release import manifest_digest, release_id
from ansible_collections.local_llm.ops.plugins.module_utils._release_context import Context, HostClock
from ansible_collections.local_llm.ops.plugins.module_utils._release_ready import Readiness
from ansible_collections.local_llm.ops.plugins.module_utils._release_stage import commit, stage
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import switch
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Systemd

MANIFEST = {"model.gguf": "b" * 64}


@dataclass
class FakeHost:
    """One host with one instance, chat."""

    root: Path
    calls: list[str] = field(default_factory=list)
    active: bool = False
    timer: bool = False
    timer_starts: bool = True
    readiness: Readiness = field(default_factory=lambda: Readiness(True, "", {"ready": 1.0}))
    on_wait: Any = None

    def __post_init__(self) -> None:
        self.paths = Paths(
            str(self.root / "base"), str(self.root / "engines"), str(self.root / "cache"), str(self.root / "proc")
        )
        self.store = InstanceStore(self.paths, "chat")
        self.directory = self.root / "base" / "instances" / "chat"
        model = self.root / "base" / "models" / "tiny" / "r1"
        model.mkdir(parents=True)
        (model / "model.gguf").write_text("x")
        (model / "manifest.json").write_text(json.dumps(MANIFEST))
        for version in ("v1", "v2", "v3", "v4"):
            (self.root / "engines" / "llamacpp" / version).mkdir(parents=True)
        (self.root / "proc" / "sys" / "kernel" / "random").mkdir(parents=True)
        self.set_clock("boot-1", 100.0)

    def set_clock(self, boot_id: str, uptime: float) -> None:
        (self.root / "proc" / "sys" / "kernel" / "random" / "boot_id").write_text(boot_id + "\n")
        (self.root / "proc" / "uptime").write_text(f"{uptime} 1.0\n")

    def run(self, command: list[str]) -> tuple[int, str, str]:
        text = " ".join(command)
        self.calls.append(text)
        if "restart" in command:
            self.active = True
        if command[1] == "stop" and command[2].endswith(".service"):
            self.active = False
        if command[1] in ("start", "stop") and command[2].endswith(".timer"):
            self.timer = command[1] == "start" and self.timer_starts
        if command[1] == "is-active":
            return (0 if self.timer else 3), "", ""
        if command[1] == "show":
            return 0, f"ActiveState={'active' if self.active else 'inactive'}\nInvocationID=x\n", ""
        if command[0] == "journalctl":
            return 0, "one line of its log\n", ""
        return 0, "", ""

    def context(self, **more: Any) -> Context:
        def waiter(*_arguments: Any) -> Readiness:
            if self.on_wait:
                self.on_wait()
            return self.readiness

        defaults: dict[str, Any] = {"clock": HostClock(self.paths.proc), "waiter": waiter, "lock_timeout_seconds": 0.2}
        return Context(store=self.store, systemd=Systemd(self.run), **{**defaults, **more})

    def description(self, version: str, **more: Any) -> dict[str, Any]:
        return {
            "schema": 1,
            "engine": "llamacpp",
            "engine_version": version,
            "model": "tiny",
            "model_revision": "r1",
            "model_manifest_sha256": manifest_digest(MANIFEST),
            "model_entry": "model.gguf",
            "served_name": "chat",
            "port": 8001,
            "gpus": "all",
            "config": {},
            **more,
        }

    def stage(self, version: str, text: str = "run", **more: Any) -> Any:
        def render(description: dict[str, Any], paths: dict[str, str]) -> dict[str, str]:
            return {"run": f"#!/bin/sh\n# {text} {paths['engine_directory']}\n", "environment": "A=1\n"}

        return stage(self.context(**more), self.description(version), "10.0.0.1", render)

    def identity(self, version: str) -> str:
        return release_id(self.description(version))

    def timer_runs(self) -> bool:
        return self.timer

    def state(self) -> dict[str, Any]:
        return json.loads((self.directory / "state.json").read_text())

    def events(self) -> list[str]:
        """Return the events of the journal, after checking its chain."""
        previous, events = CHAIN_START, []
        for number, line in enumerate((self.directory / "journal.jsonl").read_text().splitlines(), 1):
            record = json.loads(line)
            assert record["previous_sha256"] == previous
            assert record["seq"] == number
            assert line == json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            previous = sha256_hex(line)
            events.append(record["event"])
        return events


def serving(host: FakeHost, *versions: str) -> None:
    """Let the host serve the versions one after the other, each committed."""
    for version in versions:
        host.stage(version)
        switch(host.context(), host.identity(version), 600)
        commit(host.context(), None, 9)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)
