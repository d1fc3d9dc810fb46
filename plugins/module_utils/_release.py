# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a release is: validation, id, release.json, the dead-man's record, states, retention. Plain data in and out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex

SCHEMA = 1

INSTANCE_STATES = (
    "pending",
    "drained",
    "staged",
    "switching",
    "warming",
    "verifying",
    "healthy",
    "rolling_back",
    "rolled_back_verified",
    "rollback_failed",
    "unknown",
)

_INSTANCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RELEASE_ID = re.compile(r"[0-9a-f]{12}")
_PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~:@-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROLLOUT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")
_GPU = re.compile(r"[0-9]+|(GPU|MIG)-[0-9a-fA-F-]+")
_GPU_LIST = re.compile(r"[0-9]+(,[0-9]+)*")

# Keys that become one part of a path on the host.
_PATH_PART_KEYS = ("engine", "engine_version", "model", "model_revision")
DESCRIPTION_KEYS = (
    "schema",
    "engine",
    "engine_version",
    "model",
    "model_revision",
    "model_manifest_sha256",
    "model_entry",
    "served_name",
    "port",
    "gpus",
    "config",
)


class ReleaseError(Exception):
    """What a person must read: it names the thing, the value and the fix. Details travel into the module's result."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def instance_name_problem(name: str) -> str | None:
    """Return what is wrong with the name of an instance, or None."""
    if _INSTANCE.fullmatch(name):
        return None
    return f"instance {name!r}: use 1 to 63 lower-case letters, digits, '-' and '_', starting with a letter or digit"


def rollout_id_problem(rollout_id: str | None) -> str | None:
    """Return what is wrong with the id of a rollout, or None. The dead-man reads it with sed, so quotes are refused."""
    if rollout_id is None or _ROLLOUT_ID.fullmatch(rollout_id):
        return None
    return f"rollout_id {rollout_id!r}: use 1 to 100 letters, digits and . _ : + -, starting with a letter or digit"


def release_id_problem(identity: str) -> str | None:
    """Return what is wrong with the id of a release, or None."""
    if _RELEASE_ID.fullmatch(identity):
        return None
    return f"release_id {identity!r}: it must be the 12 hex digits that state=staged returned"


def _is_int(value: Any) -> bool:
    """Tell whether a value is a whole number; true and false are none, though Python takes them for 1 and 0."""
    return isinstance(value, int) and not isinstance(value, bool)


def _entry_problem(entry: Any) -> str | None:
    if not isinstance(entry, str):
        return f"model_entry must be text, not {entry!r}"
    if entry.startswith("/") or ".." in entry.split("/") or any(ord(letter) < 32 for letter in entry):
        return f"model_entry {entry!r} must be a path inside the model's directory, without '..'"
    return None


def _gpus_problem(gpus: Any) -> str | None:
    if gpus in ("all", "none") or (isinstance(gpus, str) and _GPU_LIST.fullmatch(gpus)):
        return None
    if isinstance(gpus, list) and all(type(gpu) in (int, str) and _GPU.fullmatch(str(gpu)) for gpu in gpus):
        return None
    return f"gpus {gpus!r} must be 'all', 'none' or a list of GPU numbers or UUIDs such as [0, 1]"


def _config_problem(config: Any) -> str | None:
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        return f"config must be a dictionary of engine options, not {config!r}"
    try:
        canonical_json(config)
    except (TypeError, ValueError) as error:
        return (
            f"config holds a value that JSON cannot hold ({error}); use text, numbers, booleans, lists and dictionaries"
        )
    return None


def validate_description(description: Any) -> list[str]:
    """Return everything that is wrong with the description of a release, one sentence each; empty when it is right."""
    if not isinstance(description, dict):
        return [f"release must be a dictionary, not {type(description).__name__}"]
    problems = [
        f"release has no key {key!r}; all of {', '.join(DESCRIPTION_KEYS)} are needed"
        for key in DESCRIPTION_KEYS
        if key not in description
    ]
    problems += [
        f"release has the unknown key {key!r}; remove it or correct its spelling"
        for key in sorted(set(map(str, description)) - set(DESCRIPTION_KEYS))
    ]
    if problems:
        return problems
    if not _is_int(description["schema"]) or description["schema"] != SCHEMA:
        problems.append(f"schema {description['schema']!r} is not known here; this collection writes schema {SCHEMA}")
    for key in _PATH_PART_KEYS:
        value = description[key]
        if not isinstance(value, str) or not _PATH_PART.fullmatch(value):
            problems.append(
                f"{key} {value!r} must be text of letters, digits and . _ + ~ : @ -, starting with a letter or digit"
            )
    digest = description["model_manifest_sha256"]
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        problems.append(f"model_manifest_sha256 {digest!r} must be 64 lower-case hex digits")
    name = description["served_name"]
    if not isinstance(name, str) or not name or any(ord(letter) < 33 for letter in name):
        problems.append(f"served_name {name!r} must be text without spaces")
    port = description["port"]
    if not _is_int(port) or not 1 <= port <= 65535:
        problems.append(f"port {port!r} must be a whole number from 1 to 65535")
    more = (
        _entry_problem(description["model_entry"]),
        _gpus_problem(description["gpus"]),
        _config_problem(description["config"]),
    )
    return problems + [problem for problem in more if problem]


def release_id(description: dict[str, Any]) -> str:
    """Return the id of a release: the first 12 hex digits of the SHA-256 of its canonical JSON."""
    return sha256_hex(canonical_json(description))[:12]


def release_text(description: dict[str, Any]) -> str:
    """Return the text of release.json. It carries no time, so that it is the same on every host."""
    return canonical_json({"schema": SCHEMA, "id": release_id(description), "description": description}) + "\n"


def read_release_text(text: str, expected_id: str) -> dict[str, Any]:
    """Return the description in the text of a release.json; raise ValueError with the reason when it does not hold."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"release.json is not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("description"), dict):
        raise ValueError("release.json holds no description")
    found = release_id(content["description"])
    if content.get("id") != expected_id or found != expected_id:
        raise ValueError(f"release.json belongs to release {found}, not to {expected_id}")
    return content["description"]


def manifest_digest(manifest: Any) -> str:
    """Return the digest of a model manifest: of {path: sha256}, which may lie under the key files."""
    files = (
        manifest.get("files") if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) else manifest
    )
    if not isinstance(files, dict):
        raise ValueError("the manifest is not a dictionary of path to SHA-256")
    plain = {}
    for path, value in files.items():
        digest = value.get("sha256") if isinstance(value, dict) else value
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ValueError(f"the manifest's entry {path!r} has no SHA-256 of 64 hex digits")
        plain[path] = digest
    return sha256_hex(canonical_json(plain))


def armed_record(
    *,
    boot_id: str,
    uptime_seconds: float,
    commit_timeout_seconds: int,
    deadline_at: str,
    release: str,
    revert_to: str | None,
    previous_before: str | None,
    rollout_id: str | None,
) -> dict[str, Any]:
    """Return the content of armed.json: to what, and by when, the dead-man goes back."""
    return {
        "schema": SCHEMA,
        "boot_id": boot_id,
        "deadline_uptime_seconds": math.ceil(uptime_seconds) + commit_timeout_seconds,
        "deadline_at": deadline_at,
        "revert_to": revert_to,
        "previous_before": previous_before,
        "release": release,
        "rollout_id": rollout_id,
    }


def due_reason(armed: dict[str, Any], boot_id: str, uptime_seconds: float) -> str | None:
    """Return why the dead-man must go back now, or None while it may still wait. The revert script decides alike."""
    if armed.get("boot_id") != boot_id:
        return "the host was restarted in mid-change"
    deadline = armed.get("deadline_uptime_seconds")
    if not isinstance(deadline, int):
        return "armed.json is damaged"
    if uptime_seconds >= deadline:
        return f"not committed by {armed.get('deadline_at')}"
    return None


def state_record(
    *,
    instance: str,
    state: str,
    release: str | None,
    previous: str | None,
    rollout_id: str | None,
    updated_at: str,
    detail: str,
) -> dict[str, Any]:
    """Return the content of state.json."""
    if state not in INSTANCE_STATES:
        raise ValueError(f"state {state!r} is not one of {', '.join(INSTANCE_STATES)}")
    return {
        "schema": SCHEMA,
        "instance": instance,
        "state": state,
        "release": release,
        "previous": previous,
        "rollout_id": rollout_id,
        "updated_at": updated_at,
        "detail": detail,
    }


def releases_to_remove(staged: Sequence[tuple[str, float]], keep: int, protected: Collection[str | None]) -> list[str]:
    """Return the ids to remove so that at most `keep` stay: oldest first, never a protected one.

    staged: (id, time of staging). A protected release counts towards `keep`, and stays even when `keep` is smaller.
    """
    oldest_first = [identity for identity, _unused in sorted(staged, key=lambda pair: (pair[1], pair[0]))]
    removable = [identity for identity in oldest_first if identity not in protected]
    return removable[: max(0, len(oldest_first) - keep)]
