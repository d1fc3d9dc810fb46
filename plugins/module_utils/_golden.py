# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The golden file of a quality suite: what the model once answered, kept to compare with.

It holds texts, so it is for root only (0600) and never part of a result.
{"schema": 1, "kind": "golden", "model": str, "suite_sha256": str, "entries": {id: {"prompt_sha256", "sha256", "text"}}}
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex

GOLDEN_MODE = 0o600


class GoldenError(ValueError):
    """The golden file cannot be read or is none; the text names the file and the fix."""


def load_golden(path: str) -> dict[str, Any] | None:
    """Return the golden file, or None when there is none. A damaged file is an error, never an empty one."""
    try:
        with open(path, encoding="utf-8") as stream:
            golden = json.load(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise GoldenError(
            f"golden_path: {path} cannot be read ({exc}); mend it, or record again with record=true"
        ) from exc
    entries = golden.get("entries") if isinstance(golden, dict) else None
    if (
        not isinstance(golden, dict)
        or golden.get("schema") != 1
        or golden.get("kind") != "golden"
        or not isinstance(entries, dict)
    ):
        raise GoldenError(f"golden_path: {path} is no golden file of schema 1; record again with record=true")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or any(
            not isinstance(entry.get(key), str) for key in ("prompt_sha256", "sha256", "text")
        ):
            raise GoldenError(
                f"golden_path: {path}, entry {name!r} lacks a text or a hash; record again with record=true"
            )
        if sha256_hex(entry["text"]) != entry["sha256"]:
            raise GoldenError(
                f"golden_path: {path}, entry {name!r} was changed by hand (hash differs); record again with record=true"
            )
    return golden


def make_golden(model: str, suite_sha256: str, answers: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the golden file for answers given as {id: (prompt_sha256, text)}."""
    entries = {
        name: {"prompt_sha256": prompt_sha256, "sha256": sha256_hex(text), "text": text}
        for name, (prompt_sha256, text) in answers.items()
    }
    return {"schema": 1, "kind": "golden", "model": model, "suite_sha256": suite_sha256, "entries": entries}


def save_golden(path: str, golden: dict[str, Any]) -> None:
    """Write the golden file, readable by its owner only."""
    write_json_atomic(path, golden, GOLDEN_MODE)


def hashes_of(golden: dict[str, Any] | None) -> dict[str, str]:
    """Return {id: hash of the text}: what may be shown."""
    return {name: entry["sha256"] for name, entry in golden["entries"].items()} if golden else {}
