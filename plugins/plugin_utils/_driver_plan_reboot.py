# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Whether a host must reboot, which units stop and start, and how long the host is out of service. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_packages import Choice

# In this order they start; they stop the other way round. The fabric manager wants GPUs awake, DCGM the fabric.
SERVICE_ORDER = ("nvidia-persistenced", "nvidia-fabricmanager", "nvidia-dcgm")


def reboot_needed(facts: Mapping[str, Any], choice: Choice, touched: bool) -> tuple[str, str]:
    """Return not_needed, needed or maybe, and the reason for people. touched: packages or loaded modules change."""
    loaded, flavour = facts["loaded_version"], facts["loaded_flavour"]
    same_flavour = flavour in (None, choice.modules)
    if not touched:
        return "not_needed", "no package and no module changes"
    if not facts["gpus"] and loaded is None:
        return "not_needed", "there is no NVIDIA GPU here that modules could be loaded for"
    if facts["nvswitch_count"]:
        return "needed", f"the fabric of {facts['nvswitch_count']} NVSwitches comes up reliably with a boot only"
    running, newest = facts["kernel_running"], facts["kernel_newest"]
    if newest and newest != running:
        return (
            "needed",
            f"kernel {newest} is installed and {running} runs: the modules must be proven with the one to come",
        )
    if facts["secure_boot"] == "on" and loaded is None:
        return (
            "needed",
            "Secure Boot is on and no module is loaded yet: that the firmware takes the key shows at a boot",
        )
    if loaded is None:
        return (
            "maybe",
            "no module of NVIDIA is loaded; when another driver holds the GPU, as nouveau does, the host must reboot",
        )
    if not same_flavour:
        return (
            "maybe",
            f"the modules change from {flavour} to {choice.modules}; when one does not unload, the host must reboot",
        )
    return "maybe", "the modules are exchanged in place; when one does not unload, the host must reboot"


def units(
    facts: Mapping[str, Any], installed_after: Mapping[str, str], persistenced: bool
) -> tuple[list[str], list[str]]:
    """Return the units to stop and those to start afterwards, in order.

    Whoever holds a GPU stops, if a service; a person's session is nobody's to stop. What was stopped starts again, but
    for instances: they start once the driver is proven, and whoever proves it starts them.
    """
    services = facts["services"]
    holders = sorted({str(one["unit"]) for one in facts["holders"] or [] if _is_service(one["unit"])})
    own = [f"{name}.service" for name in SERVICE_ORDER]
    running = [f"{name}.service" for name in SERVICE_ORDER if services[name] == "active"]
    others = [unit for unit in holders if unit not in own]
    # Model servers first: they fail as soon as what they stand on is gone.
    stop = [*sorted(others, key=_model_server_first), *reversed(running)]
    start = []
    for name in SERVICE_ORDER:
        wanted = name == "nvidia-persistenced" and persistenced
        fabric = name == "nvidia-fabricmanager" and any(one.startswith(_FABRIC) for one in installed_after)
        if wanted or fabric or services[name] == "active":
            start.append(f"{name}.service")
    return stop, [*start, *sorted((unit for unit in others if not unit.startswith(_INSTANCES)), reverse=True)]


def downtime(facts: Mapping[str, Any], choice: Choice, reboot: str, estimates: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds that a host is out of service, and what they are made of."""
    kernels = {facts["kernel_running"], facts["kernel_newest"]} - {None}
    build = estimates["build_seconds_per_kernel"] * len(kernels) if choice.build == "dkms" else 0
    parts = [("stop", estimates["stop_seconds"]), ("packages", estimates["packages_seconds"])]
    if build:
        parts.append((f"building for {len(kernels)} kernel{'s' if len(kernels) > 1 else ''}", build))
    parts.append(
        ("reboot", estimates["reboot_seconds"]) if reboot == "needed" else ("modules", estimates["reload_seconds"])
    )
    parts.append(("verify", estimates["verify_seconds"]))
    why = ", ".join(f"{name} {seconds} s" for name, seconds in parts) + " (estimates)"
    if reboot == "maybe":
        why += f"; with a reboot {estimates['reboot_seconds']} s more"
    return {"expected": sum(seconds for _name, seconds in parts), "why": why}


_INSTANCES = "local-llm@"
_FABRIC = ("nvidia-fabricmanager", "nvidia-fabric-manager")


def _is_service(unit: str | None) -> bool:
    return unit is not None and unit.endswith(".service") and not unit.startswith("user@")


def _model_server_first(unit: str) -> tuple[bool, str]:
    return not unit.startswith(_INSTANCES), unit
