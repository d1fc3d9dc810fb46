# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading HAProxy's answers, and talking to a socket that misbehaves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_socket as haproxy

Serve = Callable[[str], haproxy.AdminSocket]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Answer every command on a socket with one fixed reply."""
    listeners = []

    def start(reply: str) -> haproxy.AdminSocket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listeners.append(listener)

        def answer() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply.encode())

        threading.Thread(target=answer, daemon=True).start()
        return haproxy.AdminSocket(str(tmp_path / "s"))

    yield start
    for listener in listeners:
        listener.close()


def test_an_order_that_worked_answers_nothing(serve: Serve) -> None:
    serve("\n\n").order("set server a/b state drain")


@pytest.mark.parametrize("reply", ["No such server.\n", "Permission denied\n", "Unknown command: x\n"])
def test_any_words_in_answer_to_an_order_are_an_error(serve: Serve, reply: str) -> None:
    with pytest.raises(haproxy.GatewayError, match=reply.strip()):
        serve(reply).order("set server a/b state drain")


def test_a_missing_socket_is_told_with_its_path_and_the_fix(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    with pytest.raises(haproxy.GatewayError, match=rf"{path}.*systemctl status haproxy"):
        haproxy.AdminSocket(path, patience_seconds=0).command("show stat")


@pytest.mark.parametrize("text", ["a\nb", "a; b"])
def test_a_command_cannot_carry_another(text: str, tmp_path: Path) -> None:
    with pytest.raises(haproxy.GatewayError, match="refused"):
        haproxy.AdminSocket(str(tmp_path / "none")).command(text)


def test_server_state_is_read_by_column_name() -> None:
    rows = haproxy.parse_servers_state("1\n# be_id be_name srv_name\n3 pool_chat a\n\n")
    assert rows == [{"be_id": "3", "be_name": "pool_chat", "srv_name": "a"}]


@pytest.mark.parametrize("reply", ["", "Permission denied", "2\n# be_id\n"])
def test_what_is_no_server_state_is_an_error(reply: str) -> None:
    with pytest.raises(haproxy.GatewayError):
        haproxy.parse_servers_state(reply)


def test_what_is_no_table_is_an_error() -> None:
    with pytest.raises(haproxy.GatewayError, match="Permission denied"):
        haproxy.parse_stat("Permission denied\n")


def test_a_map_is_read_without_addresses() -> None:
    assert haproxy.parse_map("0x7f38 chat 30\n0x7f39 code 0\n") == {"chat": "30", "code": "0"}
    assert haproxy.parse_map("") == {}


def test_an_unknown_map_is_an_error() -> None:
    with pytest.raises(haproxy.GatewayError, match="Unknown map identifier"):
        haproxy.parse_map("Unknown map identifier. Please use #<id> or <file>.")


def test_only_workers_that_a_reload_replaced_are_old() -> None:
    reply = "#<PID> <type>\n12 master 1\n# workers\n20 worker 0\n# old workers\n15 worker 1\n16 worker 2\n# programs\n"
    assert haproxy.parse_old_workers(reply) == [15, 16]


def test_an_empty_counter_is_nothing() -> None:
    assert haproxy.number({"econ": ""}, "econ") == 0
    assert haproxy.number({}, "econ") == 0
    assert haproxy.number({"econ": "7"}, "econ") == 7
