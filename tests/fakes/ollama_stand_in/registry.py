# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAND-IN for a registry of Ollama models: tags, manifests, blobs over plain HTTP, and faults that a test turns on.

In a test: Registry(); add_model(...); start(). As a program: registry.py --port 5000 --model NAME:TAG=FILE.gguf ...
Faults, by POST /control {"fault": ...} or .fault: cut (the connection ends in the middle of every blob), cut_once,
wrong_digest (other bytes of the right length), html (a page with status 200 instead of a manifest). POST /control
{"move": ["tiny:1", "tiny:2"]} lets the first tag point where the second does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULTS = (None, "cut", "cut_once", "wrong_digest", "html")
CONFIG = {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "architecture": "amd64"}


class Registry(ThreadingHTTPServer):
    """Listens on loopback; models are kept in memory."""

    daemon_threads = True

    def __init__(self, port: int = 0, address: str = "127.0.0.1") -> None:
        super().__init__((address, port), Handler)
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        self.fault: str | None = None
        self.requests: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def _blob(self, content: bytes, media: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return {"mediaType": media, "digest": digest, "size": len(content)}

    def add_model(self, name: str, weights: bytes, template: str = "{{ .Prompt }}") -> str:
        """Offer a model as name:tag; return its digest, the SHA-256 of the manifest."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": self._blob(json.dumps(CONFIG).encode(), "application/vnd.docker.container.image.v1+json"),
            "layers": [
                self._blob(weights, "application/vnd.ollama.image.model"),
                self._blob(template.encode(), "application/vnd.ollama.image.template"),
            ],
        }
        self.tags[name] = json.dumps(manifest).encode()
        return hashlib.sha256(self.tags[name]).hexdigest()

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Registry

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _send(self, status: int, body: bytes, kind: str = "application/json", claimed: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if claimed is None else claimed))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if "fault" in order:
            self.server.fault = order["fault"]
        if "move" in order:
            tag, to = order["move"]
            self.server.tags[tag] = self.server.tags[to]
        self._send(200, b"{}")

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(self.path)
        match = re.fullmatch(r"/v2/[^/]+/([^/]+)/(manifests|blobs)/([^/]+)", self.path)
        if match is None:
            self._send(404, b"{}")
            return
        model, kind, what = match.groups()
        if kind == "manifests":
            content = server.tags.get(f"{model}:{what}")
            if server.fault == "html":
                self._send(200, b"<html><body>Sign in to the network</body></html>", "text/html")
            elif content is None:
                self._send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            else:
                self._send(200, content)
            return
        content = server.blobs.get(what)
        if content is None:
            self._send(404, b"{}")
            return
        if server.fault == "wrong_digest":
            content = bytes(len(content))
        # Parts of a file, as the real server asks for them: bytes=START-END or bytes=START-
        first, _dash, end = (self.headers.get("Range") or "bytes=0-")[6:].partition("-")
        status = 206 if "Range" in self.headers else 200
        rest = content[int(first or 0) : int(end) + 1 if end else None]
        if server.fault in ("cut", "cut_once") and len(rest) > 1:
            server.fault = None if server.fault == "cut_once" else server.fault
            self._send(status, rest[: len(rest) // 2], "application/octet-stream", claimed=len(rest))
            self.close_connection = True
            return
        self._send(status, rest, "application/octet-stream")

    do_HEAD = do_GET


def main() -> None:
    """Serve the models that the command line names."""
    parser = argparse.ArgumentParser(description="STAND-IN for a registry of Ollama models, for tests")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--model", action="append", default=[], metavar="NAME:TAG=FILE")
    arguments = parser.parse_args()
    registry = Registry(arguments.port)
    for text in arguments.model:
        name, _equals, path = text.partition("=")
        print(name, registry.add_model(name, Path(path).read_bytes()), flush=True)
    # The first model under a second tag, so that a moved tag can move back.
    for name in list(registry.tags)[:1]:
        registry.tags[f"{name.partition(':')[0]}:original"] = registry.tags[name]
    registry.serve_forever()


if __name__ == "__main__":
    main()
