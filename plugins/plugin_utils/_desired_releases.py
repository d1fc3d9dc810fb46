# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From the desired state of a host to the releases that its instances shall run. Call it on a checked desired state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_manifest import load_stored
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.module_utils._release import SCHEMA, release_id
from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import model_cache
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import SOURCE, names
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import ARTIFACT_FIELDS, INSTANCE_FIELDS
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_sources import (
    Files,
    is_url,
    model_digest,
    model_entry,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import Knowledge

# An archive is unpacked beside itself; packed engines grow to about this multiple.
_UNPACKED_FACTOR = 4
# What makes two releases of one pool answer differently.
_CONTENT_KEYS = (
    "engine",
    "engine_version",
    "model",
    "model_revision",
    "model_manifest_sha256",
    "served_name",
    "config",
)


def desired_releases(variables: Mapping[str, Any], knowledge: Knowledge, files: Files) -> dict[str, dict[str, Any]]:
    """Return the releases of a host by instance.

    Each has description, release_id, pool, slo_tier, model_bytes, engine_bytes and bytes_needed (the sum of both).
    """
    result: dict[str, dict[str, Any]] = {}
    for raw in variables.get("local_llm_instances") or []:
        instance = {key: spec.default for key, spec in INSTANCE_FIELDS.items()}
        instance.update({key: value for key, value in raw.items() if value is not None})
        model = variables["local_llm_models"][instance["model"]]
        description = {
            "schema": SCHEMA,
            "engine": instance["engine"],
            "engine_version": instance["engine_version"],
            "model": instance["model"],
            "model_revision": model["revision"],
            "model_manifest_sha256": model_digest(model),
            "model_entry": model_entry(model),
            "served_name": instance["served_name"],
            "port": instance["port"],
            "gpus": instance["gpus"],
            "config": knowledge.engines[instance["engine"]].complete_config(dict(instance["config"])),
        }
        model_bytes = _model_bytes(model, files, variables.get("local_llm_model_cache"))
        engine_bytes = _engine_bytes(instance, variables, files)
        result[instance["name"]] = {
            "description": description,
            "release_id": release_id(description),
            "pool": instance["pool"],
            "slo_tier": instance["slo_tier"],
            "model_bytes": model_bytes,
            "engine_bytes": engine_bytes,
            "bytes_needed": model_bytes + engine_bytes,
        }
    return result


def mixed_pools(releases: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return a warning for each pool whose instances would differ in engine, model or configuration."""
    pools: dict[str, dict[str, list[str]]] = {}
    for host, instances in releases.items():
        for name, release in instances.items():
            content = repr([release["description"][key] for key in _CONTENT_KEYS])
            pools.setdefault(release["pool"], {}).setdefault(content, []).append(f"{host}/{name}")
    return [
        finding(
            "mixed_pool",
            "warn",
            f"pool {pool}",
            observed="; ".join(names(users) for users in groups.values()),
            expected="the same engine, model and configuration on every instance",
            action="Clients get different answers by chance. Make the instances equal, or use two pools.",
            source=SOURCE,
        )
        for pool, groups in pools.items()
        if len(groups) > 1
    ]


def _model_bytes(model: Mapping[str, Any], files: Files, cache: str | None) -> int:
    if model["source"] != "directory":
        known = load_stored(str(model_cache(cache) / "manifests"), model_digest(model))
        return sum(known["sizes"].values()) if known else 0
    root = model["path"].rstrip("/")
    return sum(files.size_bytes(f"{root}/{name}") or 0 for name in model["files"])


def _engine_bytes(instance: Mapping[str, Any], variables: Mapping[str, Any], files: Files) -> int:
    artifacts = variables.get(f"{instance['engine']}_artifacts") or {}
    artifact = artifacts.get(instance["engine_version"]) or {}
    if artifact.get("method") == "venv":
        return int(artifact.get("size_bytes") or ARTIFACT_FIELDS["venv"]["size_bytes"].default)
    src = artifact.get("src")
    if not src or is_url(src):
        return 0
    return (files.size_bytes(src) or 0) * _UNPACKED_FACTOR
