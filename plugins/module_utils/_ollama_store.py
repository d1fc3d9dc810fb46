# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Ollama's names and its store of models on disk: manifests/<host>/<namespace>/<model>/<tag> and blobs/sha256-<hex>.

Plain data in and out. The layout and the media types are those that Ollama's own store has.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
MEDIA_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MEDIA_CONFIG = "application/vnd.docker.container.image.v1+json"
MEDIA_MODEL = "application/vnd.ollama.image.model"
MEDIA_TEMPLATE = "application/vnd.ollama.image.template"
MEDIA_PARAMS = "application/vnd.ollama.image.params"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_DIGEST = re.compile(r"(?:sha256[:-])?([0-9a-fA-F]{64})")


class OllamaStoreError(ValueError):
    """A name, a digest or a manifest that cannot be used. The text names the value and the fix."""


@dataclass(frozen=True)
class ModelName:
    """The four parts of a model's name."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def short(self) -> str:
        """The name as /api/tags and /v1/models show it: always with a tag, without the default host and namespace."""
        text = f"{self.model}:{self.tag}"
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{text}"
        return text if self.namespace.lower() == DEFAULT_NAMESPACE else f"{self.namespace}/{text}"

    @property
    def manifest_path(self) -> str:
        """The path of its manifest inside the store."""
        return f"manifests/{self.host}/{self.namespace}/{self.model}/{self.tag}"

    def with_tag(self, tag: str) -> ModelName:
        return ModelName(self.host, self.namespace, self.model, tag)


def parse_name(text: str) -> ModelName:
    """Return the parts of a name such as chat, llama3.2:1b, team/chat:v2 or registry.example.com/team/chat:v2."""
    rest, tag = text, DEFAULT_TAG
    if text.rfind(":") > text.rfind("/"):
        rest, tag = text.rsplit(":", 1)
    parts = rest.split("/")
    fix = "Write it like 'chat', 'llama3.2:1b', 'team/chat:v2' or 'registry.example.com/team/chat:v2'."
    if "@" in text:
        raise OllamaStoreError(
            f"name {text!r}: Ollama cannot fetch by digest. Give the tag as name and the digest as digest."
        )
    if len(parts) > 3:
        raise OllamaStoreError(f"name {text!r}: has more than host, namespace and model. {fix}")
    host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE, ""][: 3 - len(parts)] + parts
    if not (
        _HOST.fullmatch(host) and _NAMESPACE.fullmatch(namespace) and _PART.fullmatch(model) and _PART.fullmatch(tag)
    ):
        raise OllamaStoreError(f"name {text!r}: Ollama does not take this name. {fix}")
    return ModelName(host, namespace, model, tag)


def parse_digest(text: str) -> str:
    """Return a digest as 64 small hex digits; it may carry sha256: in front."""
    match = _DIGEST.fullmatch(text.strip())
    if match is None:
        raise OllamaStoreError(
            f"digest {text!r}: must be 64 hex digits, with or without sha256: in front. "
            "The list of a server, /api/tags, shows it in full; 'ollama list' shows only its first 12 digits."
        )
    return match.group(1).lower()


def rollback_name(name: ModelName, digest: str) -> ModelName:
    """Return the name under which the layers of an old digest are kept."""
    return name.with_tag(f"prev-{digest[:12]}")


@dataclass(frozen=True)
class Blob:
    """A small blob of a store: its media type and its text."""

    media_type: str
    text: str

    @property
    def digest(self) -> str:
        return sha256_hex(self.text)

    def layer(self) -> dict[str, Any]:
        return {
            "mediaType": self.media_type,
            "digest": f"sha256:{self.digest}",
            "size": len(self.text.encode("utf-8")),
        }


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def config_blob(family: str = "", renderer: str = "", parser: str = "") -> Blob:
    """Return the configuration of a model that is one GGUF file."""
    content: dict[str, Any] = {
        "model_format": "gguf",
        "model_family": family,
        "model_families": [family] if family else None,
        "model_type": "",
        "file_type": "",
    }
    content.update({key: value for key, value in (("renderer", renderer), ("parser", parser)) if value})
    return Blob(MEDIA_CONFIG, _compact({**content, "architecture": "amd64", "os": "linux"}) + "\n")


def extra_blobs(template: str = "", parameters: dict[str, Any] | None = None) -> list[Blob]:
    """Return the layers that stand beside the model's own."""
    blobs = [Blob(MEDIA_TEMPLATE, template)] if template else []
    if parameters:
        blobs.append(Blob(MEDIA_PARAMS, _compact(parameters) + "\n"))
    return blobs


def manifest_format(config: Blob, extra: list[Blob]) -> str:
    """Return the manifest with %s twice: for the hex digits of the GGUF file's SHA-256, and for its size in bytes."""
    layers = [
        f'{{"mediaType":"{MEDIA_MODEL}","digest":"sha256:%s","size":%s}}',
        *(_compact(blob.layer()) for blob in extra),
    ]
    return (
        f'{{"schemaVersion":2,"mediaType":"{MEDIA_MANIFEST}","config":{_compact(config.layer())},'
        f'"layers":[{",".join(layers)}]}}\n'
    )


def manifest_text(config: Blob, extra: list[Blob], gguf_sha256: str, gguf_bytes: int) -> str:
    """Return the manifest of a model that is one GGUF file."""
    return manifest_format(config, extra) % (parse_digest(gguf_sha256), str(int(gguf_bytes)))


def manifest_blobs(text: str) -> dict[str, int]:
    """Return digest (hex) -> size of everything that a manifest names; raise OllamaStoreError when it is none."""
    try:
        manifest = json.loads(text)
        entries = [manifest["config"], *manifest["layers"]]
        return {parse_digest(str(entry["digest"])): int(entry["size"]) for entry in entries if entry.get("digest")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OllamaStoreError(f"this is no manifest of Ollama ({error}). Fetch the model again.") from error
