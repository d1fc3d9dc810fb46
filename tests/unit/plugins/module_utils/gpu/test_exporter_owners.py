# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of a GPU by the kind of its owner: few kinds, and nothing counted twice."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_owners import (
    OWNERS,
    memory_by_owner,
    owner_of,
)


@pytest.mark.parametrize(
    ("control_groups", "owner"),
    [
        (None, "gone"),
        ("", "other"),
        ("nonsense", "other"),
        ("0::/", "other"),
        ("0::/init.scope", "other"),
        ("0::/system.slice/system-local\\x2dllm.slice/local-llm@chat.service", "instance"),
        ("0::/system.slice/system-local\\x2dllm.slice/local-llm@chat.service/worker", "instance"),
        ("0::/system.slice/ollama.service", "service"),
        ("0::/system.slice/ssh.service", "service"),
        ("0::/user.slice/user-1000.slice/session-3.scope", "login"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "login"),
        ("0::/system.slice/docker-0123456789abcdef.scope", "container"),
        ("0::/machine.slice/libpod-0123456789abcdef.scope/container", "container"),
        ("0::/kubepods.slice/kubepods-besteffort.slice/cri-containerd-01.scope", "container"),
        ("0::/kubepods/besteffort/pod1/0123", "container"),
        ("12:devices:/docker/0123\n1:name=systemd:/docker/0123\n0::/docker/0123", "container"),
        ("12:devices:/system.slice/x.service\n1:name=systemd:/system.slice/local-llm@a.service", "instance"),
    ],
)
def test_the_control_group_tells_the_owner(control_groups: str | None, owner: str) -> None:
    assert owner_of(control_groups) == owner
    assert owner in OWNERS


def process(pid: int, memory: int | None, owner: str = "instance") -> dict[str, Any]:
    return {"pid": pid, "memory_bytes": memory, "owner": owner}


@pytest.mark.parametrize(
    ("processes", "used", "sliced", "expected"),
    [
        ([], 10, False, {"nobody": 10}),
        ([process(1, 6), process(2, 3)], 10, False, {"instance": 9, "nobody": 1}),
        ([process(1, 6), process(1, 6)], 10, False, {"instance": 6, "nobody": 4}),
        ([process(1, 6), process(2, 4, "gone")], 10, False, {"instance": 6, "gone": 4, "nobody": 0}),
        ([process(1, 20)], 10, False, {"instance": 20, "nobody": 0}),
        ([process(1, None), process(2, 3)], 10, False, {"instance": 3}),
        ([process(1, 6)], 10, True, {"instance": 6}),
        ([process(1, 6)], None, False, {"instance": 6}),
    ],
    ids=["none", "some", "listed twice", "dead", "more than used", "not told", "MIG", "total not told"],
)
def test_memory_of_nobody_is_told_only_when_all_other_memory_is(
    processes: list[dict[str, Any]], used: int | None, sliced: bool, expected: dict[str, int]
) -> None:
    assert memory_by_owner(processes, used, sliced) == expected
