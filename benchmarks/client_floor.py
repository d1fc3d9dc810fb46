# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor for client_accuracy.py: the shortest honest client, a thread per user with http.client, and nothing else.

python benchmarks/client_floor.py http://127.0.0.1:18080 USERS REQUESTS TOKENS
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
from urllib.parse import urlsplit


def main() -> None:
    """Run, and print a line of JSON: the same keys as every client of client_accuracy.py gives."""
    url, users, requests, tokens = sys.argv[1], *map(int, sys.argv[2:5])
    place = urlsplit(url)
    body = json.dumps(
        {
            "model": "fake",
            "messages": [{"role": "user", "content": "one two three"}],
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    numbers = itertools.count()
    waits: list[float] = []
    counts: list[int] = []

    def user() -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        while next(numbers) < requests:
            started = time.perf_counter()
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            first, output = None, 0
            for line in answer:
                at = time.perf_counter()
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    first = at if first is None else first
                if event.get("usage"):
                    output = event["usage"]["completion_tokens"]
            if first is not None:
                waits.append(first - started)
            counts.append(output)

    threads = [threading.Thread(target=user) for _unused in range(users)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(
        json.dumps(
            {
                "succeeded": len(waits),
                "failed": requests - len(waits),
                "output_tokens": sum(counts),
                "ttft_mean_seconds": sum(waits) / len(waits),
                "requests_per_second": requests / (time.perf_counter() - began),
            }
        )
    )


if __name__ == "__main__":
    main()
