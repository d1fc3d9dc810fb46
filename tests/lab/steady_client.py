#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that keeps sending streaming requests at a steady rate and notes what became of every single one.

Requests go out on a fixed schedule, whether or not earlier ones have been answered. Each becomes one JSON line:
number, sent_at (Unix seconds), seconds, ttft_seconds, events, ok, error. SIGTERM or SIGINT ends it after the requests
under way; --seconds bounds it. The last line is a summary with the number of requests sent; without it the client died.
It never sends prompts anywhere but to the URL given.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

WORKERS = 96
REQUEST_TIMEOUT_SECONDS = 60.0


@dataclass
class Outcome:
    """What became of one request."""

    number: int
    sent_at: float
    seconds: float
    ttft_seconds: float | None
    events: int
    ok: bool
    error: str


def send(number: int, url: str, key: str, model: str, output_tokens: int) -> Outcome:
    """Send one streaming chat request and read it to its end; a cut or empty stream is an error."""
    parts = urlsplit(url)
    sent_at, started = time.time(), time.monotonic()
    ttft: float | None = None
    events, finished, error = 0, False, ""
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=REQUEST_TIMEOUT_SECONDS)
    body = {
        "model": model,
        "stream": True,
        "max_tokens": output_tokens,
        "temperature": 0,
        "messages": [{"role": "user", "content": f"Request {number}: tell me something about number {number}."}],
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            error = f"http_{response.status}"
            response.read()
        else:
            for raw in response:
                line = raw.strip()
                if not line.startswith(b"data:"):
                    continue
                if line.endswith(b"[DONE]"):
                    finished = True
                    break
                if b'"error"' in line[:20]:
                    error = "stream_error"
                    break
                ttft = ttft if ttft is not None else time.monotonic() - started
                events += 1
            if not error and not finished:
                error = "truncated"
            elif not error and events == 0:
                error = "empty"
    except (OSError, http.client.HTTPException) as problem:
        error = type(problem).__name__
    finally:
        connection.close()
    return Outcome(number, sent_at, time.monotonic() - started, ttft, events, not error, error)


def work(todo: queue.Queue[int | None], options: argparse.Namespace, sink: TextIO, lock: threading.Lock) -> None:
    """Send requests as they fall due; write one line for each."""
    while (number := todo.get()) is not None:
        outcome = send(number, options.url, options.key, options.model, options.output_tokens)
        with lock:
            sink.write(json.dumps(asdict(outcome)) + "\n")
            sink.flush()


def main() -> int:
    """Keep the schedule until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="gateway, such as http://10.0.0.1:8080")
    parser.add_argument("--model", default="chat")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second")
    parser.add_argument("--output-tokens", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3600.0, help="end at the latest after this time")
    parser.add_argument("--to", type=Path, required=True, help="file for the JSON lines")
    options = parser.parse_args()
    options.key = os.environ.get("LOCAL_LLM_CLIENT_KEY", "")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    todo: queue.Queue[int | None] = queue.Queue()
    lock = threading.Lock()
    with options.to.open("w", encoding="utf-8") as sink:
        workers = [threading.Thread(target=work, args=(todo, options, sink, lock)) for _worker in range(WORKERS)]
        for worker in workers:
            worker.start()
        started, sent = time.monotonic(), 0
        while not stop.is_set() and (due := sent / options.rate) < options.seconds:
            if stop.wait(max(0.0, started + due - time.monotonic())):
                break
            sent += 1
            todo.put(sent)
        for _worker in workers:
            todo.put(None)
        for worker in workers:
            worker.join()
        sink.write(json.dumps({"summary": True, "sent": sent}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
