# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that role remediation installs, as they are started: the agent on its socket, the command of people."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._remedy._service import document

ROLE = Path(__file__).resolve().parents[4] / "roles/remediation"
# Where ansible_collections lies: what the library directory is on a host.
LIBRARY = next(place for place in sys.path if (Path(place) / "ansible_collections" / "local_llm").is_dir())


class Agent:
    """The agent under way, asked as HAProxy asks it."""

    def __init__(self, port: int, out: Path, process: subprocess.Popen[bytes]) -> None:
        self.port, self.out, self.process = port, out, process

    def keep_out(self, *servers: str) -> None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.out.write_text(json.dumps(document(dict.fromkeys(servers, "it crashed"), now, 60)), encoding="utf-8")

    def ask(self, question: bytes, end: bool = True) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(question)
            try:
                if end:
                    connection.shutdown(socket.SHUT_WR)
                return connection.recv(300)
            except OSError as error:
                # Who sends more than is read may find the connection closed before the answer.
                if error.errno in (errno.ENOTCONN, errno.ECONNRESET):
                    return b""
                raise


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    out = tmp_path / "out.json"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # As systemd hands it over: file descriptor 3.
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        )
        command = [
            sys.executable,
            "-c",
            program,
            str(listener.fileno()),
            str(ROLE / "files/remediation_agent.py"),
            str(out),
        ]
        with subprocess.Popen(
            command, pass_fds=(listener.fileno(),), close_fds=True, env={**os.environ, "PYTHONPATH": LIBRARY}
        ) as process:
            yield Agent(listener.getsockname()[1], out, process)
            process.kill()


def test_it_says_down_of_whom_the_file_names_and_up_of_everybody_else(agent: Agent) -> None:
    assert agent.ask(b"gpu1-chat\n") == b"up\n"
    agent.keep_out("gpu1-chat")
    assert agent.ask(b"gpu1-chat\n") == b"down #it crashed\n"
    assert agent.ask(b"gpu1-chat\n", end=False) == b"down #it crashed\n"
    assert agent.ask(b"gpu1-code\n") == b"up\n"


def test_whatever_is_sent_it_goes_on_answering(agent: Agent) -> None:
    agent.keep_out("gpu1-chat")
    for question in (b"", b"\n", b"\xff\xfe\n", b"x" * 300, b"GET / HTTP/1.1\r\n\r\n"):
        assert agent.ask(question) in (b"up\n", b"")
    with socket.create_connection(("127.0.0.1", agent.port), 5):
        pass
    # It says nothing and does not go: it gets its answer when its time is over, and the next one after it.
    with socket.create_connection(("127.0.0.1", agent.port), 5) as silent:
        assert agent.ask(b"gpu1-chat\n") == b"down #it crashed\n"
        silent.close()
    agent.out.write_text("{", encoding="utf-8")
    assert agent.ask(b"gpu1-chat\n") == b"up\n"
    assert agent.process.poll() is None


def remediate(settings: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command of people."""
    environment = {
        **os.environ,
        "PYTHONPATH": LIBRARY,
        "LOCAL_LLM_REMEDIATION_SETTINGS": str(settings),
        "SUDO_USER": "ann",
    }
    command = [sys.executable, str(ROLE / "files/remediate.py"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "remediation").mkdir()
    content: dict[str, Any] = {
        "schema": 1, "host": "gpu1", "mode": "observe", "rules": [], "interval_seconds": 30, "settle_seconds": 60,
        "probe_timeout_seconds": 1, "agent": True, "alertmanager": {"url": ""}, "runbook_url": "",
        "textfile_directory": "/nowhere", "directory": str(tmp_path / "remediation"), "health_directory": "/nowhere",
    }  # fmt: skip
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def journal(settings: Path) -> list[dict[str, Any]]:
    text = (settings.parent / "remediation/journal.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_hold_is_written_down_with_who_and_why_and_can_be_ended(settings: Path) -> None:
    assert remediate(settings, "hold", "chat", "30", "new", "fans").returncode == 0
    held = json.loads((settings.parent / "remediation/holds.json").read_text(encoding="utf-8"))["holds"]["chat"]
    assert (held["by"], held["reason"]) == ("ann", "new fans")
    assert time.time() + 1700 < held["until"] < time.time() + 1900
    assert remediate(settings, "release", "chat").returncode == 0
    assert json.loads((settings.parent / "remediation/holds.json").read_text(encoding="utf-8"))["holds"] == {}
    assert [(line["action"], line["reason"]) for line in journal(settings)] == [
        ("hold", "by ann"),
        ("release", "by ann"),
    ]


def test_a_rollout_has_the_host_until_it_ends_and_leaves_the_holds_of_people(settings: Path) -> None:
    def holds() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((settings.parent / "remediation/holds.json").read_text(encoding="utf-8"))
        return found

    assert remediate(settings, "hold", "all", "30", "new", "fans").returncode == 0
    for _turn in range(3):
        assert remediate(settings, "begin", "20261121T070623Z-54db", "240").returncode == 0
    work = holds()["work"]
    assert work["id"] == "20261121T070623Z-54db" and time.time() + 14000 < work["until"] < time.time() + 14500
    assert remediate(settings, "end", "another").returncode == 0
    assert holds()["work"] == work
    # The one before is dead: only one at a time can have the host.
    assert remediate(settings, "begin", "recovery-ctl1", "240").returncode == 0
    for _turn in range(2):
        assert remediate(settings, "end", "recovery-ctl1").returncode == 0
    assert holds()["work"] is None and list(holds()["holds"]) == ["*"]
    assert [(line["action"], line["reason"]) for line in journal(settings)[1:]] == [
        ("begin", "by 20261121T070623Z-54db"),
        ("begin", "by recovery-ctl1"),
        ("end", "by recovery-ctl1"),
    ]


def test_a_reset_of_an_instance_that_is_not_there_names_those_that_are(settings: Path) -> None:
    state = {"schema": 1, "mode": "observe", "looked_at": 1, "instances": {"chat": {"rules": {}, "out": None}}}
    (settings.parent / "remediation/state.json").write_text(json.dumps(state), encoding="utf-8")
    done = remediate(settings, "reset", "chta")
    assert done.returncode == 2 and "Known: chat" in done.stderr
    assert remediate(settings, "reset").stdout == "chat: reset\n"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dance",),
        ("hold", "chat"),
        ("reset", "a", "b"),
        ("hold", "chat", "99999", "x"),
        ("begin", "a b", "5"),
        ("begin", "a", "0"),
        ("begin", "a", "soon"),
        ("end",),
    ],
)
def test_what_it_does_not_know_changes_nothing(words: tuple[str, ...], settings: Path) -> None:
    assert remediate(settings, *words).returncode == 2
    assert not (settings.parent / "remediation/journal.jsonl").exists()


def test_wrong_settings_are_refused_in_words(settings: Path) -> None:
    assert remediate(settings, "check", str(settings)).returncode == 0
    settings.write_text(settings.read_text(encoding="utf-8").replace("observe", "watch"), encoding="utf-8")
    done = remediate(settings, "check", str(settings))
    assert done.returncode == 1 and "mode is 'watch'" in done.stderr and "Traceback" not in done.stderr
