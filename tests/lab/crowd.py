# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A crowd at the gateway: clients that ask again as soon as they are answered, so that requests always wait."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from dataclasses import dataclass, field

from fleet import CLIENT_KEY, GATEWAY_PORT

REQUEST_TIMEOUT_SECONDS = 60.0


@dataclass
class Crowd:
    """Clients of one gateway, each with one request under way from start() to stop()."""

    address: str
    clients: int
    output_tokens: int = 64
    _leaving: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Let all of them come."""
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let them go after the answers under way."""
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        body = {
            "model": "chat",
            "max_tokens": self.output_tokens,
            "messages": [{"role": "user", "content": f"Client {number}: tell me something about number {number}."}],
        }
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {CLIENT_KEY}"}
        while not self._leaving.is_set():
            connection = http.client.HTTPConnection(self.address, GATEWAY_PORT, timeout=REQUEST_TIMEOUT_SECONDS)
            # Whether it was answered well is the business of the steady client; a refusal must not become a busy loop.
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    continue
            self._leaving.wait(0.5)
