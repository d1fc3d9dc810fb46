# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up hosts for the plan of the driver: driver_facts with what each archive has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEVICES = {
    "maxwell": "17f1", "pascal": "15f8", "volta": "1db6", "turing": "1eb8", "ampere": "20b2", "ada": "26b9",
    "hopper": "2330", "grace_hopper": "2342", "blackwell": "2bb5", "unknown": "4000",
}  # fmt: skip
RUNNING, NEWEST = "6.1.0-35", "6.1.0-37"

DEBIAN = (
    "nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1", "nvidia-alternative",
    "firmware-nvidia-gsp", "libnvidia-cfg1", "libnvidia-ptxjitcompiler1",
)  # fmt: skip
NVIDIA_DEBIAN = (
    "nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-kernel-dkms", "nvidia-persistenced",
    "nvidia-fabricmanager", "libnvidia-nscq",
)  # fmt: skip
NVIDIA_UBUNTU = (
    "libnvidia-compute", "nvidia-dkms-open", "nvidia-dkms", "nvidia-utils", "nvidia-persistenced",
    "nvidia-fabricmanager", "libnvidia-nscq",
)  # fmt: skip
EL = (
    "nvidia-driver-cuda", "nvidia-driver-cuda-libs", "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms",
    "nvidia-kmod-common", "nvidia-persistenced", "nvidia-fabricmanager", "libnvidia-nscq",
)  # fmt: skip


def ubuntu(branch: int, kernels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the packages of the server flavour in Ubuntu's archive."""
    names = [
        f"{name}-{branch}-server{end}"
        for end in ("", "-open")
        for name in ("nvidia-headless", "nvidia-headless-no-dkms", "nvidia-dkms", "nvidia-kernel-source")
    ]
    names += [
        f"{name}-{branch}-server"
        for name in (
            "nvidia-kernel-common",
            "libnvidia-compute",
            "nvidia-utils",
            "nvidia-compute-utils",
            "libnvidia-cfg1",
        )
    ]
    names += [f"linux-modules-nvidia-{branch}-server{end}-{kernel}" for end in ("", "-open") for kernel in kernels]
    return (*names, f"nvidia-fabricmanager-{branch}", f"libnvidia-nscq-{branch}")


def nvidia_ubuntu_versioned(branch: int) -> tuple[str, ...]:
    """Return the packages of NVIDIA's repository for Ubuntu before 590."""
    return (
        f"libnvidia-compute-{branch}", f"nvidia-dkms-{branch}", f"nvidia-dkms-{branch}-open", f"nvidia-utils-{branch}",
        f"nvidia-fabricmanager-{branch}", f"libnvidia-nscq-{branch}", f"nvidia-compute-utils-{branch}",
    )  # fmt: skip


def offered(origin: str, *stocks: tuple[tuple[str, ...], str]) -> dict[str, list[dict[str, str]]]:
    """Return `available` from (names, version of the packages), the newest version first."""
    found: dict[str, list[dict[str, str]]] = {}
    for names, version in stocks:
        for name in names:
            found.setdefault(name, []).append({"version": version, "origin": origin})
    return found


def installed(origin: str, names: tuple[str, ...], version: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Return `packages`, all of one version."""
    return {name: {"version": version, "status": "installed", "held": True, "origin": origin, **more} for name in names}


def host(distribution: str = "debian", version: str = "12", **changes: Any) -> dict[str, Any]:
    """Return driver_facts of a host with one H100 and no driver; changes replace keys. generations: makes its GPUs."""
    generations = changes.pop("generations", ["hopper"])
    el = distribution not in ("debian", "ubuntu")
    facts: dict[str, Any] = {
        "schema": 1,
        "distribution": distribution,
        "distribution_version": version,
        "architecture": "x86_64",
        "package_manager": "dnf" if el else "apt",
        "kernel_running": RUNNING,
        "kernel_newest": RUNNING,
        "kernels": [{"release": RUNNING, "headers": True}],
        "packages": {},
        "available": {},
        "sources": [],
        "broken_packages": [],
        "loaded_version": None,
        "loaded_flavour": None,
        "module_on_disk_version": {RUNNING: None},
        "library_version": None,
        "dkms": [],
        "secure_boot": "off",
        "mok_enrolled": None,
        "gpus": [
            {"address": f"0000:{number + 1:02x}:00.0", "device_id": DEVICES[name], "generation": name}
            for number, name in enumerate(generations)
        ],
        "nvswitch_count": 0,
        "holders": [],
        "services": {"nvidia-persistenced": "absent", "nvidia-fabricmanager": "absent", "nvidia-dcgm": "absent"},
        "locks_held": [],
        "disk_free_bytes": 100 << 30,
        "unattended_upgrades": True,
        "transaction": None,
    }
    unknown = set(changes) - set(facts)
    if unknown:
        raise AssertionError(f"no such key of driver_facts: {unknown}")
    return {**facts, **changes}


def wanted(version: str = "535", source: str = "distribution", **changes: Any) -> dict[str, Any]:
    """Return what a site wants."""
    extras = {"fabric_manager": "auto", "persistenced": "auto", "container_toolkit": False, **changes.pop("extras", {})}
    return {"version": version, "source": source, "modules": "auto", "extras": extras, "reboot": "ask", **changes}


def refused(plan: Mapping[str, Any]) -> list[str]:
    """Return the checks that refuse a plan."""
    return [one["check"] for one in plan["refusals"]]


DEBIAN_OFFER = {
    **offered("debian", (DEBIAN, "535.261.03-1")),
    **offered("debian", (("nvidia-persistenced",), "535.171.04-1~deb12u1")),
}
