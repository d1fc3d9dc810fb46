# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAND-IN for Ollama: models in memory, the queue in front of them, and made-up texts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .store import Store

FOREVER_SECONDS = 9223372036.0  # the largest duration that Ollama knows, 292 years
KNOBS = Path(os.environ.get("OLLAMA_STAND_IN_KNOBS", "/etc/ollama-stand-in.json"))
WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "paper",
    "cloud",
    "bridge",
    "morning",
    "copper",
    "island",
    "winter",
    "field",
    "song",
    "table",
    "north",
    "light",
    "road",
    "harbour",
    "seed",
    "window",
]
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Busy(Exception):
    """The queue is full."""


class LoadFailed(Exception):
    """The model cannot be loaded."""


def knobs() -> dict[str, Any]:
    """Return what a test turned: load_seconds, token_seconds, vram_bytes, fail_load."""
    try:
        return json.loads(KNOBS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def seconds_of(value: Any) -> float:
    """Return a keep_alive as seconds: a number, or a text such as 5m or -1; negative means for ever."""
    if isinstance(value, str):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", value)
        number = sum(float(count) * UNITS[unit] for count, unit in parts) if parts else float(value or 0)
        value = -number if parts and value.startswith("-") else number
    return FOREVER_SECONDS if value < 0 else float(value)


def made_up_words(model: str, prompt: str, count: int) -> list[str]:
    """Return a text that depends on model and prompt alone, one word per token."""
    words: list[str] = []
    while len(words) < count:
        digest = hashlib.sha256(f"{model}\0{prompt}\0{len(words)}".encode()).digest()
        words += [WORDS[byte % len(WORDS)] + " " for byte in digest]
    return words[:count]


@dataclass
class Loaded:
    """A model in memory."""

    name: str
    entry: dict[str, Any]
    size: int
    size_vram: int
    context_length: int
    keep_seconds: float
    loading: bool = True
    error: str = ""
    users: int = 0
    expires_at: float = field(default=0.0)


class Scheduler:
    """Loads models, lets at most OLLAMA_NUM_PARALLEL requests per model run, and lets OLLAMA_MAX_QUEUE wait."""

    def __init__(self, store: Store, environment: dict[str, str]) -> None:
        self.store = store
        self.parallel = int(environment.get("OLLAMA_NUM_PARALLEL") or 1)
        self.max_queue = int(environment.get("OLLAMA_MAX_QUEUE") or 512)
        self.max_loaded = int(environment.get("OLLAMA_MAX_LOADED_MODELS") or 0) or 3
        self.context = int(environment.get("OLLAMA_CONTEXT_LENGTH") or 0) or 4096
        self.keep_seconds = seconds_of(environment.get("OLLAMA_KEEP_ALIVE") or "5m")
        self.loaded: dict[str, Loaded] = {}
        self.waiting = 0
        self.change = threading.Condition()

    def running(self) -> list[Loaded]:
        """Return what is in memory; a model that is still loading is among it, as with the real server."""
        with self.change:
            self._expire()
            return list(self.loaded.values())

    def unload(self, name: str) -> None:
        with self.change:
            self.loaded.pop(name, None)
            self.change.notify_all()

    @contextmanager
    def use(self, name: str, keep_alive: Any) -> Iterator[Loaded]:
        """Hold one place of a loaded model."""
        model = self._acquire(name, self.keep_seconds if keep_alive is None else seconds_of(keep_alive))
        try:
            yield model
        finally:
            with self.change:
                model.users -= 1
                model.expires_at = time.time() + model.keep_seconds
                self.change.notify_all()

    def _acquire(self, name: str, keep_seconds: float) -> Loaded:
        entry = self.store.entry(name)
        self.store.model_blob(name)
        with self.change:
            self._expire()
            model = self.loaded.get(name)
            if model is not None and model.entry["digest"] != entry["digest"]:
                model = self.loaded.pop(name) and None
            queued = model is not None and (model.loading or model.users >= self.parallel)
            if queued:
                if self.waiting >= self.max_queue:
                    raise Busy
                self.waiting += 1
                try:
                    while model is not None and (model.loading or model.users >= self.parallel):
                        self.change.wait(1)
                finally:
                    self.waiting -= 1
            if model is None:
                model = self._load(name, entry, keep_seconds)
            if model.error:
                raise LoadFailed(model.error)
            model.keep_seconds = keep_seconds
            model.users += 1
            return model

    def _load(self, name: str, entry: dict[str, Any], keep_seconds: float) -> Loaded:
        while len(self.loaded) >= self.max_loaded:
            idle = [other for other in self.loaded.values() if not other.users and not other.loading]
            if idle:
                del self.loaded[min(idle, key=lambda other: other.expires_at).name]
            else:
                self.change.wait(1)
        turned = knobs()
        size = entry["size"] + self.context * self.parallel * 256
        vram = 0 if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1" else int(turned.get("vram_bytes", 0))
        model = Loaded(name, entry, size, min(size, vram), self.context, keep_seconds)
        model.expires_at = time.time() + keep_seconds
        self.loaded[name] = model
        self.change.release()
        try:
            time.sleep(float(turned.get("load_seconds", 0.1)))
        finally:
            self.change.acquire()
        model.loading = False
        if turned.get("fail_load"):
            model.error = "model failed to load, this may be due to resource limitations or an internal error"
            del self.loaded[name]
        self.change.notify_all()
        return model

    def _expire(self) -> None:
        now = time.time()
        for name, model in list(self.loaded.items()):
            if not model.users and not model.loading and model.expires_at <= now:
                del self.loaded[name]
