# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAND-IN for Ollama: its HTTP interface, native and as OpenAI's."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .models import Busy, Loaded, LoadFailed, Scheduler, knobs, made_up_words
from .pull import PullError, pull
from .store import MEDIA_MODEL, Store, StoreError, short_name, split_name

MEDIA_CONFIG = "application/vnd.docker.container.image.v1+json"
MEDIA_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
BUSY = "server busy, please try again.  maximum pending requests exceeded"
ZERO_TIME = "0001-01-01T00:00:00Z"


class Failure(Exception):
    """An answer with a status and {"error": text}."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def say(text: str) -> None:
    """Write a line to the log; never a prompt."""
    print(f"STAND-IN ollama: {text}", file=sys.stderr, flush=True)


def iso(seconds_ahead: float = 0.0) -> str:
    """Return a moment; one beyond the calendar becomes its last years."""
    return (datetime.now(UTC) + timedelta(seconds=min(seconds_ahead, 9e9))).isoformat()


class Server(ThreadingHTTPServer):
    """Knows store, scheduler and version."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], version: str, store: Store, scheduler: Scheduler) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.version, self.store, self.scheduler = version, store, scheduler
        self.on_loopback = address[0] == "localhost" or ipaddress.ip_address(address[0]).is_loopback
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    body: dict[str, Any]

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a line for each request is the real server's business, and prompts are nobody's."""

    # --- answers

    def _answer(self, status: int, content: Any = None, kind: str = "application/json; charset=utf-8") -> None:
        body = (
            b"" if content is None else content.encode() if isinstance(content, str) else json.dumps(content).encode()
        )
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin_stream(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _told(self, work: Callable[[Callable[[dict[str, Any]], None]], None]) -> None:
        """Run work that tells its states: as lines with status 200, or, without stream, as the last one."""
        states: list[dict[str, Any]] = []
        streamed = self.body.get("stream", True)
        if streamed:
            self._begin_stream("application/x-ndjson")

        def tell(state: dict[str, Any]) -> None:
            states.append(state)
            if streamed:
                self._chunk(json.dumps(state).encode() + b"\n")

        try:
            work(tell)
        except (PullError, StoreError, OSError) as error:
            tell({"error": str(error)})
        if streamed:
            self._chunk(b"")
        else:
            self._answer(500 if "error" in states[-1] else 200, states[-1])

    # --- requests

    def _host_allowed(self) -> bool:
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0].strip("[]").lower()
        if not self.server.on_loopback or host in ("", "localhost", socket.gethostname().lower()):
            return True
        if host.endswith((".localhost", ".local", ".internal")):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or address.is_private or address.is_unspecified

    def _name(self, *keys: str) -> str:
        name = next((self.body[key] for key in (*keys, "model", "name") if self.body.get(key)), "")
        try:
            return short_name(split_name(str(name)))
        except StoreError as error:
            raise Failure(400, str(error)) from error

    def _handle(self) -> None:
        self.body = {}
        path = self.path.partition("?")[0]
        length = int(self.headers.get("Content-Length") or 0)
        try:
            if not self._host_allowed():
                self._answer(403)
                return
            if path.startswith("/api/blobs/"):
                self._blob(path.rpartition("/")[2], length)
                return
            raw = self.rfile.read(length)
            if raw:
                try:
                    self.body = json.loads(raw)
                except ValueError as error:
                    raise Failure(400, str(error)) from error
            route = ROUTES.get((("GET" if self.command == "HEAD" else self.command), path))
            if route is None:
                self._answer(404, "404 page not found", "text/plain")
                return
            route(self)
        except Failure as failure:
            content: Any = {"error": str(failure)}
            if path.startswith("/v1/"):
                content = {"error": {"message": str(failure), "type": "api_error", "param": None, "code": None}}
            self._answer(failure.status, content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_DELETE = _handle

    def _blob(self, digest: str, length: int) -> None:
        try:
            there = self.server.store.blob(digest).exists()
        except StoreError as error:
            self.rfile.read(length)
            raise Failure(400, str(error)) from error
        if self.command == "HEAD":
            self._answer(200 if there else 404)
            return
        if there:
            self.rfile.read(length)
            self._answer(200)
            return
        found, _size = self.server.store.add_blob(self.rfile, length, digest)
        if found != digest:
            raise Failure(400, f'digest mismatch, expected "{digest}", got "{found}"')
        self._answer(201)

    def root(self) -> None:
        self._answer(200, "Ollama is running", "text/plain; charset=utf-8")

    def version_page(self) -> None:
        self._answer(200, {"version": self.server.version})

    def _entries(self) -> list[dict[str, Any]]:
        """Return the models; as with the real server, one with a broken configuration is left out."""
        store, entries = self.server.store, []
        for name in store.names():
            try:
                entries.append(store.entry(name))
            except (ValueError, OSError, KeyError):
                say(f"bad manifest config of {name}")
        return entries

    def tags(self) -> None:
        self._answer(200, {"models": self._entries()})

    def ps(self) -> None:
        models = [
            {
                "name": model.name,
                "model": model.name,
                "size": model.size,
                "digest": model.entry["digest"],
                "details": model.entry["details"],
                "expires_at": iso(model.expires_at - time.time()),
                "size_vram": model.size_vram,
                "context_length": model.context_length,
            }
            for model in self.server.scheduler.running()
        ]
        self._answer(200, {"models": models})

    def show(self) -> None:
        name = self._name()
        try:
            entry = self.server.store.entry(name)
        except FileNotFoundError as error:
            raise Failure(404, f"model '{self.body.get('model')}' not found") from error
        self._answer(
            200,
            {
                "details": entry["details"],
                "model_info": {"general.architecture": entry["details"]["family"]},
                "capabilities": ["completion"],
                "modified_at": entry["modified_at"],
            },
        )

    def pull_model(self) -> None:
        name = self._name()
        self._told(lambda tell: pull(self.server.store, name, bool(self.body.get("insecure")), tell))

    def create(self) -> None:
        name, files, store = self._name(), self.body.get("files") or {}, self.server.store
        if not files:
            raise Failure(400, "neither 'from' or 'files' was specified")

        def work(tell: Callable[[dict[str, Any]], None]) -> None:
            layers = []
            for digest in files.values():
                path = store.blob(digest)
                tell({"status": "parsing GGUF"})
                if not path.exists():
                    raise StoreError(f"stat {path}: no such file or directory")
                with path.open("rb") as stream:
                    if stream.read(4) != b"GGUF":
                        raise StoreError("only GGUF files are supported")
                layers.append({"mediaType": MEDIA_MODEL, "digest": digest, "size": path.stat().st_size})
                tell({"status": f"using existing layer {digest}"})
            text = json.dumps({"model_format": "gguf", "model_family": "llama", "model_families": ["llama"]}).encode()
            digest, size = store.add_blob(io.BytesIO(text), len(text))
            config = {"mediaType": MEDIA_CONFIG, "digest": digest, "size": size}
            manifest = {"schemaVersion": 2, "mediaType": MEDIA_MANIFEST, "config": config, "layers": layers}
            tell({"status": "writing manifest"})
            store.write_manifest(name, json.dumps(manifest).encode() + b"\n")
            tell({"status": "success"})

        self._told(work)

    def copy(self) -> None:
        source, destination = self._name("source"), self._name("destination")
        try:
            self.server.store.copy(source, destination)
        except FileNotFoundError as error:
            raise Failure(404, f'model "{self.body["source"]}" not found') from error
        except OSError as error:
            raise Failure(500, str(error)) from error
        self._answer(200)

    def delete(self) -> None:
        name = self._name()
        try:
            self.server.store.delete(name)
        except FileNotFoundError as error:
            raise Failure(404, f"model '{self.body.get('model') or self.body.get('name')}' not found") from error
        except OSError as error:
            raise Failure(500, str(error)) from error
        self._answer(200)

    # --- completions

    def _run(self, prompt: str, limit: int, write: Callable[[str, Iterator[str] | None, Loaded], None]) -> None:
        name = self._name()
        try:
            with self.server.scheduler.use(name, self.body.get("keep_alive")) as model:
                pause = float(knobs().get("token_seconds", 0))

                def words() -> Iterator[str]:
                    for word in made_up_words(model.entry["digest"], prompt, limit):
                        time.sleep(pause)
                        yield word

                write(name, words() if prompt else None, model)
        except Busy as error:
            raise Failure(503, BUSY) from error
        except FileNotFoundError as error:
            raise Failure(404, f"model '{self.body.get('model')}' not found") from error
        except (StoreError, LoadFailed) as error:
            raise Failure(500, str(error)) from error

    def _native(self, prompt: str, wrap: Callable[[str], dict[str, Any]], read: int) -> None:
        limit = int((self.body.get("options") or {}).get("num_predict") or 32)
        streamed = self.body.get("stream", True)

        def write(name: str, words: Iterator[str] | None, model: Loaded) -> None:
            head = {"model": self.body.get("model"), "created_at": iso()}
            last: dict[str, Any] = {**head, **wrap(""), "done": True, "done_reason": "load"}
            if words is None:
                if self.body.get("keep_alive") in (0, "0", "0s"):
                    model.keep_seconds, last["done_reason"] = 0.0, "unload"
                self._answer(200, last)
                return
            counts = {"prompt_eval_count": read, "eval_count": limit, "total_duration": 1, "eval_duration": 1}
            last.update(counts, done_reason="length")
            if not streamed:
                self._answer(200, {**last, **wrap("".join(words))})
                return
            self._begin_stream("application/x-ndjson")
            for word in words:
                self._chunk(json.dumps({**head, **wrap(word), "done": False}).encode() + b"\n")
            self._chunk(json.dumps(last).encode() + b"\n")
            self._chunk(b"")

        self._run(prompt, limit, write)

    def generate(self) -> None:
        prompt = str(self.body.get("prompt") or "")
        self._native(prompt, lambda text: {"response": text}, len(prompt.split()))

    def chat(self) -> None:
        prompt = json.dumps(self.body.get("messages")) if self.body.get("messages") else ""
        self._native(prompt, lambda text: {"message": {"role": "assistant", "content": text}}, len(prompt.split()))

    def _openai(self, prompt: str, kind: str, wrap: Callable[[str, bool], dict[str, Any]]) -> None:
        limit = int(self.body.get("max_completion_tokens") or self.body.get("max_tokens") or 32)
        read = len(prompt.split())
        usage = {"prompt_tokens": read, "completion_tokens": limit, "total_tokens": read + limit}

        def write(name: str, words: Iterator[str] | None, model: Loaded) -> None:
            head = {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": self.body["model"]}
            head["system_fingerprint"] = "fp_ollama"
            if not self.body.get("stream"):
                choice = {"index": 0, **wrap("".join(words or ()), False), "finish_reason": "length"}
                self._answer(200, {**head, "choices": [choice], "usage": usage})
                return
            self._begin_stream("text/event-stream")
            head["object"] = kind + ".chunk" if kind == "chat.completion" else kind

            def event(choices: list[dict[str, Any]], **more: Any) -> None:
                self._chunk(b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n")

            for word in words or ():
                event([{"index": 0, **wrap(word, True), "finish_reason": None}])
            event([{"index": 0, **wrap("", True), "finish_reason": "length"}])
            if (self.body.get("stream_options") or {}).get("include_usage"):
                event([], usage=usage)
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")

        self._run(prompt, limit, write)

    def openai_chat(self) -> None:
        if not self.body.get("messages"):
            raise Failure(400, "[] is too short - 'messages'")

        def wrap(text: str, part: bool) -> dict[str, Any]:
            return {"delta" if part else "message": {"role": "assistant", "content": text}}

        self._openai(json.dumps(self.body["messages"]), "chat.completion", wrap)

    def openai_completion(self) -> None:
        self._openai(str(self.body.get("prompt") or " "), "text_completion", lambda text, part: {"text": text})

    def openai_models(self) -> None:
        data = [
            {"id": entry["name"], "object": "model", "created": 0, "owned_by": "library"} for entry in self._entries()
        ]
        self._answer(200, {"object": "list", "data": data})


ROUTES: dict[tuple[str, str], Callable[[Handler], None]] = {
    ("GET", "/"): Handler.root,
    ("GET", "/api/version"): Handler.version_page,
    ("GET", "/api/tags"): Handler.tags,
    ("GET", "/api/ps"): Handler.ps,
    ("POST", "/api/show"): Handler.show,
    ("POST", "/api/pull"): Handler.pull_model,
    ("POST", "/api/create"): Handler.create,
    ("POST", "/api/copy"): Handler.copy,
    ("DELETE", "/api/delete"): Handler.delete,
    ("POST", "/api/generate"): Handler.generate,
    ("POST", "/api/chat"): Handler.chat,
    ("GET", "/v1/models"): Handler.openai_models,
    ("POST", "/v1/chat/completions"): Handler.openai_chat,
    ("POST", "/v1/completions"): Handler.openai_completion,
}
