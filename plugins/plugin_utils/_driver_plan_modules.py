# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Open or proprietary kernel modules, by the generation of the GPUs, and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import source_urls
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import Wanted

# Packages that bring modules; nvidia-headless-no-dkms-580 and the like bring none.
_KERNEL_PACKAGE = re.compile(
    r"nvidia-(?:tesla-(?:\d+-)?)?(?:open-)?kernel-(?:open-)?dkms|nvidia-dkms(?:-.*)?|kmod-nvidia-.*|linux-modules-nvidia-.*"
)
OTHER = {"open": "proprietary", "proprietary": "open"}


@dataclass(frozen=True)
class Modules:
    """The kind of modules. flexible: the other kind would do as well, when the archive lacks this one."""

    flavour: str
    reason: str
    flexible: bool
    findings: tuple[dict[str, Any], ...] = ()


def choose_modules(facts: Mapping[str, Any], wanted: Wanted, document: Mapping[str, Any]) -> Modules:
    """Return open or proprietary, the reason for people, and what speaks against it."""
    known = document["generations"]
    generations = sorted({gpu["generation"] for gpu in facts["gpus"]})
    need = [name for name in generations if known.get(name, {}).get("open_modules") == "required"]
    never = [name for name in generations if known.get(name, {}).get("open_modules") == "never"]
    findings = _branch_findings(generations, wanted, document)
    if need and never:
        sources = known[need[0]]["source"]
        clash = finding(
            "driver_modules",
            "fail",
            "kernel modules",
            observed=f"GPUs of {', '.join(need)} and of {', '.join(never)} in one host",
            expected="GPUs that one kind of modules serves",
            action=f"{', '.join(need)} needs the open modules, {', '.join(never)} the proprietary. Take one kind out.",
            source=source_urls(document, sources),
        )
        return Modules("open", f"{', '.join(need)} needs the open modules", False, (*findings, clash))
    only = "open" if need else "proprietary" if never else None
    if wanted.modules != "auto":
        if only and only != wanted.modules:
            findings = (*findings, _wrong_modules(wanted.modules, only, need or never, document))
        return Modules(wanted.modules, f"nvidia_driver_modules says {wanted.modules}", False, findings)
    if only:
        what = ", ".join(need or never)
        return Modules(only, f"GPUs of the generation {what} work with the {only} modules only", False, findings)
    return _by_default(facts, wanted, generations, document, findings)


def _by_default(
    facts: Mapping[str, Any],
    wanted: Wanted,
    generations: list[str],
    document: Mapping[str, Any],
    findings: tuple[dict[str, Any], ...],
) -> Modules:
    first = document["open_by_default"]["from_branch"]
    what = f"GPUs of the generation {', '.join(generations)} work with both" if generations else "no GPU says otherwise"
    if "unknown" in generations:
        ids = ", ".join(sorted({gpu["device_id"] for gpu in facts["gpus"] if gpu["generation"] == "unknown"}))
        what = f"the generation of the device {ids} is not known"
        findings = (*findings, _unknown_generation(ids))
    here = flavour_here(facts)
    if here:
        # One change at a time: a new version is enough to prove.
        return Modules(here, f"{what}, and the host has the {here} ones", True, findings)
    if wanted.branch >= first:
        return Modules(
            "open", f"{what}, and NVIDIA's default from branch {first} on are the open modules", True, findings
        )
    return Modules(
        "proprietary", f"{what}, and before branch {first} NVIDIA's default are the proprietary modules", True, findings
    )


def flavour_here(facts: Mapping[str, Any]) -> str | None:
    """Return the kind of modules that is loaded, else the one that is installed, None without any."""
    if facts["loaded_flavour"]:
        return str(facts["loaded_flavour"])
    names = [
        name
        for name, item in facts["packages"].items()
        if item["status"] == "installed" and _KERNEL_PACKAGE.fullmatch(name)
    ]
    kinds = {"open" if "-open" in name else "proprietary" for name in names}
    return kinds.pop() if len(kinds) == 1 else None


def _branch_findings(generations: list[str], wanted: Wanted, document: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = []
    for name in generations:
        limits = document["generations"].get(name)
        if limits is None:
            continue
        first, last = limits["first_branch"], limits["last_branch"]
        if last is not None and wanted.branch > last:
            found.append(
                _outside(name, wanted, f"branch {last} or older", f"{last} is the last that serves", limits, document)
            )
        if first is not None and wanted.branch < first:
            found.append(
                _outside(
                    name, wanted, f"branch {first} or newer", f"{first} is the first that serves", limits, document
                )
            )
    return tuple(found)


def _outside(
    name: str, wanted: Wanted, expected: str, why: str, limits: Mapping[str, Any], document: Mapping[str, Any]
) -> dict[str, Any]:
    return finding(
        "driver_generation",
        "fail",
        f"GPUs of the generation {name}",
        observed=f"branch {wanted.branch}",
        expected=expected,
        action=f"Set nvidia_driver_version to a version of a branch that serves them: {why} {name}.",
        source=source_urls(document, limits["source"]),
    )


def _wrong_modules(given: str, only: str, generations: list[str], document: Mapping[str, Any]) -> dict[str, Any]:
    return finding(
        "driver_modules",
        "fail",
        "kernel modules",
        observed=given,
        expected=only,
        action=f"GPUs of the generation {', '.join(generations)} work with the {only} modules only. "
        f"Set nvidia_driver_modules to {only}, or leave it auto.",
        source=source_urls(document, document["generations"][generations[0]]["source"]),
    )


def _unknown_generation(ids: str) -> dict[str, Any]:
    return finding(
        "driver_generation",
        "warn",
        f"GPU with the device id {ids}",
        observed="generation not known",
        expected="a generation that this collection knows",
        action="Look up which modules this GPU takes, and set nvidia_driver_modules to open or proprietary.",
        source="https://pci-ids.ucw.cz",
    )
