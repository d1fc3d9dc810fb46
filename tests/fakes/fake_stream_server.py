#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE model server with a known pace, for tests of the measuring client. It holds no model.

Streams `tokens` words after `ttft_seconds`, `itl_seconds` apart, as server-sent events in chunked HTTP/1.1. Misbehaves
on request: see Behaviour. One event loop, so that its own lateness stays small; that lateness is on record.

    fake_stream_server.py --port 18080 --ttft-seconds 0.05 --itl-seconds 0.01
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Behaviour:
    """What the fake does. `fault` (for every request, or for each `fault_every`th): none, http_<status>, hang,
    reset, stream_error, truncated, cut (the connection ends inside a chunk), zero_tokens, no_done, trickle (a byte
    now and then, for ever)."""

    ttft_seconds: float = 0.0
    itl_seconds: float = 0.0
    tokens: int | None = None
    fault: str = "none"
    fault_every: int = 1
    coalesce: int = 1
    usage: bool = True
    empty_text: bool = False
    role_first: bool = True
    keep_alive: bool = True
    answer_text: str = "one two three"
    answers: dict[str, str] = field(default_factory=dict)
    pages: dict[str, tuple[int, str]] = field(default_factory=dict)


class FakeStreamServer:
    """Runs in a thread of its own: with FakeStreamServer(Behaviour(...)) as fake: fake.url"""

    def __init__(self, behaviour: Behaviour | None = None, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.behaviour = behaviour or Behaviour()
        self.port = port
        self.bodies: list[dict[str, Any]] = []
        self.connections = 0
        self.lateness_seconds: list[float] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._done: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeStreamServer:
        self._thread.start()
        if not self._ready.wait(5):
            raise RuntimeError("the fake did not start")
        return self

    def __exit__(self, *_unused: object) -> None:
        if self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(5)

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        arrived = time.perf_counter()
        method, path, _version = head.split("\r\n", 1)[0].split(" ")
        length = next(
            (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
        )
        raw = await reader.readexactly(length)
        behaviour = self.behaviour
        if method == "GET":
            status, text = behaviour.pages.get(path, (404, "{}"))
            return await self._plain(writer, status, text)
        body = json.loads(raw)
        self.bodies.append(body)
        fault = behaviour.fault if len(self.bodies) % behaviour.fault_every == 0 else "none"
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault.startswith("http_"):
            return await self._plain(writer, int(fault[5:]), '{"error": {"message": "refused"}}')
        if not body.get("stream"):
            prompt = body["messages"][-1]["content"]
            text = behaviour.answers.get(prompt, behaviour.answer_text)
            message = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
            return await self._plain(writer, 200, json.dumps(message))
        return await self._stream(writer, body, arrived, fault, "messages" in body)

    async def _plain(self, writer: asyncio.StreamWriter, status: int, text: str) -> bool:
        data = text.encode()
        writer.write(f"HTTP/1.1 {status} Fake\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        await writer.drain()
        return True

    async def _stream(
        self, writer: asyncio.StreamWriter, body: dict[str, Any], arrived: float, fault: str, chat: bool
    ) -> bool:
        behaviour = self.behaviour
        close = "" if behaviour.keep_alive else "Connection: close\r\n"
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{close}\r\n".encode()
        )
        if chat and behaviour.role_first:
            writer.write(_event(_choice(chat, {"role": "assistant", "content": None}, "", None)))
        if fault == "trickle":
            while True:
                writer.write(b"3\r\n: \n\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        tokens = behaviour.tokens if behaviour.tokens is not None else body["max_tokens"]
        count = 0 if fault == "zero_tokens" else tokens
        held = b""
        for number in range(count):
            word = "" if behaviour.empty_text else f"w{number} "
            held += _event(_choice(chat, {"content": word}, word, None))
            due = arrived + behaviour.ttft_seconds + number * behaviour.itl_seconds
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if (number + 1) % behaviour.coalesce and number + 1 < count:
                continue
            self.lateness_seconds.append(time.perf_counter() - due)
            writer.write(held)
            held = b""
            if number >= count // 2 and fault in ("stream_error", "truncated", "cut"):
                return await self._break(writer, fault)
        if fault == "zero_tokens":
            writer.write(_event(_choice(chat, {}, "", "stop")))
        else:
            writer.write(_event(_choice(chat, {}, "", "length")))
        if behaviour.usage and (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
            writer.write(_event(json.dumps({"choices": [], "usage": usage})))
        if fault != "no_done":
            writer.write(_event("[DONE]"))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return behaviour.keep_alive

    async def _break(self, writer: asyncio.StreamWriter, fault: str) -> bool:
        if fault == "stream_error":
            writer.write(
                _event('{"error": {"message": "the engine died", "code": 500}}') + _event("[DONE]") + b"0\r\n\r\n"
            )
        elif fault == "truncated":
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"ff\r\ndata: {")
            await writer.drain()
            return False
        await writer.drain()
        return True


def _choice(chat: bool, delta: dict[str, Any], text: str, finish: str | None) -> str:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    choice.update({"delta": delta} if chat else {"text": text})
    return json.dumps({"choices": [choice]})


def _event(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"


def main() -> None:
    """Serve until ended; print the mean lateness at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--ttft-seconds", type=float, default=0.05)
    parser.add_argument("--itl-seconds", type=float, default=0.01)
    parser.add_argument("--fault", default="none")
    options = parser.parse_args()
    behaviour = Behaviour(ttft_seconds=options.ttft_seconds, itl_seconds=options.itl_seconds, fault=options.fault)
    with FakeStreamServer(behaviour, options.port) as fake:
        print(f"a fake model server listens on {fake.url}", flush=True)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        stop.wait()
        late = fake.lateness_seconds
        print(f"requests {len(fake.bodies)}, mean lateness {1000 * sum(late) / max(1, len(late)):.2f} ms")


if __name__ == "__main__":
    main()
