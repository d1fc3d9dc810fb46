# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Begin and end of the last rollout as metrics, for node_exporter's textfile directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence

FILE_NAME = "local_llm_rollout.prom"
STARTED = "local_llm_rollout_started_timestamp_seconds"
ENDED = "local_llm_rollout_ended_timestamp_seconds"


def mark_text(
    rollout_id: str,
    playbook: str,
    started_seconds: float,
    ended_seconds: float | None = None,
    outcome: str = "",
    pools: Sequence[str] = (),
) -> str:
    """Return the content of the file: a series for each pool that changes, one without the label when none is named."""
    places = [{"pool": pool} for pool in sorted(set(pools))] or [{}]
    begun = {"rollout_id": rollout_id, "playbook": playbook}
    lines = [
        f"# HELP {STARTED} When the last rollout began.",
        f"# TYPE {STARTED} gauge",
        *(_line(STARTED, {**begun, **place}, started_seconds) for place in places),
    ]
    if ended_seconds is not None:
        lines += [
            f"# HELP {ENDED} When the last rollout ended, and how.",
            f"# TYPE {ENDED} gauge",
            *(_line(ENDED, {"rollout_id": rollout_id, "outcome": outcome, **place}, ended_seconds) for place in places),
        ]
    return "\n".join(lines) + "\n"


def write_mark(directory: str, text: str, dry: bool = False) -> bool:
    """Replace the file in one step, so that no scrape reads a half. Returns whether it changes. Raises OSError."""
    path = os.path.join(directory, FILE_NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            if stream.read() == text:
                return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    if dry:
        return True
    handle, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return True


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value:.3f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
