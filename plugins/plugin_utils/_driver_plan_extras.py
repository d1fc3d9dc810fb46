# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What comes beside the driver: fabric manager, persistence daemon, container toolkit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import CONTAINER_TOOLKIT
from ansible_collections.local_llm.ops.plugins.module_utils._driver._generations import may_have_hidden_switches
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils import _driver_plan_refusals as refuse
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_packages import (
    Choice,
    Stock,
    filled,
    side_version,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import Wanted

Finding = dict[str, Any]


def choose_extras(
    facts: Mapping[str, Any], wish: Wanted, row: Mapping[str, Any], stock: Stock, choice: Choice
) -> tuple[dict[str, str], list[Finding], list[Finding]]:
    """Return packages beside the driver, refusals and warnings."""
    found: dict[str, str] = {}
    refused: list[Finding] = []
    warnings: list[Finding] = []
    names = {key: filled(row["extras"][key], wish, choice.version) for key in row["extras"]}
    installed = refuse.fabric_installed(stock)
    if refuse.fabric_wanted(facts, wish) or (installed and wish.fabric_manager != "no"):
        refused += refuse.fabric_manager(facts, wish, stock, choice, names["fabric_manager"])
        blackwell = any(gpu["generation"] == "blackwell" for gpu in facts["gpus"])
        for key in ("fabric_manager", "nscq"):
            exact = [(name, stock.of_driver(name, choice.version)) for name in names[key]]
            found.update({name: version for name, version in exact[:] if version} if exact else {})
            _keep_first(found, names[key])
        subnet = side_version(names["subnet_manager"], stock, choice.version) if blackwell else None
        if subnet:
            found[subnet[0]] = subnet[1]
        elif blackwell:
            warnings.append(_no_subnet_manager())
    elif facts["nvswitch_count"] and wish.fabric_manager == "no":
        warnings.append(_fabric_left_out(facts))
    elif wish.fabric_manager == "auto" and any(may_have_hidden_switches(gpu["device_id"]) for gpu in facts["gpus"]):
        warnings.append(_hidden_switches())
    side = None if wish.persistenced == "no" else side_version(names["persistenced"], stock, choice.version)
    if side:
        found.setdefault(*side)
    elif wish.persistenced == "yes":
        refused.append(_not_there("nvidia-persistenced", "nvidia_driver_persistenced"))
    if wish.container_toolkit and stock.here(CONTAINER_TOOLKIT) is None:
        # It is NVIDIA's own, in a repository of its own, whatever archive the driver is from.
        offers = facts["available"].get(CONTAINER_TOOLKIT) or []
        if offers:
            found[CONTAINER_TOOLKIT] = offers[0]["version"]
        elif CONTAINER_TOOLKIT not in facts["packages"]:
            refused.append(_not_there(CONTAINER_TOOLKIT, "nvidia_driver_container_toolkit"))
    return found, refused, warnings


def _keep_first(found: dict[str, str], names: list[str]) -> None:
    """Leave only the first of several names for one thing."""
    there = [name for name in names if name in found]
    for name in there[1:]:
        del found[name]


def _not_there(package: str, variable: str) -> Finding:
    return finding(
        "driver_extras",
        "fail",
        package,
        observed="no source of the host has it",
        expected="a version to install",
        action=f"Add the archive that has it to the host's sources, or set {variable} to no.",
    )


def _fabric_left_out(facts: Mapping[str, Any]) -> Finding:
    return finding(
        "driver_fabric_manager",
        "warn",
        "fabric manager",
        observed=f"{facts['nvswitch_count']} NVSwitches, and it is not wanted",
        expected="a fabric manager of the driver's version",
        action="Without it no program starts on the GPUs. Set nvidia_driver_fabric_manager to auto.",
    )


def _hidden_switches() -> Finding:
    return finding(
        "driver_fabric_manager",
        "warn",
        "fabric manager",
        observed="GPUs whose NVSwitches the PCI bus does not show as NVIDIA's",
        expected="a word of the site",
        action="Is this an HGX or DGX with NVSwitch? Then set nvidia_driver_fabric_manager to yes, else to no.",
        source="https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/",
    )


def _no_subnet_manager() -> Finding:
    return finding(
        "driver_fabric_manager",
        "warn",
        "nvlsm",
        observed="no source of the host has it",
        expected="the NVLink subnet manager beside the fabric manager",
        action="B200 and newer need it. NVIDIA's repository has it: nvidia_driver_source: nvidia.",
    )
