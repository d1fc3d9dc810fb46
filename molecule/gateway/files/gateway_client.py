#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the gateway's tests: takes a JSON object as its argument, prints a JSON list of what came back.

Keys: port, path, method, key, headers, body, count, parallel.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """Send one request and tell what came back, how long it took, and whether it came whole."""
    started = time.monotonic()
    headers = {"Content-Type": "application/json", **order.get("headers", {})}
    if order.get("key"):
        headers["Authorization"] = f"Bearer {order['key']}"
    connection = http.client.HTTPConnection("127.0.0.1", order.get("port", 8080), timeout=60)
    try:
        body = None if order.get("method") == "GET" else json.dumps(order.get("body", {}))
        path = order.get("path", "/v1/chat/completions")
        connection.request(order.get("method", "POST"), path, body=body, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        result: dict[str, Any] = {
            "status": response.status,
            "headers": {k.lower(): v for k, v in response.getheaders()},
            "text": text,
        }
    except (OSError, http.client.HTTPException) as error:
        result = {"status": 0, "headers": {}, "text": repr(error)}
    finally:
        connection.close()
    return {**result, "server": result["headers"].get("x-fake-server"), "seconds": time.monotonic() - started}


def main() -> None:
    """Send all requests."""
    order = json.loads(sys.argv[1])
    with ThreadPoolExecutor(order.get("parallel", 1)) as pool:
        sys.stdout.write(json.dumps(list(pool.map(ask, [order] * order.get("count", 1)))))


if __name__ == "__main__":
    main()
