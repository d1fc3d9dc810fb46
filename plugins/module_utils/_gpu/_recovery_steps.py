# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which step of a recovery is written down, by the state that gpu_recovery was called with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _recovery_mark as mark_of
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _recovery_record as record
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery_host import (
    boot_seconds,
    read_boot_id,
    servers_of,
)


def step(
    options: Mapping[str, Any], state: dict[str, Any], document: dict[str, Any], now: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the host remembers after one of the states that write. options: those of gpu_recovery."""
    name, plan = options["state"], options["plan"]
    boot = read_boot_id(options["procfs_root"])
    if name in ("begun", "acting", "verified", "waiting") or (name == "failed" and plan):
        record.check_plan(plan)
    if name == "begun":
        return record.begun(
            state,
            document,
            plan,
            servers=servers_of(options["gateways"], options["instances"], plan["instances"], options["host_name"]),
            services=options["services"],
            by=options["by"],
            boot_id=boot,
            now_seconds=now,
        )
    if name == "acting":
        booted = boot_seconds(options["procfs_root"], now)
        return record.acting(state, document, plan, boot_id=boot, boot_seconds=booted, now_seconds=now)
    if name == "verified":
        health = options["health"]
        if "findings" not in health:
            raise record.StepError("health: it has no findings. Hand over what gpu_health returned after the action.")
        return record.verified(state, document, plan, health["findings"], health.get("gpus") or [])
    if name == "failed":
        return record.failed(state, document, plan, options["reason"], boot_id=boot, now_seconds=now)
    if name == "waiting":
        return record.waiting(state, document, plan, options["waits_for"], options["advice"], now)
    if name == "let_in":
        return state, mark_of.let_in(document, [one["name"] for one in options["instances"]])
    address = record.check_address(options["gpu"])
    return record.cleared(state, document, address, options["reason"], options["by"], now)
