# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Golden sets: what a model once answered under one origin, kept to compare with. One file for each set.

They hold texts, so they are for root only (0600) and never part of a result.
{"schema": 2, "kind": "golden", "origin": {...}|null, "recorded_at": ISO8601 UTC,
 "entries": {prompt_sha256: {"sha256", "text", "finish_reason"}}}
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._quality_origin import origin_id

SCHEMA = 2
GOLDEN_MODE = 0o600
DIRECTORY_MODE = 0o700
# Sets of one model that stay: the release before, the one before that, and room for trials.
KEPT_SETS = 6


class GoldenError(ValueError):
    """The golden file cannot be read or is none; the text names the file and the fix."""


@dataclass(frozen=True)
class Recorded:
    """One recorded answer."""

    text: str
    finish_reason: str | None = None


def load_golden(path: str) -> dict[str, Any] | None:
    """Return a golden set, or None when there is none. A damaged file is an error, never an empty one."""
    try:
        with open(path, encoding="utf-8") as stream:
            golden = json.load(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise GoldenError(
            f"golden set {path} cannot be read ({exc}); mend it, or record again with record=true"
        ) from exc
    entries = golden.get("entries") if isinstance(golden, dict) else None
    if (
        not isinstance(golden, dict)
        or golden.get("schema") != SCHEMA
        or golden.get("kind") != "golden"
        or not isinstance(entries, dict)
        or not isinstance(golden.get("origin"), (dict, type(None)))
    ):
        raise GoldenError(f"golden set {path} is none of schema {SCHEMA}; record again with record=true")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or any(not isinstance(entry.get(key), str) for key in ("sha256", "text")):
            raise GoldenError(
                f"golden set {path}, entry {name!r} lacks a text or a hash; record again with record=true"
            )
        if sha256_hex(entry["text"]) != entry["sha256"]:
            raise GoldenError(
                f"golden set {path}, entry {name!r} was changed by hand (hash differs); record again with record=true"
            )
    return golden


def make_golden(
    origin: dict[str, Any] | None,
    answers: dict[str, Recorded],
    old: dict[str, Any] | None = None,
    recorded_at: str = "",
) -> dict[str, Any]:
    """Return the golden set with these answers, given as {prompt_sha256: answer}.

    Answers of the same origin to other prompts stay. The time stays too when nothing else has changed.
    """
    entries = dict(old["entries"]) if old and old["origin"] == origin else {}
    entries.update(
        {
            name: {"sha256": sha256_hex(answer.text), "text": answer.text, "finish_reason": answer.finish_reason}
            for name, answer in answers.items()
        }
    )
    new = {"schema": SCHEMA, "kind": "golden", "origin": origin, "recorded_at": recorded_at, "entries": entries}
    return old if old and {**old, "recorded_at": ""} == {**new, "recorded_at": ""} else new


def recorded(golden: dict[str, Any] | None, prompt_sha256: str) -> Recorded | None:
    """Return what was answered to a prompt, None when that was not recorded."""
    entry = golden["entries"].get(prompt_sha256) if golden else None
    return Recorded(entry["text"], entry.get("finish_reason")) if entry else None


def save_golden(path: str, golden: dict[str, Any]) -> None:
    """Write the golden set, readable by its owner only."""
    write_json_atomic(path, golden, GOLDEN_MODE)


def hashes_of(golden: dict[str, Any] | None) -> dict[str, str]:
    """Return {hash of the prompt: hash of the text}: what may be shown."""
    return {name: entry["sha256"] for name, entry in golden["entries"].items()} if golden else {}


# The sets of a host: <directory>/<model>/<origin id>.json


def set_path(directory: str, origin: dict[str, Any]) -> str:
    """Return where the set of an origin lies."""
    return os.path.join(directory, str(origin["model"]), f"{origin_id(origin)}.json")


def sets_of_model(directory: str, model: str) -> list[str]:
    """Return the sets of a model, the newest first."""
    place = os.path.join(directory, model)
    try:
        names = [name for name in os.listdir(place) if name.endswith(".json") and not name.startswith(".")]
    except FileNotFoundError:
        return []
    paths = [os.path.join(place, name) for name in names]
    return sorted(paths, key=lambda path: (-os.stat(path).st_mtime, path))


def make_room(directory: str, path: str, keep: int = KEPT_SETS) -> None:
    """Make the directory of a set, for its owner only, and remove the oldest sets of its model beyond those to keep."""
    place = os.path.dirname(path)
    os.makedirs(directory, mode=DIRECTORY_MODE, exist_ok=True)
    os.makedirs(place, mode=DIRECTORY_MODE, exist_ok=True)
    others = [found for found in sets_of_model(directory, os.path.basename(place)) if found != path]
    for found in others[keep - 1 :]:
        os.unlink(found)
