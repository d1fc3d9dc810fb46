# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Holds, apt preferences and the blacklist of unattended-upgrades: what keeps a driver where it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import Host
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import atomic_write, read_text

BLACKLIST = "/etc/apt/apt.conf.d/52local-llm-driver"
_BLACKLIST_HEAD = """// Written by local_llm.ops: the driver changes by its own playbook, never by unattended upgrades.
// local_llm.ops.driver with nvidia_driver_state: absent takes this file away.
Unattended-Upgrade::Package-Blacklist {
"""


def blacklist(names: Sequence[str]) -> str:
    """Return the settings that keep unattended-upgrades off these packages."""
    bare = sorted({name.partition(":")[0] for name in names})
    # Brackets, not backslashes: apt's settings have a meaning of their own for those.
    patterns = [re.sub(r"([.+])", r"[\1]", name) for name in bare]
    return _BLACKLIST_HEAD + "".join(f'    "^{pattern}$";\n' for pattern in patterns) + "};\n"


def wanted_files(plan: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return {path: content} of the files that protect the packages."""
    files = {str(one["path"]): str(one["content"]) for one in plan.get("pin") or []}
    return {BLACKLIST: blacklist(names), **files} if names else files


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
