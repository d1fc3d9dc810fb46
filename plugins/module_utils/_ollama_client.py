# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The few requests to an Ollama server that keeping a model needs. Every failure says what was asked and what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Protocol

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer, request
from ansible_collections.local_llm.ops.plugins.module_utils._http_ndjson import stream_lines
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import parse_digest

# Part of an error of the server -> what to do about it.
_HINTS = (
    ("digest mismatch", "The bytes that came are not those that the manifest names. Run again; look at the mirror."),
    ("invalid character '<'", "A web page came instead of a manifest: look at the proxy, or sign in to the network."),
    ("file does not exist", "The registry has no such tag: correct name."),
    ("max retries exceeded", "The connection broke again and again. Run again: what has come is kept."),
    ("no space left", "Make room on the file system of the server's models."),
    ("permission denied", "The server may not write its models: it serves a release, which is never changed in place."),
    ("requires a newer version", "Give the server a newer version of Ollama."),
)


class OllamaError(Exception):
    """What a person must read: it names the model, what the server said and the fix."""


class Client(Protocol):
    """What the steps need of a server; tests bring their own."""

    def digests(self) -> dict[str, str]: ...
    def loaded(self, name: str) -> dict[str, Any] | None: ...
    def copy(self, source: str, destination: str) -> None: ...
    def delete(self, name: str) -> None: ...
    def pull(self, name: str, on_line: Callable[[dict[str, Any]], None]) -> None: ...
    def load(self, name: str, keep_alive_seconds: int) -> None: ...


def hint(error: str) -> str:
    """Return what to do about an error of the server."""
    return next((text for part, text in _HINTS if part in error), "Look at the log of the server.")


@dataclass(frozen=True)
class HttpClient:
    """A server, asked over HTTP."""

    endpoint: Endpoint
    url: str
    insecure: bool
    timeout_seconds: float
    silence_seconds: float
    request_timeout_seconds: float
    load_timeout_seconds: float

    def _ask(
        self,
        path: str,
        payload: dict[str, Any] | None = None,
        method: str | None = None,
        seconds: float | None = None,
    ) -> Answer:
        answer = request(self.endpoint, path, seconds or self.request_timeout_seconds, payload, method)
        if answer.status == 200 and answer.error is None:
            return answer
        if answer.status is None:
            raise OllamaError(f"{self.url}{path}: no answer ({answer.detail}). Is the server running there?")
        content = answer.json()
        said = content.get("error") if isinstance(content, dict) else None
        text = str(said or answer.detail or f"HTTP {answer.status}")
        raise OllamaError(f"{self.url}{path}: HTTP {answer.status}: {text}. {hint(text)}")

    def _models(self, path: str) -> list[dict[str, Any]]:
        content = self._ask(path).json()
        models = content.get("models") if isinstance(content, dict) else None
        if models is None and isinstance(content, dict) and "models" in content:
            models = []
        if not isinstance(models, list):
            raise OllamaError(f"{self.url}{path}: the answer has no list of models. Is this an Ollama server?")
        return [model for model in models if isinstance(model, dict)]

    def digests(self) -> dict[str, str]:
        """Return name -> digest of every model on the server."""
        return {str(model.get("name")): parse_digest(str(model.get("digest"))) for model in self._models("/api/tags")}

    def loaded(self, name: str) -> dict[str, Any] | None:
        """Return what the server says about a model in memory."""
        return next((model for model in self._models("/api/ps") if model.get("name") == name), None)

    def copy(self, source: str, destination: str) -> None:
        self._ask("/api/copy", {"source": source, "destination": destination})

    def delete(self, name: str) -> None:
        self._ask("/api/delete", {"model": name}, method="DELETE")

    def pull(self, name: str, on_line: Callable[[dict[str, Any]], None]) -> None:
        """Fetch a model. The status of the answer is 200 also when the fetch fails: only 'success' is one."""
        payload = {"model": name, "stream": True, **({"insecure": True} if self.insecure else {})}
        end = stream_lines(self.endpoint, "/api/pull", payload, on_line, self.timeout_seconds, self.silence_seconds)
        if not end.error and end.last.get("status") == "success":
            return
        text = end.error or f"the stream ended after {end.last.get('status')!r}, without success"
        raise OllamaError(f"model {name}: the server at {self.url} could not fetch it: {text}. {hint(text)}")

    def load(self, name: str, keep_alive_seconds: int) -> None:
        """Bring a model into memory: a request without a prompt."""
        payload = {"model": name, "keep_alive": keep_alive_seconds, "stream": False}
        self._ask("/api/generate", payload, seconds=self.load_timeout_seconds)
