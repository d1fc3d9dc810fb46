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

from local_lab import hosts as lab_hosts  # noqa: E402
from local_lab import state  # noqa: E402
from local_lab.shell import LabError  # noqa: E402

CLIENT_KEY = "lab-demo-key-no-secret"
GATEWAY_PORT = 8080
# A client that sent less than this part of its schedule has not watched the rollout.
LEAST_SENT_SHARE = 0.8


@dataclass(frozen=True)
class PlaybookRun:
    """How a playbook ended: exit code, everything it printed, its wall time, and the rollout directory that it made."""

    code: int
    output: str
    seconds: float
    rollout: Path | None = None

    @property
    def changed(self) -> int:
        """Sum of the recap's changed= over all hosts."""
        return sum(int(part.split("=")[1]) for part in self.output.split() if part.startswith("changed="))

    @property
    def outcome(self) -> str:
        """Outcome of the rollout of this very run, in the words of the journal."""
        return str(read_report(self.made_rollout)["outcome"])

    @property
    def made_rollout(self) -> Path:
        """The directory of the rollout of this very run; LookupError when it was refused before it made one."""
        if self.rollout is None:
            raise LookupError(
                f"This run made no rollout directory (exit code {self.code}): it was refused, or had nothing to do. "
                f"The end of its output:\n{self.output[-3000:]}"
            )
        return self.rollout


def read_report(directory: Path) -> dict[str, Any]:
    """Return the report of a rollout; LookupError when it did not get as far as writing one."""
    path = directory / "report.json"
    if not path.exists():
        raise LookupError(
            f"Rollout {directory.name} ended without a report: {path} is missing. See journal.jsonl there."
        )
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def made_since(before: set[Path], now: set[Path]) -> Path | None:
    """Return the one directory that is there now and was not before; None when there is none."""
    new = sorted(now - before)
    if len(new) > 1:
        names = ", ".join(path.name for path in new)
        raise LookupError(
            f"More than one rollout was made at the same time, so none can be told to be of this run: {names}"
        )
    return new[0] if new else None


@dataclass(frozen=True)
class Traffic:
    """What became of the requests of a steady client."""

    sent: int
    failed: int
    slowest_seconds: float
    errors: dict[str, int] = field(default_factory=dict)


def read_lines(text: str) -> tuple[list[dict[str, Any]], int | None]:
    """Return (the requests that have ended, how many were sent: None until the client has ended in good order)."""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    sent = next((int(line["sent"]) for line in lines if line.get("summary")), None)
    return [line for line in lines if not line.get("summary")], sent


def traffic_of(outcomes: Sequence[dict[str, Any]], since: float = 0.0) -> Traffic:
    """Return what became of the requests sent since a Unix time."""
    chosen = [outcome for outcome in outcomes if outcome["sent_at"] >= since]
    errors: dict[str, int] = {}
    for outcome in chosen:
        if not outcome["ok"]:
            errors[outcome["error"]] = errors.get(outcome["error"], 0) + 1
    return Traffic(len(chosen), sum(errors.values()), max((o["seconds"] for o in chosen), default=0.0), errors)


def whole_traffic(text: str, code: int, due: float) -> Traffic:
    """Return the traffic of a client that has ended; raise when it cannot vouch for what clients saw.

    code: its exit code; due: how many requests its schedule asked for until it was stopped.
    """
    outcomes, sent = read_lines(text)
    if code != 0 or sent is None:
        raise RuntimeError(
            f"The steady client ended with exit code {code} after {len(outcomes)} requests: see its output."
        )
    if len(outcomes) != sent:
        raise RuntimeError(f"The steady client sent {sent} requests but knows the end of {len(outcomes)} only.")
    if sent < LEAST_SENT_SHARE * due:
        raise RuntimeError(
            f"The steady client sent {sent} requests where {due:.0f} were due: it was too slow to judge by."
        )
    return traffic_of(outcomes)


class Client:
    """A steady client under way."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, rate: float, seconds: float) -> None:
        self.process = process
        self.path = path
        self.rate = rate
        self.seconds = seconds
        self.started = time.monotonic()
        self.ended: float | None = None

    def text(self) -> str:
        """Return what the client has written so far."""
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def traffic(self, since: float = 0.0) -> Traffic:
        """Return what became of the requests sent since a Unix time, as far as they have ended. To judge: finish()."""
        return traffic_of(read_lines(self.text())[0], since)

    def finish(self) -> Traffic:
        """End the client and return what became of all its requests; raise when it died or fell behind its schedule."""
        code = self.stop()
        lasted = min(self.seconds, (self.ended or time.monotonic()) - self.started)
        return whole_traffic(self.text(), code, self.rate * lasted)

    def wait_answered(self, count: int, seconds: float = 30.0) -> None:
        """Wait until that many requests have been answered well; raise TimeoutError when they are not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            traffic = self.traffic()
            if traffic.sent - traffic.failed >= count:
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"The steady client ended by itself with exit code {self.process.returncode}")
            time.sleep(0.2)
        raise TimeoutError(f"Fewer than {count} requests were answered within {seconds:.0f} s: {self.traffic()}")

    def stop(self) -> int:
        """End the client after the requests under way and return its exit code. A second call does nothing."""
        if self.ended is None:
            self.ended = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)


class Fleet:
    """One lab with the inventory of the collection on top."""

    # Requests per second of the steady client of a test.
    client_rate = 20

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

    def is_on(self, host: str) -> bool:
        """Return whether a host of the lab runs."""
        return lab_hosts.is_on(self.lab.hosts[host])

    def ad_hoc(self, pattern: str, module: str, arguments: str = "") -> dict[str, Any]:
        """Run one module as `ansible -m` does, on one host, and return what it answered."""
        command = [str(self.venv / "bin" / "ansible"), pattern, "-i", str(self.lab.directory / "inventory.yml")]
        command += ["-m", module, *(["-a", arguments] if arguments else []), "-o"]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
            )
        answer: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
        return answer

    def include_role(self, pattern: str, role: str, **variables: Any) -> None:
        """Include a role on hosts, with variables on top of the lab's."""
        command = [str(self.venv / "bin" / "ansible"), pattern, "-i", str(self.lab.directory / "inventory.yml")]
        command += ["-i", str(CHECKOUT / "inventories/lab/hosts.yml"), "-m", "ansible.builtin.include_role"]
        command += ["-a", f"name={role}", "-e", json.dumps(variables)]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(
                f"{role} on {pattern}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-6000:]}"
            )

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
        before, started = self.rollout_directories(), time.monotonic()
        process = self.start_playbook(playbook, *extra)
        output, _nothing = process.communicate()
        seconds = time.monotonic() - started
        return PlaybookRun(process.returncode, output, seconds, made_since(before, self.rollout_directories()))

    def upgrade(self, release: str, *extra: str) -> PlaybookRun:
        """Run upgrade with one of the releases of inventories/lab/releases."""
        path = CHECKOUT / "inventories" / "lab" / "releases" / f"{release}.yml"
        return self.playbook("upgrade", "-e", f"@{path}", *extra)

    def rollout_directories(self) -> set[Path]:
        """Return the directories of all rollouts so far."""
        return set(self.rollouts.iterdir()) if self.rollouts.exists() else set()

    def newest_rollout(self) -> Path:
        """Return the directory of the newest rollout, whoever made it. That of one run: PlaybookRun.made_rollout."""
        return max(self.rollout_directories(), key=lambda path: path.name)

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
        client = Client(process, path, rate, seconds)
        try:
            yield client
        finally:
            client.stop()
