# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Talk to HAProxy's admin socket and read its answers. Needs nothing but the standard library."""

from __future__ import annotations

import csv
import io
import socket
import time
from dataclasses import dataclass

SOCKET_TIMEOUT_SECONDS = 10.0
CONNECT_PATIENCE_SECONDS = 2.0


class GatewayError(Exception):
    """What went wrong at the gateway, with the thing, the value and the fix in its text."""


@dataclass(frozen=True)
class AdminSocket:
    """One HAProxy socket; every command is one connection, as HAProxy wants it."""

    path: str
    patience_seconds: float = CONNECT_PATIENCE_SECONDS

    def command(self, text: str) -> str:
        """Send one command and return the whole reply without surrounding blank lines."""
        if "\n" in text or ";" in text:
            raise GatewayError(f"The gateway command {text!r} holds a line break or a semicolon: refused.")
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return self._exchange(text)
            except (ConnectionRefusedError, FileNotFoundError) as error:
                # A reload replaces the socket: for a moment nobody listens.
                if time.monotonic() >= deadline:
                    raise GatewayError(self._unreachable(error)) from error
                time.sleep(0.1)
            except OSError as error:
                raise GatewayError(self._unreachable(error)) from error

    def order(self, text: str) -> None:
        """Send a command that answers nothing when it worked; any words are an error."""
        reply = self.command(text)
        if reply:
            raise GatewayError(f"HAProxy refused {text!r}: {reply}")

    def _exchange(self, text: str) -> str:
        chunks: list[bytes] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SOCKET_TIMEOUT_SECONDS)
            connection.connect(self.path)
            connection.sendall(text.encode("utf-8") + b"\n")
            # Without this the socket of the master process waits for more commands for ever.
            connection.shutdown(socket.SHUT_WR)
            while True:
                chunk = connection.recv(65536)
                if not chunk:
                    return b"".join(chunks).decode("utf-8", "replace").strip("\n")
                chunks.append(chunk)

    def _unreachable(self, error: OSError) -> str:
        return (
            f"The admin socket {self.path} of HAProxy does not answer ({error.strerror or error}). "
            "Check 'systemctl status haproxy' on the gateway, and that the task runs as root (become: true); "
            "the role local_llm.ops.gateway creates the socket."
        )


def check_reply(reply: str, command: str, first: str) -> str:
    """Return a reply that begins as it must, or raise with what HAProxy said instead (e.g. "Permission denied")."""
    if not reply.startswith(first):
        raise GatewayError(f"HAProxy did not answer {command!r} as expected but said: {reply.splitlines()[:1]}")
    return reply


def parse_servers_state(reply: str) -> list[dict[str, str]]:
    """Return one dict per server, keyed by the column names, from "show servers state" or a server-state-file."""
    lines = reply.splitlines()
    if len(lines) < 2 or lines[0].strip() != "1" or not lines[1].startswith("# "):
        raise GatewayError(f"HAProxy's server state is not in format version 1; it begins with {lines[:1]}.")
    columns = lines[1][2:].split()
    return [dict(zip(columns, line.split())) for line in lines[2:] if line.strip()]


def parse_stat(reply: str) -> list[dict[str, str]]:
    """Return the rows of "show stat" as dicts keyed by column name."""
    if not reply.startswith("# "):
        raise GatewayError(f"HAProxy did not answer 'show stat' with a table but said: {reply.splitlines()[:1]}")
    return list(csv.DictReader(io.StringIO(reply[2:])))


def parse_map(reply: str) -> dict[str, str]:
    """Return key and value of each entry of "show map PATH"; each line is "<address> <key> <value>"."""
    entries = {}
    for line in reply.splitlines():
        parts = line.split(None, 2)
        if len(parts) == 3 and parts[0].startswith("0x"):
            entries[parts[1]] = parts[2].strip()
        elif line.strip():
            raise GatewayError(f"HAProxy's map has an unexpected line: {line!r}")
    return entries


def parse_old_workers(reply: str) -> list[int]:
    """Return the process ids of workers that a reload has replaced and that still finish streams ("show proc")."""
    pids, old = [], False
    for line in reply.splitlines():
        if line.startswith("#"):
            old = line.strip() == "# old workers"
            continue
        parts = line.split()
        if old and len(parts) > 1 and parts[0].isdigit() and parts[1] == "worker":
            pids.append(int(parts[0]))
    return pids


def number(row: dict[str, str], column: str) -> int:
    """Return a counter of "show stat"; an empty column counts as nothing."""
    value: str | None = row.get(column)
    return int(value) if value else 0
