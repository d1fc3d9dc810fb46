# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The plan for the driver of one host: what changes, what is held, and what forbids it. Pure; see docs/driver.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _shapes
from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import (
    belongs,
    installed_version,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils import _driver_plan_refusals as refuse
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import row_for
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_extras import choose_extras
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_modules import OTHER, Modules, choose_modules
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_packages import (
    Changes,
    Choice,
    Missing,
    Stock,
    choose_set,
    plan_changes,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_pin import apt_pins, dnf_pins
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_reboot import downtime, reboot_needed, units
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import Wanted, read_wanted

Finding = dict[str, Any]


def plan_driver(
    facts: Mapping[str, Any], wanted: Mapping[str, Any], distributions: Mapping[str, Any]
) -> dict[str, Any]:
    """Return driver_plan. distributions: the document of driver_facts.yml. Raises WantedError."""
    wish = read_wanted(wanted)
    if wish.source == "none":
        return _plan_to_keep(facts, wish)
    row = row_for(distributions, facts["distribution"], facts["distribution_version"], wish.source)
    refused = refuse.no_row(facts, wish, row, distributions)
    modules = choose_modules(facts, wish, distributions)
    if row is None or not row["sets"]:
        return _refused(facts, modules, [*refused, *_failed(modules.findings)])
    stock = Stock(facts["packages"], facts["available"], tuple(row["origins"]))
    modules, choice = _choose(facts, wish, row, stock, modules)
    refused += [
        *_failed(modules.findings),
        *refuse.unpackaged(facts),
        *refuse.mixed_sources(facts, row["origins"]),
        *refuse.broken_packages(facts),
    ]
    if isinstance(choice, Missing):
        return _refused(facts, modules, [*refused, refuse.version_missing(facts, wish, row, choice, distributions)])
    return _plan(facts, wish, row, stock, modules, choice, refused, distributions)


def _plan(
    facts: Mapping[str, Any],
    wish: Wanted,
    row: Mapping[str, Any],
    stock: Stock,
    modules: Modules,
    choice: Choice,
    refused: list[Finding],
    distributions: Mapping[str, Any],
) -> dict[str, Any]:
    extras, extra_refusals, warnings = choose_extras(facts, wish, row, stock, choice)
    refused += extra_refusals
    warnings = [*(one for one in modules.findings if one["status"] == "warn"), *warnings]
    changes = plan_changes(choice, extras, stock)
    _pinning_packages(stock, wish, choice, changes)
    after = _after(stock, changes)
    hold = sorted(name for name in after if belongs(name, after[name], choice.version))
    packages_change = bool(changes.install or changes.remove)
    loaded = facts["loaded_version"]
    flavour_differs = facts["loaded_flavour"] not in (None, choice.modules)
    touched = packages_change or (loaded is not None and loaded != choice.version) or flavour_differs
    not_held = [name for name in hold if not (facts["packages"].get(name) or {}).get("held")]
    changed = touched or bool(not_held)
    reboot, reason = reboot_needed(facts, choice, touched)
    stop: list[str] = []
    start: list[str] = []
    seconds = {"expected": 0, "why": "nothing that serves is touched"}
    headers = list(refuse.missing_headers(facts, choice, row))
    if touched:
        stop, start = units(facts, after, _persistenced_runs(facts, wish, after))
        seconds = downtime(facts, choice, reboot, distributions["estimates"])
        refused += [
            *headers,
            *refuse.secure_boot(facts, choice),
            *refuse.package_lock(facts),
            *refuse.disk_space(facts, distributions["estimates"]),
            *refuse.no_consent(reboot, reason, wish),
        ]
        warnings += refuse.unseen_holders(facts)
    else:
        # Nothing is built now; but the next boot would find no module.
        warnings += [{**one, "status": "warn", "severity": "warning"} for one in headers]
        warnings += refuse.not_loaded(facts, choice)
    if choice.build == "precompiled":
        warnings.append(refuse.ready_made_warning(facts))
    if row["package_manager"] == "apt":
        pin = apt_pins(choice.version, [facts["distribution"]] if wish.source == "nvidia" else ["nvidia"])
    else:
        pin = dnf_pins({name: after[name] for name in hold}, wish.branch, row.get("streams"), choice.modules)
    return {
        "schema": _shapes.SCHEMA,
        "changes": changed,
        "from": loaded or installed_version(facts["packages"]),
        "to": choice.version,
        "modules": choice.modules,
        "modules_reason": modules.reason,
        "install": dict(sorted(changes.install.items())),
        "remove": changes.remove,
        "downgrade": changes.downgrade,
        "hold": hold,
        "pin": pin,
        "reboot": reboot,
        "reboot_reason": reason,
        "stop_units": stop,
        "start_units": start,
        "downtime_seconds": seconds,
        "refusals": refused,
        "warnings": warnings,
    }


def _choose(
    facts: Mapping[str, Any], wish: Wanted, row: Mapping[str, Any], stock: Stock, modules: Modules
) -> tuple[Modules, Choice | Missing]:
    """Return the kind of modules and the packages; the other kind when either would do and only that one is there."""
    kernels = [kernel for kernel in dict.fromkeys((facts["kernel_running"], facts["kernel_newest"])) if kernel]
    needs_signature = facts["secure_boot"] == "on" and facts["mok_enrolled"] is not True

    def sets(flavour: str) -> list[Mapping[str, Any]]:
        found = [item for item in row["sets"] if item["modules"] == flavour]
        signed = [item for item in found if item["build"] == "precompiled"]
        return [*signed, *(item for item in found if item not in signed)] if needs_signature else found

    def choose(flavour: str) -> Choice | Missing:
        candidates = sets(flavour)
        if needs_signature and candidates[0]["build"] == "precompiled":
            signed = choose_set(candidates[:1], stock, wish, kernels)
            if isinstance(signed, Choice):
                return signed
        return choose_set(candidates, stock, wish, kernels)

    choice = choose(modules.flavour)
    if isinstance(choice, Missing) and modules.flexible:
        other = choose(OTHER[modules.flavour])
        if isinstance(other, Choice):
            reason = f"{modules.reason}; the archive has only the {other.modules} ones in this version"
            return Modules(other.modules, reason, True, modules.findings), other
    return modules, choice


def _pinning_packages(stock: Stock, wish: Wanted, choice: Choice, changes: Changes) -> None:
    """Take away a pinning package of NVIDIA that points at another driver."""
    fitting = {str(wish.branch), choice.version}
    for name in stock.installed():
        beginning, _dash, target = name.partition("nvidia-driver-pinning-")
        if not beginning and target and target not in fitting:
            changes.remove = sorted({*changes.remove, name})


def _after(stock: Stock, changes: Changes) -> dict[str, str]:
    """Return {package: version} as it will be."""
    kept = {name: version for name, version in stock.installed().items() if name not in changes.remove}
    return {**kept, **changes.install}


def _persistenced_runs(facts: Mapping[str, Any], wish: Wanted, after: Mapping[str, str]) -> bool:
    if wish.persistenced == "no":
        return False
    return any("persistenced" in name or "nvidia-compute-utils" in name for name in after) or (
        facts["services"]["nvidia-persistenced"] == "active"
    )


def _plan_to_keep(facts: Mapping[str, Any], wish: Wanted) -> dict[str, Any]:
    """Return the plan for a site that only wants to hold what is there."""
    stock = Stock(facts["packages"], {}, ())
    versions = stock.installed()
    version = installed_version(facts["packages"])
    hold = sorted(name for name, one in versions.items() if belongs(name, one, version))
    refused = [*refuse.broken_packages(facts)]
    pin: list[dict[str, str]] = []
    if version is not None and facts["package_manager"] == "apt":
        pin = apt_pins(version, [])
    elif version is not None and facts["package_manager"] == "dnf":
        pin = dnf_pins(versions, int(version.partition(".")[0]), None, "open")
    return {
        **_refused(
            facts, Modules(facts["loaded_flavour"] or "", "nvidia_driver_source is none: only held", False), refused
        ),
        "modules": facts["loaded_flavour"],
        "changes": any(not item["held"] for name, item in facts["packages"].items() if name in hold),
        "to": version,
        "hold": hold,
        "pin": pin,
        "reboot_reason": "nothing is installed",
    }


def _refused(facts: Mapping[str, Any], modules: Modules, refused: list[Finding]) -> dict[str, Any]:
    """Return a plan in which nothing is done."""
    return {
        "schema": _shapes.SCHEMA,
        "changes": False,
        "from": facts["loaded_version"] or installed_version(facts["packages"]),
        "to": None,
        "modules": modules.flavour,
        "modules_reason": modules.reason,
        "install": {},
        "remove": [],
        "downgrade": [],
        "hold": [],
        "pin": [],
        "reboot": "not_needed",
        "reboot_reason": "nothing can be planned",
        "stop_units": [],
        "start_units": [],
        "downtime_seconds": {"expected": 0, "why": "nothing that serves is touched"},
        "refusals": refused,
        "warnings": [],
    }


def _failed(findings: tuple[Finding, ...]) -> list[Finding]:
    return [one for one in findings if one["status"] == "fail"]
