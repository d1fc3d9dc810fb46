#!/usr/bin/python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent that HAProxy's agent check asks: a line with a server's name in, "up" or "down" out.

systemd opens the socket and starts this with the first question. It reads one file and runs without any right.
"""

from __future__ import annotations

import socket
import sys
import time

sys.path.insert(0, "/usr/local/libexec/local_llm/remediation_lib")

from ansible_collections.local_llm.ops.plugins.module_utils._remedy._service import MAX_REQUEST_BYTES, reply

OUT = "/run/local-llm-remediation/out.json"
# The first socket that systemd hands over.
LISTEN_FD = 3
REQUEST_SECONDS = 1.0
# Nobody asks: end; the next question starts it again.
IDLE_SECONDS = 600.0


def read_out(path: str) -> str | None:
    """Return the file that says who is out, None when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError):
        return None


def read_line(connection: socket.socket) -> str:
    """Return what was asked: up to the end of the line, and never more than a name can be."""
    data = b""
    end = time.monotonic() + REQUEST_SECONDS
    while b"\n" not in data and len(data) < MAX_REQUEST_BYTES:
        connection.settimeout(max(0.01, end - time.monotonic()))
        chunk = connection.recv(MAX_REQUEST_BYTES)
        if not chunk:
            break
        data += chunk
    return data.decode("ascii", "replace")


def answer(connection: socket.socket, path: str) -> None:
    """Answer one question. A client that is slow or gone is no trouble of ours."""
    with connection:
        try:
            request = read_line(connection)
            text = reply(request, read_out(path), time.clock_gettime(time.CLOCK_BOOTTIME))
            connection.sendall(text.encode("ascii", "replace"))
        except OSError:
            return


def serve(listener: socket.socket, path: str) -> None:
    """Answer until nobody has asked for a while."""
    listener.settimeout(IDLE_SECONDS)
    while True:
        try:
            connection, _address = listener.accept()
        except socket.timeout:
            return
        answer(connection, path)


if __name__ == "__main__":
    with socket.socket(fileno=LISTEN_FD) as inherited:
        serve(inherited, sys.argv[1] if len(sys.argv) > 1 else OUT)
