# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Facts about files on the controller, with SHA-256 remembered per path, size and change time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def controller_path(loader: Any, given: str) -> Path:
    """Return the file that a user means: as seen from where the command was typed, or else beside the playbook.

    loader: Ansible's DataLoader, which alone knows the playbook's directory.
    """
    path = Path(given).expanduser()
    typed = path.absolute()
    return typed if path.is_absolute() or typed.exists() else Path(loader.path_dwim(str(path)))


@dataclass
class ControllerFiles:
    """Look at files on the controller. Large files are hashed once, also across runs when a cache path is given."""

    cache_path: Path | None = None
    _memo: dict[str, str] = field(default_factory=dict)
    _loaded: bool = False
    _dirty: bool = False

    def is_dir(self, path: str) -> bool:
        """Tell whether the path is a directory."""
        return os.path.isdir(path)

    def size_bytes(self, path: str) -> int | None:
        """Return the size of a regular file, or None when there is none that can be read."""
        try:
            return os.stat(path).st_size if os.path.isfile(path) and os.access(path, os.R_OK) else None
        except OSError:
            return None

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file as 64 hex digits."""
        self._load()
        info = os.stat(path)
        key = f"{os.path.realpath(path)}|{info.st_size}|{info.st_mtime_ns}"
        if key not in self._memo:
            digest = hashlib.sha256()
            with open(path, "rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
            self._memo[key] = digest.hexdigest()
            self._dirty = True
        return self._memo[key]

    def text(self, path: str) -> str:
        """Return the text of a small file."""
        return Path(path).read_text(encoding="utf-8", errors="replace")

    def save(self) -> None:
        """Write the remembered digests; a cache that cannot be written is no error, only slower next time."""
        if self.cache_path is None or not self._dirty:
            return
        with contextlib.suppress(OSError):
            self.cache_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self.cache_path.parent, prefix=".sha256-")
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(self._memo, stream)
            os.replace(name, self.cache_path)
            self._dirty = False

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if self.cache_path is None:
            return
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(self.cache_path.read_text(encoding="utf-8"))
            if isinstance(stored, dict):
                self._memo.update({k: v for k, v in stored.items() if isinstance(k, str) and isinstance(v, str)})


def model_cache(chosen: str | None) -> Path:
    """Return where the controller keeps models that it fetched: local_llm_model_cache, or the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.path.expanduser(chosen)) if chosen else Path(base) / "local_llm" / "models"


def default_cache_path() -> Path:
    """Return where digests are remembered between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "local_llm" / "sha256.json"
