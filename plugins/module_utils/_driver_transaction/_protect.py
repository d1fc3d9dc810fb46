# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Holds, and the files of the plan for apt and unattended-upgrades: what keeps a driver where it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import Host
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import atomic_write, read_text


def pinned_files(plan: Mapping[str, Any] | None) -> dict[str, str]:
    """Return {path: content} of the files that keep the driver of a plan where it is."""
    return {str(one["path"]): str(one["content"]) for one in (plan or {}).get("pin") or []}


def read_files(host: Host, paths: Sequence[str]) -> dict[str, str | None]:
    """Return {path: content}, None for a file that is not there."""
    return {path: read_text(host.path(path)) for path in paths}


def write_files(host: Host, files: Mapping[str, str | None]) -> list[str]:
    """Write files, remove those with None, and return the paths that changed."""
    changed = []
    for path, content in files.items():
        place = host.path(path)
        if read_text(place) == content:
            continue
        changed.append(path)
        if content is None:
            with suppress(FileNotFoundError):
                os.unlink(place)
        else:
            os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
            atomic_write(place, content, 0o644)
    return changed


def protect(host: Host, files: Mapping[str, str | None], held: Sequence[str], released: Sequence[str]) -> list[str]:
    """Write the files, hold the one packages and release the others. Return the files that changed."""
    changed = write_files(host, files)
    apt.unhold(host, [name for name in released if name not in held])
    apt.hold(host, held)
    return changed
