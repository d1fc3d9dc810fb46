# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The small file through which a module tells how far it is, while it runs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any


def write_progress(path: str, state: Mapping[str, Any]) -> None:
    """Replace the file. A file that cannot be written is no reason to end the work.

    state: `line` is what a person is shown, `seconds` the time since it began, `count` what changes while it moves.
    """
    with contextlib.suppress(OSError):
        temporary = f"{path}.new"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(dict(state), stream)
        os.replace(temporary, path)


def time_text(seconds: float) -> str:
    """Return a time for people."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
