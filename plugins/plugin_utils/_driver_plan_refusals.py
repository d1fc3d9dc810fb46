# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What about a host forbids to touch its driver now: each with what was seen and how to mend it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import SIDE_PACKAGES, driver_version
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import known_distributions, source_urls
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_packages import Choice, Missing, Stock
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import Wanted

Finding = dict[str, Any]
_APT_FIX = "Wait until it is done, then run this again. See who it is with: ps -o pid,lstart,args -p PID"
_FABRIC_PACKAGES = ("nvidia-fabricmanager", "nvidia-fabric-manager")


def mixed_sources(facts: Mapping[str, Any], origins: list[str]) -> Iterator[Finding]:
    """Yield a refusal when the driver is from several archives, or from another than the wanted one."""
    by_origin: dict[str, list[str]] = {}
    for name, item in facts["packages"].items():
        beside = SIDE_PACKAGES.fullmatch(name.partition(":")[0]) and driver_version(item["version"]) is None
        if item["status"] != "config-files" and not beside:
            by_origin.setdefault(item["origin"], []).append(name)
    named = {origin: sorted(names) for origin, names in by_origin.items() if origin not in ("local", "unknown")}
    # Beside packages are built once for many drivers: Debian's go with NVIDIA's, the other way round nothing is mixed.
    strangers = {
        origin: [name for name in names if not SIDE_PACKAGES.fullmatch(name.partition(":")[0])]
        for origin, names in named.items()
        if origin not in origins
    }
    strangers = {origin: names for origin, names in strangers.items() if names}
    if strangers:
        observed = "; ".join(f"{origin}: {_some(names)}" for origin, names in sorted(strangers.items()))
        yield finding(
            "driver_sources",
            "fail",
            "packages of the driver",
            observed=f"installed from {observed}",
            expected=f"all from {', '.join(origins) or 'one archive'}",
            action="Two archives in one driver end in held broken packages. Take the driver away first "
            "(nvidia_driver_state: absent), then install it from one archive; or set nvidia_driver_source to the "
            "archive it is from.",
            source="apt-cache policy" if facts["package_manager"] == "apt" else "rpm -qa",
        )


def unpackaged(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a refusal when there is a driver that no package brought: nobody knows what packages do over it."""
    seen = {"module": facts["loaded_version"], "library": facts["library_version"]}
    found = [f"{what} {version}" for what, version in seen.items() if version]
    brought = [
        name
        for name, item in facts["packages"].items()
        if item["status"] != "config-files" and driver_version(item["version"])
    ]
    if found and not brought:
        yield finding(
            "driver_sources",
            "fail",
            "driver without packages",
            observed=f"{', '.join(found)}, and no package of it is installed",
            expected="a driver from packages, or none",
            action="It is from NVIDIA's installer (.run) or from a container. Take it away first: nvidia-uninstall, or "
            "the container that brings it; then reboot. Or set nvidia_driver_source to none.",
            source="/sys/module/nvidia/version, libnvidia-ml.so.1",
        )


def broken_packages(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a refusal when the package manager has not finished earlier work."""
    if facts["broken_packages"]:
        yield finding(
            "driver_packages",
            "fail",
            "package manager",
            observed=f"not finished: {_some(facts['broken_packages'])}",
            expected="every package is installed whole or not at all",
            action="Run on the host: dpkg --configure -a && apt-get -f install. Read what fails, and mend that first.",
            source="dpkg --audit",
        )


def package_lock(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a refusal when somebody else works with packages."""
    if facts["locks_held"]:
        yield finding(
            "driver_lock",
            "fail",
            "package manager",
            observed="; ".join(facts["locks_held"]),
            expected="nobody works with packages",
            action=_APT_FIX,
            source="locks of the package manager",
        )


def missing_headers(facts: Mapping[str, Any], choice: Choice, row: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a refusal for the running and for the newest kernel when modules cannot be built for it."""
    if choice.build != "dkms":
        return
    headers = {one["release"]: one["headers"] for one in facts["kernels"]}
    for kernel, what in ((facts["kernel_running"], "running"), (facts["kernel_newest"], "newest")):
        if kernel is None or headers.get(kernel) or (what == "newest" and kernel == facts["kernel_running"]):
            continue
        package = row["headers"].format(kernel=kernel)
        install = "apt-get install" if facts["package_manager"] == "apt" else "dnf install"
        yield finding(
            "driver_headers",
            "fail",
            f"the {what} kernel {kernel}",
            observed="no headers",
            expected=package,
            action=f"DKMS cannot build the modules for it: after a reboot there would be no GPU. "
            f"Run: {install} {package}. When the archive has them no more, boot one that it has, and remove this one.",
            source=f"/lib/modules/{kernel}/build",
        )


def secure_boot(facts: Mapping[str, Any], choice: Choice) -> Iterator[Finding]:
    """Yield a refusal when the firmware would not take the modules that are built."""
    if facts["secure_boot"] == "on" and choice.build == "dkms" and facts["mok_enrolled"] is not True:
        state = {False: "the key of DKMS is not enrolled", None: "no enrolled key of DKMS is known"}[
            facts["mok_enrolled"]
        ]
        yield finding(
            "driver_secure_boot",
            "fail",
            "Secure Boot",
            observed=f"it is on, and {state}",
            expected="a key that the firmware trusts, or modules that the distribution signed",
            action="A person must do it, at the console: mokutil --import /var/lib/dkms/mok.pub (on Ubuntu "
            "/var/lib/shim-signed/mok/MOK.der), reboot, and enrol it in the menu. On Ubuntu, ready-made signed modules "
            "do without: nvidia_driver_source: distribution. Or turn Secure Boot off in the firmware.",
            source="mokutil --test-key",
        )


def disk_space(facts: Mapping[str, Any], estimates: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a refusal when old and new packages, and what is built, would not fit."""
    free, needed = facts["disk_free_bytes"], estimates["disk_bytes"]
    if free is not None and free < needed:
        yield finding(
            "driver_disk",
            "fail",
            "file system of /usr and /var",
            observed=f"{free / 2**30:.1f} GiB free",
            expected=f"{needed / 2**30:.0f} GiB for old and new packages and the modules",
            action="Make room: apt-get clean, old kernels (apt-get autoremove), old engines and models.",
            source="statvfs",
        )


def fabric_manager(
    facts: Mapping[str, Any], wanted: Wanted, stock: Stock, choice: Choice, names: list[str]
) -> Iterator[Finding]:
    """Yield a refusal when a host that needs the fabric manager cannot have it in the driver's very version."""
    if any(stock.of_driver(name, choice.version) for name in names):
        return
    seen = {f"{name} {version}" for name in names for version in stock.versions(name)[:3]}
    why = f"{facts['nvswitch_count']} NVSwitches" if facts["nvswitch_count"] else "nvidia_driver_fabric_manager is yes"
    fix = (
        "Choose a version of the driver that the archive has a fabric manager for."
        if names
        else "This archive has none: set nvidia_driver_source to nvidia."
    )
    yield finding(
        "driver_fabric_manager",
        "fail",
        "fabric manager",
        observed=f"{why}; to be had: {', '.join(sorted(seen)) or 'none'}",
        expected=f"version {choice.version}, as the driver",
        action=f"With another version no program starts on the GPUs. {fix}",
        source="https://github.com/NVIDIA/gpu-operator/issues/544",
    )


def no_consent(reboot: str, reason: str, wanted: Wanted) -> Iterator[Finding]:
    """Yield a refusal when a reboot is needed and the site does not want one."""
    if reboot == "needed" and wanted.reboot == "no":
        yield finding(
            "driver_reboot",
            "fail",
            "reboot",
            observed=f"needed: {reason}",
            expected="no reboot (nvidia_driver_reboot: no)",
            action="Set nvidia_driver_reboot to yes or ask, or remove what makes the reboot necessary.",
        )


def fabric_wanted(facts: Mapping[str, Any], wanted: Wanted) -> bool:
    """Tell whether the fabric manager belongs to this host: asked for, needed, or there already."""
    if wanted.fabric_manager != "auto":
        return wanted.fabric_manager == "yes"
    return bool(facts["nvswitch_count"])


def fabric_installed(stock: Stock) -> list[str]:
    """Return the packages of the fabric manager that are installed."""
    return [name for name in stock.installed() if name.startswith(_FABRIC_PACKAGES)]


def no_row(
    facts: Mapping[str, Any], wish: Wanted, row: Mapping[str, Any] | None, document: Mapping[str, Any]
) -> list[Finding]:
    here = f"{facts['distribution']} {facts['distribution_version']}"
    if row is None:
        action = (
            f"Known are {', '.join(known_distributions(document))}. "
            "Set nvidia_driver_source to none to only hold what is there."
        )
        return [
            finding("driver_distribution", "fail", here, observed=here, expected="a known distribution", action=action)
        ]
    if row.get("absent"):
        return [
            finding(
                "driver_distribution",
                "fail",
                here,
                observed=row["absent"],
                expected="an archive that has the driver",
                action="Set nvidia_driver_source to nvidia.",
                source=source_urls(document, row["source"]),
            )
        ]
    if facts["package_manager"] != row["package_manager"]:
        return [
            finding(
                "driver_distribution",
                "fail",
                here,
                observed=f"package manager {facts['package_manager']}",
                expected=row["package_manager"],
                action="Look why the host does not have it; this is no usual installation.",
            )
        ]
    return []


def version_missing(
    facts: Mapping[str, Any], wish: Wanted, row: Mapping[str, Any], missing: Missing, document: Mapping[str, Any]
) -> Finding:
    leads_to = row["transitional"].get(wish.branch)
    if leads_to:
        action = f"Branch {wish.branch} is empty here and leads to {leads_to}. Set nvidia_driver_version to {leads_to}."
    elif not missing.seen:
        strange = sorted({one["origin"] for name in missing.wanted for one in facts["available"].get(name, [])})
        action = (
            f"The host has it from {', '.join(strange)} only. "
            "If that is a mirror of the archive, name it: mirrors of gpu_driver_info."
            if strange
            else "Add the archive to the host's sources and refresh its lists. "
            f"Known branches: {', '.join(map(str, row['branches']))}."
        )
    else:
        action = f"Set nvidia_driver_version to one that is there: {', '.join(missing.seen[:6])}."
    return finding(
        "driver_version",
        "fail",
        f"driver {wish.version}",
        observed=f"to be had: {', '.join(missing.seen[:6]) or 'none'}",
        expected=f"{missing.wanted[0] if missing.wanted else 'the driver'} {wish.version}",
        action=action,
        source=source_urls(document, row["source"]),
    )


def unseen_holders(facts: Mapping[str, Any]) -> list[Finding]:
    if facts["holders"] is not None:
        return []
    return [
        finding(
            "driver_holders",
            "warn",
            "processes that use a GPU",
            observed="they could not all be looked at",
            expected="root",
            action="Run gpu_driver_info as root (become: true).",
        )
    ]


def not_loaded(facts: Mapping[str, Any], choice: Choice) -> list[Finding]:
    """Return a warning for a host whose driver is there in the wanted version, but not in its kernel."""
    if not facts["gpus"] or facts["loaded_version"] is not None:
        return []
    return [
        finding(
            "driver_loaded",
            "warn",
            "kernel module nvidia",
            observed="not loaded, although the packages are there",
            expected=choice.version,
            action="Load it: modprobe nvidia. If that fails, read: journalctl -k -g 'NVRM|nvidia'; dkms status",
            source="/sys/module/nvidia/version",
        )
    ]


def ready_made_warning(facts: Mapping[str, Any]) -> Finding:
    return finding(
        "driver_kernel",
        "warn",
        "kernel updates",
        observed="ready-made modules, one package for each kernel",
        expected="a module for every kernel that may boot",
        action="A kernel that comes later has no module while the driver is held. Bring kernels and driver with this "
        "playbook, and keep unattended-upgrades from kernels (linux-image-.*).",
        source="https://packages.ubuntu.com",
    )


def _some(names: list[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
