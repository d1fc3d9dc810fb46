# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab that serves: bring it up, run playbooks on it as a user would, keep a steady client on its gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from local_lab import state  # noqa: E402
from local_lab.shell import LabError  # noqa: E402

CLIENT_KEY = "lab-demo-key-no-secret"
GATEWAY_PORT = 8080


@dataclass(frozen=True)
class PlaybookRun:
    """How a playbook ended: exit code, everything it printed, and its wall time."""

    code: int
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        """Sum of the recap's changed= over all hosts."""
        return sum(int(part.split("=")[1]) for part in self.output.split() if part.startswith("changed="))


@dataclass(frozen=True)
class Traffic:
    """What became of the requests of a steady client."""

    sent: int
    failed: int
    slowest_seconds: float
    errors: dict[str, int] = field(default_factory=dict)


class Client:
    """A steady client under way."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.process = process
        self.path = path

    def outcomes(self) -> list[dict[str, Any]]:
        """Return the requests that have been answered so far."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    def traffic(self, since: float = 0.0) -> Traffic:
        """Return what became of the requests sent since a Unix time."""
        chosen = [outcome for outcome in self.outcomes() if outcome["sent_at"] >= since]
        errors: dict[str, int] = {}
        for outcome in chosen:
            if not outcome["ok"]:
                errors[outcome["error"]] = errors.get(outcome["error"], 0) + 1
        return Traffic(len(chosen), sum(errors.values()), max((o["seconds"] for o in chosen), default=0.0), errors)

    def wait_answered(self, count: int, seconds: float = 30.0) -> None:
        """Wait until that many requests have been answered well; raise TimeoutError when they are not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if sum(1 for outcome in self.outcomes() if outcome["ok"]) >= count:
                return
            time.sleep(0.2)
        raise TimeoutError(f"Fewer than {count} requests were answered within {seconds:.0f} s: {self.traffic()}")

    def stop(self) -> None:
        """End the client after the requests under way."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=90)


class Fleet:
    """One lab with the inventory of the collection on top."""

    def __init__(self, name: str, venv: Path | None = None) -> None:
        self.name = name
        self.venv = venv or Path(os.environ.get("LOCAL_LLM_VENV", CHECKOUT / ".build" / "venv"))
        self.work = state.CACHE / "runs" / name
        self.rollouts = self.work / "rollouts"

    @property
    def lab(self) -> state.Lab:
        """The lab as it stands now."""
        lab = state.load(self.name)
        if lab is None:
            raise LookupError(f"There is no lab '{self.name}'. Make it: tests/lab/lab.py up --lab {self.name}")
        return lab

    def command(self, script: str, *arguments: str) -> None:
        """Run one of the scripts beside this file; its output goes to the terminal."""
        python = self.venv / "bin" / "python"
        subprocess.run([str(python), str(HERE / script), *arguments], check=True)

    def up(self, hosts: Sequence[str] = ()) -> None:
        """Bring the lab up and make the artefacts that it serves."""
        self.command("lab.py", "up", "--lab", self.name, *(f"--host={host}" for host in hosts))
        self.command("artefacts/build.py")

    def lab_command(self, *arguments: str) -> None:
        """Run lab.py with an action and hosts, such as ("power-cut", "gpu1")."""
        self.command("lab.py", arguments[0], "--lab", self.name, *arguments[1:])

    def shell(self, host: str, command: str) -> str:
        """Run a command on a host and return what it printed."""
        run = [str(HERE / "lab.py"), "exec", "--lab", self.name, host, command]
        return subprocess.run([sys.executable, *run], check=True, capture_output=True, text=True).stdout

    def playbook_command(self, playbook: str, *extra: str) -> list[str]:
        """Return the command line of a playbook of the collection, as a user would type it."""
        variables = CHECKOUT / "inventories/lab/hosts.yml"
        inventories = ["-i", str(self.lab.directory / "inventory.yml"), "-i", str(variables)]
        settings = ["-e", f"local_llm_rollout_root={self.rollouts}"]
        return [
            str(self.venv / "bin" / "ansible-playbook"),
            *inventories,
            *settings,
            f"local_llm.ops.{playbook}",
            *extra,
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment for ansible: the checkout as the collection, nothing of the user's own settings."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        return {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".build" / "collections"),
            "ANSIBLE_CONFIG": str(CHECKOUT / "inventories" / "lab" / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def start_playbook(self, playbook: str, *extra: str) -> subprocess.Popen[str]:
        """Start a playbook in a process group of its own and return at once."""
        return subprocess.Popen(
            self.playbook_command(playbook, *extra),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def playbook(self, playbook: str, *extra: str) -> PlaybookRun:
        """Run a playbook to its end."""
        started = time.monotonic()
        process = self.start_playbook(playbook, *extra)
        output, _nothing = process.communicate()
        return PlaybookRun(process.returncode, output, time.monotonic() - started)

    def upgrade(self, release: str, *extra: str) -> PlaybookRun:
        """Run upgrade with one of the releases of inventories/lab/releases."""
        path = CHECKOUT / "inventories" / "lab" / "releases" / f"{release}.yml"
        return self.playbook("upgrade", "-e", f"@{path}", *extra)

    def newest_rollout(self) -> Path:
        """Return the directory of the newest rollout."""
        return max(self.rollouts.iterdir(), key=lambda path: path.name)

    def outcome(self) -> str:
        """Return the outcome of the newest rollout, in the words of the journal."""
        report = json.loads((self.newest_rollout() / "report.json").read_text(encoding="utf-8"))
        return str(report["outcome"])

    def releases(self) -> dict[str, dict[str, Any]]:
        """Return {host: state.json of instance chat, plus the release that current points to} of every GPU host."""
        found = {}
        place = "/var/lib/local_llm/instances/chat"
        for host in self.lab.hosts.values():
            if host.group == "gpu_hosts":
                text = self.shell(
                    host.name, f"cat {place}/state.json; basename $(readlink {place}/current); ls {place}"
                )
                brace = text.rindex("}") + 1
                current, *names = text[brace:].split()
                found[host.name] = {**json.loads(text[:brace]), "current": current, "armed": "armed.json" in names}
        return found

    @contextmanager
    def client(self, rate: float = 20.0, seconds: float = 3600.0) -> Iterator[Client]:
        """Keep a steady client on the gateway."""
        gateway = next((host for host in self.lab.hosts.values() if host.group == "gateway"), None)
        if gateway is None:
            raise LabError(
                f"lab {self.lab.name} has no host in the group gateway; start it with one, such as gw1=bookworm"
            )
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / f"client-{time.time_ns()}.jsonl"
        process = subprocess.Popen(
            [sys.executable, str(HERE / "steady_client.py"), "--url", f"http://{gateway.address}:{GATEWAY_PORT}",
             "--rate", str(rate), "--seconds", str(seconds), "--to", str(path)],
            env={**os.environ, "LOCAL_LLM_CLIENT_KEY": CLIENT_KEY},
        )  # fmt: skip
        client = Client(process, path)
        try:
            yield client
        finally:
            client.stop()
