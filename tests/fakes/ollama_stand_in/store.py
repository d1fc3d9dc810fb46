# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""STAND-IN for Ollama: its store of models. manifests/<host>/<namespace>/<model>/<tag>, blobs/sha256-<hex>."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any, BinaryIO

MEDIA_MODEL = "application/vnd.ollama.image.model"
DEFAULTS = ("registry.ollama.ai", "library")
# Blobs younger than this are not pruned at the start.
PRUNE_GRACE_SECONDS = 3600
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


class StoreError(Exception):
    """What the server says when something in the store is missing or wrong."""


def split_name(name: str) -> tuple[str, str, str, str]:
    """Return host, namespace, model and tag."""
    tag = "latest"
    if name.rfind(":") > name.rfind("/"):
        name, tag = name.rsplit(":", 1)
    parts = name.split("://")[-1].split("/")
    if len(parts) > 3 or not all(PART.fullmatch(part) for part in (*parts[-2:], tag)):
        raise StoreError("invalid model name")
    host, namespace = (*DEFAULTS[: 3 - len(parts)], *parts[:-1])[:2] if len(parts) < 3 else parts[:2]
    return host, namespace, parts[-1], tag


def short_name(parts: tuple[str, str, str, str]) -> str:
    """Return the name as lists show it."""
    host, namespace, model, tag = parts
    front = "" if namespace == DEFAULTS[1] else f"{namespace}/"
    return f"{host}/{namespace}/{model}:{tag}" if host != DEFAULTS[0] else f"{front}{model}:{tag}"


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def layer_digests(manifest: dict[str, Any]) -> set[str]:
    """Return every digest that a manifest names."""
    entries = [*manifest.get("layers", []), manifest.get("config", {})]
    return {entry["digest"] for entry in entries if entry.get("digest")}


class Store:
    """The directory that OLLAMA_MODELS names."""

    def __init__(self, root: Path, prune: bool) -> None:
        self.root = root
        self.prune_allowed = prune
        for name in ("blobs", "manifests"):
            (root / name).mkdir(parents=True, exist_ok=True)
        if prune:
            self.prune_unused()

    def blob(self, digest: str) -> Path:
        if not re.fullmatch(r"sha256[:-][0-9a-fA-F]{64}", digest):
            raise StoreError("invalid digest format")
        return self.root / "blobs" / digest.replace(":", "-")

    def manifest_path(self, name: str) -> Path:
        return self.root.joinpath("manifests", *split_name(name))

    def manifest(self, name: str) -> tuple[dict[str, Any], str]:
        """Return the manifest of a model and its digest (hex); raise FileNotFoundError when there is none."""
        content = self.manifest_path(name).read_bytes()
        return json.loads(content), hashlib.sha256(content).hexdigest()

    def names(self) -> list[str]:
        found = self.root.glob("manifests/*/*/*/*")
        return sorted(short_name(path.parts[-4:]) for path in found if path.is_file())  # type: ignore[arg-type]

    def entry(self, name: str) -> dict[str, Any]:
        """Return one entry of /api/tags."""
        manifest, digest = self.manifest(name)
        config = json.loads(self.blob(manifest["config"]["digest"]).read_text(encoding="utf-8"))
        size = sum(layer["size"] for layer in [*manifest["layers"], manifest["config"]])
        modified = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.manifest_path(name).stat().st_mtime))
        return {
            "name": name,
            "model": name,
            "modified_at": modified,
            "size": size,
            "digest": digest,
            "details": details(config),
        }

    def model_blob(self, name: str) -> Path:
        """Return the file with the weights of a model."""
        manifest, _digest = self.manifest(name)
        layer = next(item for item in manifest["layers"] if item["mediaType"] == MEDIA_MODEL)
        path = self.blob(layer["digest"])
        if not path.exists():
            raise StoreError(f"open {path}: no such file or directory")
        return path

    def write_manifest(self, name: str, content: bytes) -> None:
        path = self.manifest_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def add_blob(self, source: BinaryIO | io.BufferedIOBase, length: int, wanted: str | None = None) -> tuple[str, int]:
        """Write a blob under its digest; return digest and size."""
        part = self.root / "blobs" / f"sha256-{os.getpid()}-{time.monotonic_ns()}"
        digest = hashlib.sha256()
        try:
            with part.open("wb") as stream:
                left = length
                while left > 0 and (block := source.read(min(left, 1 << 20))):
                    stream.write(block)
                    digest.update(block)
                    left -= len(block)
            found = f"sha256:{digest.hexdigest()}"
            if wanted is None or wanted == found:
                part.replace(self.blob(found))
            return found, length - left
        finally:
            part.unlink(missing_ok=True)

    def used_digests(self) -> set[str]:
        """Return what the manifests name."""
        used: set[str] = set()
        for name in self.names():
            used |= layer_digests(self.manifest(name)[0])
        return used

    def remove_unused(self, candidates: set[str]) -> None:
        """Remove those of the blobs that no manifest names."""
        for digest in candidates - self.used_digests():
            self.blob(digest).unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        manifest, _digest = self.manifest(name)
        path = self.manifest_path(name)
        path.unlink()
        for parent in list(path.parents)[:3]:
            if any(parent.iterdir()):
                break
            parent.rmdir()
        self.remove_unused(layer_digests(manifest))

    def copy(self, source: str, destination: str) -> None:
        self.write_manifest(destination, self.manifest_path(source).read_bytes())

    def prune_unused(self) -> None:
        """Remove old blobs that no manifest names, as the start does."""
        used = {digest.replace(":", "-") for digest in self.used_digests()}
        for path in (self.root / "blobs").iterdir():
            if path.name not in used and time.time() - path.lstat().st_mtime >= PRUNE_GRACE_SECONDS:
                path.unlink()


def details(config: dict[str, Any]) -> dict[str, Any]:
    """Return the details of a model as lists show them."""
    return {
        "parent_model": "",
        "format": config.get("model_format", ""),
        "family": config.get("model_family", ""),
        "families": config.get("model_families"),
        "parameter_size": config.get("model_type", ""),
        "quantization_level": config.get("file_type", ""),
    }
