#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE model server with a known pace, for tests of the measuring client. It holds no model.

Streams `tokens` words after `ttft_seconds`, `itl_seconds` apart, as server-sent events in chunked HTTP/1.1, or as lines
of JSON on Ollama's paths. Misbehaves on request: see Behaviour in stream_script.py. One event loop that keeps its times
to a fraction of a millisecond; how late it was is on record.

    fake_stream_server.py --port 18080 --ttft-seconds 0.05 --itl-seconds 0.01
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import select
import selectors
import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "collections"))

from ansible_collections.local_llm.ops.tests.fakes.stream_script import (
    ABORT,
    HANG,
    KEEP,
    Behaviour,
    Step,
    script,
)

__all__ = ["Behaviour", "FakeStreamServer"]

APIS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/api/chat": "ollama_chat",
    "/api/generate": "ollama_generate",
}


class _ExactSelector(selectors.DefaultSelector):
    """Waits to the microsecond; a plain selector waits in whole milliseconds."""

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and 0 < timeout < 0.02 and hasattr(self, "fileno"):
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


class _Player:
    """Sends the steps of a script at their times."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter, steps: list[Step], late: list[float]
    ) -> None:
        self._loop, self._transport, self._steps, self._late = loop, writer.transport, steps, late
        self._next = 0
        self._begin = loop.time()
        self.done: asyncio.Future[None] = loop.create_future()
        self._go()

    def _go(self) -> None:
        if self.done.done():
            return
        steps, count = self._steps, len(self._steps)
        now = self._loop.time() - self._begin
        while self._next < count:
            step = steps[self._next]
            if step.offset > now:
                self._loop.call_at(self._begin + step.offset, self._go)
                return
            if self._transport.is_closing():
                break
            self._transport.write(step.data)
            if step.paced:
                self._late.append(now - step.offset)
            self._next += 1
        self.done.set_result(None)


class FakeStreamServer:
    """Runs in a thread of its own: with FakeStreamServer(Behaviour(...)) as fake: fake.url"""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._tls = tls
        self._host = host
        self.behaviour = behaviour or Behaviour()
        self.port = port
        self.bodies: list[dict[str, Any]] = []
        self.requests = 0  # completions asked for, bodies that were no JSON among them
        self.keep_bodies = True
        self.connections = 0
        self.lateness_seconds: list[float] = []
        self._slots: asyncio.Semaphore | None = None
        self._ready = threading.Event()
        self._loop = asyncio.SelectorEventLoop(_ExactSelector())
        self._done: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> FakeStreamServer:
        self._thread.start()
        if not self._ready.wait(5):
            raise RuntimeError("the fake did not start")
        return self

    def __exit__(self, *_unused: object) -> None:
        if self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        if self.behaviour.slots:
            self._slots = asyncio.Semaphore(self.behaviour.slots)
        server = await asyncio.start_server(self._connection, self._host, self.port, backlog=1024, ssl=self._tls)
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
        answered = 0
        try:
            while await self._exchange(reader, writer):
                answered += 1
                if answered == self.behaviour.close_after:
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _version = head.split("\r\n", 1)[0].split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _colon, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        if headers.get("transfer-encoding") == "chunked":
            raw = await _chunks(reader)
        else:
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
        behaviour = self.behaviour
        public = method == "GET" and behaviour.open_list
        if (
            behaviour.api_key is not None
            and not public
            and headers.get("authorization") != f"Bearer {behaviour.api_key}"
        ):
            return await self._plain(writer, 401, '{"error": {"message": "who are you"}}')
        if method == "HEAD":
            return await self._plain(writer, 404, "")
        if method == "GET":
            return await self._page(writer, path)
        try:
            body = json.loads(raw)
        except ValueError:
            return await self._plain(writer, 400, '{"error": {"message": "the body is no JSON"}}')
        if not body.get("messages") and not body.get("prompt"):  # as a probe sends it
            status = 400 if APIS.get(path) in behaviour.apis else 404
            return await self._plain(writer, status, '{"error": {"message": "messages: field required"}}')
        self.requests += 1
        if self.keep_bodies:
            self.bodies.append(body)
        fault = behaviour.fault if self.requests % behaviour.fault_every == 0 else "none"
        if behaviour.strict_model and body.get("model") not in behaviour.models:
            fault = "http_404"
        if await self._no_stream(writer, fault):
            return fault.startswith("http_")
        if not body.get("stream"):
            prompt = body["messages"][-1]["content"] if "messages" in body else str(body.get("prompt"))
            text = behaviour.answers.get(prompt, behaviour.answer_text)
            message = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
            return await self._plain(writer, 200, json.dumps(message))
        if self._slots is None:
            return await self._stream(writer, body, fault, APIS.get(path, "chat"))
        async with self._slots:
            return await self._stream(writer, body, fault, APIS.get(path, "chat"))

    async def _stream(self, writer: asyncio.StreamWriter, body: dict[str, Any], fault: str, api: str) -> bool:
        steps, end = script(self.behaviour, body, fault, api)
        await _Player(self._loop, writer, steps, self.lateness_seconds).done
        if end == HANG:
            await asyncio.sleep(3600)
        if end == ABORT:
            writer.transport.abort()
        else:
            await writer.drain()
        return end == KEEP

    async def _no_stream(self, writer: asyncio.StreamWriter, fault: str) -> bool:
        """Do what a fault does instead of an answer; tell whether it was one of these."""
        if fault == "hang":
            await asyncio.sleep(3600)
        elif fault == "close_unheard":
            await asyncio.sleep(self.behaviour.close_unheard_seconds)
            writer.transport.abort()
        elif fault == "reset":
            writer.transport.abort()
        elif fault.startswith("http_"):
            await self._plain(writer, int(fault[5:]), '{"error": {"message": "refused"}}')
        elif fault == "not_http":
            writer.write(b"\x15\x03\x01 no HTTP at all\r\n\r\n")
            await writer.drain()
        elif fault == "html":
            await self._plain(writer, 200, "<html><body>It works!</body></html>\n", "text/html")
        elif fault == "json":
            message = {"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}]}
            await self._plain(writer, 200, json.dumps(message))
        elif fault == "json_error":
            await self._plain(writer, 200, '{"error": {"message": "the engine died"}}')
        elif fault == "empty":
            await self._plain(writer, 200, "")
        else:
            return False
        return True

    async def _page(self, writer: asyncio.StreamWriter, path: str) -> bool:
        models = self.behaviour.models
        pages = {
            "/v1/models": (200, json.dumps({"object": "list", "data": [{"id": name} for name in models]})),
            "/api/tags": (200, json.dumps({"models": [{"name": f"{name}:latest"} for name in models]})),
            **self.behaviour.pages,
        }
        status, text = pages.get(path, (404, "{}"))
        return await self._plain(writer, status, text)

    async def _plain(
        self, writer: asyncio.StreamWriter, status: int, text: str, kind: str = "application/json"
    ) -> bool:
        data = text.encode()
        retry = self.behaviour.retry_after
        more = f"Retry-After: {retry}\r\n" if retry is not None and status >= 400 else ""
        head = f"HTTP/1.1 {status} Fake\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{more}\r\n"
        writer.write(head.encode() + data)
        await writer.drain()
        return True


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a body that comes in chunks."""
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return body


def main() -> None:
    """Serve until ended; print the mean lateness at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--ttft-seconds", type=float, default=0.05)
    parser.add_argument("--itl-seconds", type=float, default=0.01)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--fault", default="none")
    options = parser.parse_args()
    behaviour = Behaviour(
        ttft_seconds=options.ttft_seconds, itl_seconds=options.itl_seconds, fault=options.fault, slots=options.slots
    )
    behaviour.pages["/health"] = (200, "{}")
    gc.disable()  # a collection would be a stall that is on no record
    with FakeStreamServer(behaviour, options.port) as fake:
        fake.keep_bodies = False
        stop = threading.Event()
        # A signal tells how late it was since the last one, without ending.
        signal.signal(signal.SIGUSR1, lambda _number, _frame: _tell(fake))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        print(f"a fake model server listens on {fake.url}", flush=True)
        while not stop.wait(0.2):
            pass
        _tell(fake)


def _tell(fake: FakeStreamServer) -> None:
    late = sorted(fake.lateness_seconds)
    fake.lateness_seconds.clear()
    mean = 1000 * sum(late) / max(1, len(late))
    worst = 1000 * late[int(0.99 * len(late))] if late else 0.0
    print(f"requests {fake.requests}, mean lateness {mean:.3f} ms, p99 {worst:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
