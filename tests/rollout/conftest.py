# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves under a steady client, for the tests that upgrade and break it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from fleet import Client, Fleet, PlaybookRun, made_since

HOSTS = ("gpu1", "gpu2", "gpu3")
LAB = os.environ.get("LOCAL_LLM_TEST_LAB", "rollout")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> Any:
    """Return the condition's first true value; fail, naming what was awaited, when the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.3)
    pytest.fail(f"Not within {seconds:.0f} s: {what}")


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
    command = [
        *(str(fleet.venv / "bin" / "ansible"), "gateway", "-i", str(fleet.lab.directory / "inventory.yml")),
        *("-m", "local_llm.ops.gateway_info", "-o"),
    ]
    done = subprocess.run(command, env=fleet.environment(), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    servers: list[dict[str, Any]] = answer["servers"]
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


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """One gateway and three hosts that serve; built once for all tests here."""
    it = Fleet(LAB)
    it.up()
    done = it.playbook("site")
    assert done.code == 0, done.output[-6000:]
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    """A steady client at 20 streaming requests per second, answered before the test begins."""
    with fleet.client(rate=20) as it:
        it.wait_answered(20)
        yield it


@pytest.fixture
def rollout(fleet: Fleet) -> Iterator[Callable[..., Rollout]]:
    """Start upgrades; whatever still runs when the test is over is ended."""
    started: list[Rollout] = []

    def start(*extra: str, playbook: str = "upgrade") -> Rollout:
        started.append(Rollout(fleet, *extra, playbook=playbook))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.fixture
def other_release(fleet: Fleet) -> list[str]:
    """Arguments for a good release that differs from the one that serves now."""
    place = "/var/lib/local_llm/instances/chat/current/release.json"
    now = {
        json.loads(fleet.shell(host, f"cat {place}"))["description"]["config"]["parallel_requests"] for host in HOSTS
    }
    return ["-e", f"lab_parallel_requests={next(n for n in (2, 3, 4, 5) if n not in now)}"]


@pytest.fixture
def settled(fleet: Fleet) -> Callable[[], None]:
    """Check what must hold after every rollout: one release in the pool, nothing armed, nobody left drained."""

    def check() -> None:
        states = fleet.releases()
        assert len({state["current"] for state in states.values()}) == 1, f"two releases in one pool: {states}"
        assert not any(state["armed"] for state in states.values()), f"a dead-man is still armed: {states}"
        servers = gateway_servers(fleet)
        assert len(servers) == len(HOSTS), servers
        for server in servers:
            assert server["admin_state"] == "ready", f"left out of service: {server}"
            assert server["share_percent"] == 100, f"left at a small share: {server}"
            assert server["lease"] is None, f"a lease still runs: {server}"

    return check
