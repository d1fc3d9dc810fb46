# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the recovery ladder reads of a host itself: its boot, and how its GPUs can be reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_pci import collect_pci
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import RunCommand, read_text
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_units import collect_units
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._recovery import (
    Host,
    reset_together,
    reset_unsupported,
)

FABRIC_MANAGER = "nvidia-fabricmanager.service"


def read_boot_id(procfs_root: str) -> str | None:
    """Return the id of this boot, None when it cannot be read."""
    return (read_text(procfs_root, "sys/kernel/random/boot_id") or "").strip() or None


def boot_seconds(procfs_root: str, now_seconds: float) -> float | None:
    """Return when the host booted, in Unix time; None when it cannot be read."""
    try:
        return now_seconds - float((read_text(procfs_root, "uptime") or "").split()[0])
    except (ValueError, IndexError):
        return None


def read_ladder_host(
    options: Mapping[str, Any], actions: Sequence[Mapping[str, Any]], run_command: RunCommand, now_seconds: float
) -> Host:
    """Return the host as the ladder sees it. options: those of gpu_recovery; actions: those of state.json."""
    devices = collect_pci(options["sysfs_root"])
    switches = sum(1 for device in devices if device["kind"] == "nvswitch")
    manager = collect_units(run_command)[FABRIC_MANAGER]["active_state"] == "active" if switches else False
    identities = [str(device["device_id"]) for device in devices if device["kind"] == "gpu"]
    return Host(
        name=options["host_name"],
        now_seconds=now_seconds,
        boot_id=read_boot_id(options["procfs_root"]),
        boot_seconds=boot_seconds(options["procfs_root"], now_seconds),
        gpus=options["health"].get("gpus") or [],
        reset_together=reset_together(switches, manager, identities),
        reset_refused=reset_unsupported(actions) if options["gpu_reset"] else "local_llm_gpu_reset is false",
    )


def with_activity(
    instances: Sequence[Mapping[str, Any]], releases: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Return the instances with the key active: whether each is meant to run. releases: of llm_release_info."""
    if releases is None:
        return [{**one, "active": one.get("active", True)} for one in instances]
    meant = {
        one["instance"] for one in releases if one["current"] and (one["active_state"] != "inactive" or one["enabled"])
    }
    return [{**one, "active": one["name"] in meant} for one in instances]


def servers_of(
    gateways: Mapping[str, Sequence[Mapping[str, Any]]],
    instances: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    host: str,
) -> list[dict[str, Any]]:
    """Return the servers of these instances at every gateway, as they are now.

    A server under a lease is remembered as it will be after it: the lease goes with the drain.
    """
    result = []
    for instance in instances:
        if instance["name"] not in names:
            continue
        for gateway in sorted(gateways):
            for server in gateways[gateway]:
                if server["pool"] != instance["pool"] or server["server"] != f"{host}-{instance['name']}":
                    continue
                before = (server.get("lease") or {}).get("before") or {}
                result.append(
                    {
                        "gateway": gateway,
                        "pool": server["pool"],
                        "server": server["server"],
                        "instance": instance["name"],
                        "state": before.get("state", server["admin_state"]),
                        "share_percent": before.get("share_percent", server["share_percent"]),
                    }
                )
    return result
