# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Short questions to an instance on this host, for engines whose readiness takes more than one status."""

from __future__ import annotations

import http.client
import json
from typing import Any, Callable

_TIMEOUT_SECONDS = 3.0
_MAX_BYTES = 65536

# (method, path, JSON body or None) -> (HTTP status, body). Status 0: the port is open without an HTTP answer in time;
# None: the port is closed.
Ask = Callable[[str, str, "dict[str, Any] | None"], "tuple[int | None, bytes]"]


def asker(address: str, port: int) -> Ask:
    """Return a function that asks the server at this address."""

    def ask(method: str, path: str, payload: dict[str, Any] | None) -> tuple[int | None, bytes]:
        connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.connect()
        except OSError:
            return None, b""
        try:
            headers = {"Connection": "close", "Content-Type": "application/json"}
            body = None if payload is None else json.dumps(payload).encode("utf-8")
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_MAX_BYTES)
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    return ask
