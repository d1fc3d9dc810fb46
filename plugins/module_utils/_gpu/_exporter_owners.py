# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Who owns a process that uses a GPU, by the control group that it runs in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What a site may find as label `owner`, and nothing else: a label with names of processes would grow without bound.
INSTANCE = "instance"  # a model server of this collection
SERVICE = "service"  # another service
CONTAINER = "container"
LOGIN = "login"  # a person who is or was logged in
OTHER = "other"
GONE = "gone"  # NVML books memory to a process that has ended
NOBODY = "nobody"  # memory in use that NVML books to no process
OWNERS = (INSTANCE, SERVICE, CONTAINER, LOGIN, OTHER, GONE, NOBODY)

_INSTANCE = re.compile(r"/local-llm@[^/]+\.service(?:/|$)")
_CONTAINER = re.compile(
    r"/(?:docker|libpod|lxc|kubepods|machine\.slice)(?:/|\.slice|-|$)|/(?:docker|libpod|cri-containerd|crio)-[^/]+\.scope"
)
_SERVICE = re.compile(r"/[^/]+\.service(?:/|$)")


def owner_of(control_groups: str | None) -> str:
    """Return the owner for the content of /proc/PID/cgroup. None: there is no such process."""
    if control_groups is None:
        return GONE
    paths = [line.split(":", 2)[2] for line in control_groups.splitlines() if line.count(":") >= 2]
    for owner, pattern in ((INSTANCE, _INSTANCE), (CONTAINER, _CONTAINER)):
        if any(pattern.search(path) for path in paths):
            return owner
    # user@1000.service is a service too, but it is the person's.
    if any(path.startswith("/user.slice") for path in paths):
        return LOGIN
    if any(_SERVICE.search(path) for path in paths):
        return SERVICE
    return OTHER


def memory_by_owner(processes: Iterable[Mapping[str, Any]], used_bytes: int | None, sliced: bool) -> dict[str, int]:
    """Return bytes by owner. processes: {pid, memory_bytes, owner}; sliced: MIG is on.

    A process that is listed twice, for computing and for graphics, counts once. What belongs to nobody can be told only
    when the memory of every process is known, and not with MIG, where processes are listed at the slices.
    """
    largest: dict[int, tuple[int, str]] = {}
    complete = True
    for process in processes:
        memory = process["memory_bytes"]
        if memory is None:
            complete = False
            continue
        known = largest.get(process["pid"])
        if known is None or memory > known[0]:
            largest[process["pid"]] = (int(memory), process["owner"])
    result: dict[str, int] = {}
    for memory, owner in largest.values():
        result[owner] = result.get(owner, 0) + memory
    if complete and not sliced and used_bytes is not None:
        result[NOBODY] = max(0, used_bytes - sum(result.values()))
    return result
