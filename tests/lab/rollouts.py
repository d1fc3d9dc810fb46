# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts on a lab, for tests that wait for a step of one and then break something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from fleet import Fleet, PlaybookRun, made_since
from waiting import wait_for

# The hosts of such a lab that serve.
HOSTS = ("gpu1", "gpu2", "gpu3")


def journal(directory: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a rollout's journal."""
    path = directory / "journal.jsonl"
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def release_arguments(release: str) -> list[str]:
    """Return the arguments that make a release file of the lab the desired state."""
    return ["-e", f"@{Path(__file__).resolve().parents[2] / 'inventories/lab/releases' / release}.yml"]


def gateway_servers(fleet: Fleet) -> list[dict[str, Any]]:
    """Return what the gateway says of its servers, through the module that users have."""
    servers: list[dict[str, Any]] = fleet.ad_hoc("gateway", "local_llm.ops.gateway_info")["servers"]
    return servers


class Rollout:
    """An upgrade, or a rollback, under way."""

    def __init__(self, fleet: Fleet, *extra: str, playbook: str = "upgrade") -> None:
        self.before, self.started = fleet.rollout_directories(), time.monotonic()
        self.fleet = fleet
        self.process: subprocess.Popen[str] = fleet.start_playbook(playbook, *extra)
        self.lines: list[str] = []
        # Read all the time: a full pipe would stop the playbook.
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        self.lines.extend(self.process.stdout or ())

    @property
    def directory(self) -> Path | None:
        """The directory of this rollout, once there is one."""
        return made_since(self.before, self.fleet.rollout_directories())

    def wait_event(self, event: str, host: str | None = None, seconds: float = 180) -> dict[str, Any]:
        """Wait for a line of the journal."""

        def seen() -> dict[str, Any] | None:
            lines = journal(self.directory) if self.directory else []
            return next((x for x in lines if x["event"] == event and host in (None, x["host"])), None)

        found: dict[str, Any] = wait_for(f"journal event {event} on {host or 'any host'}", seen, seconds)
        return found

    def kill(self) -> None:
        """End the controller and all its workers at once, as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()

    def finish(self) -> PlaybookRun:
        """Wait for the end."""
        code = self.process.wait(timeout=900)
        self.reader.join()
        return PlaybookRun(code, "".join(self.lines), time.monotonic() - self.started, self.directory)
