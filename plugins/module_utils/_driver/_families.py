# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which packages belong to the driver: those of its version, and those of its families of names. Pure.

The closure is computed, not listed: a package that nobody thought of moves under a running module all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# Names of packages of the driver, whole. What follows a cycle of its own stays out: the CUDA toolkit, cuDNN, the
# container toolkit, the EGL platform libraries, and libxnvctrl, which others than the driver need. Sources: the package
# indexes of Debian and Ubuntu, NVIDIA's driver installation guide, names in NVIDIA's repositories.
FAMILIES = (
    r"nvidia-(?!fs-)(?:[a-z0-9]+-)*(?:kernel|dkms)(?:-[a-z0-9.-]+)?",
    r"nvidia-(?:driver|headless|open|utils|compute-utils|firmware|tesla|legacy|kmod|libs|gds)(?:-[a-z0-9.-]+)?",
    r"nvidia-(?:smi|alternative|support|modprobe|persistenced|settings|xconfig|powerd|suspend-common|cuda-mps)"
    r"(?:-[a-z0-9-]+)?",
    r"nvidia-(?:egl|vulkan|opencl|vdpau)-(?:icd|common|driver)",
    r"nvidia-(?:fabricmanager|fabric-manager|imex)(?:-[a-z0-9.-]+)?",
    r"nvidia-installer-cleanup",
    r"(?:nvlsm|libnvsdm)(?:-[a-z0-9.-]+)?",
    r"libnvidia-(?!container|egl-|ml-dev)[a-z0-9.-]+",
    r"lib(?:cuda1|cudadebugger1|nvcuvid1|nvoptix1)",
    r"lib(?:egl|gl1|gles|glx)-nvidia[a-z0-9-]*",
    r"linux-(?:modules|objects|signatures)-nvidia-[a-z0-9.+~-]+",
    r"kmod-nvidia(?:-[a-z0-9._-]+)?",
    r"cuda-drivers(?:-[a-z0-9.-]+)?",
    r"firmware-nvidia(?:-[a-z0-9]+)*-gsp(?:-[0-9.]+)?",
    r"xserver-xorg-video-nvidia(?:-[a-z0-9-]+)?",
    r"xorg-x11-nvidia",
)
# Packages of the families that have versions of their own: they may lag behind the driver, and stay when it moves.
SIDE_PACKAGES = re.compile(
    r"nvidia-(?:persistenced|modprobe|settings|xconfig|support|installer-cleanup|kernel-common|legacy-check|"
    r"egl-common|vulkan-common|opencl-common|suspend-common)|nvlsm|nvidia-driver-pinning-.*"
)
# Beginnings of the names: what to ask a package manager for. Everything that they find is looked at with in_family().
PREFIXES = (
    "nvidia", "libnvidia", "libcuda1", "libcudadebugger1", "libnvcuvid1", "libnvoptix1",
    "libegl-nvidia", "libgl1-nvidia", "libgles-nvidia", "libglx-nvidia", "linux-modules-nvidia",
    "linux-objects-nvidia", "linux-signatures-nvidia", "kmod-nvidia", "cuda-drivers", "firmware-nvidia",
    "xserver-xorg-video-nvidia", "xorg-x11-nvidia", "nvlsm", "libnvsdm",
)  # fmt: skip
# Not of the driver, but a site may want it beside: asked for, never held.
CONTAINER_TOOLKIT = "nvidia-container-toolkit"

_FAMILY = re.compile("|".join(f"(?:{pattern})" for pattern in FAMILIES))
_UPSTREAM = re.compile(r"(?:\d+:)?([^-]+)")
_DRIVER_VERSION = re.compile(r"\d{3}\.\d{2,3}(?:\.\d{2,3})?")
_PIECES = re.compile(r"(\D*)(\d*)")


def in_family(name: str) -> bool:
    """Tell whether a name belongs to a family of the driver. name: of a package, with or without :architecture."""
    return _FAMILY.fullmatch(name.partition(":")[0]) is not None


def upstream_version(version: str) -> str:
    """Return the upstream version of a package's version: 535.261.03 for 3:535.261.03-1~deb12u1."""
    found = _UPSTREAM.match(version)
    return found.group(1) if found else version


def driver_version(version: str) -> str | None:
    """Return the driver's version in the version of a package, None when it is of another kind."""
    upstream = upstream_version(version)
    found = _DRIVER_VERSION.match(upstream)
    # 535.261.03~deb12u1 and 550.54.14+ds count; 20220217+3 and 6.8.0 do not.
    return found.group(0) if found and not upstream[found.end() :][:1].isdigit() else None


def branch_of(version: str) -> str:
    """Return the branch of a driver's version: 580 for 580.95.05."""
    return version.partition(".")[0]


def closure(packages: Mapping[str, Mapping[str, Any]], version: str | None) -> list[str]:
    """Return the names of the packages that belong to the driver, in order.

    packages: {name: {"version": ...}} of all that is on a host. version: the driver's version, None when there is none.
    """
    return sorted(name for name, item in packages.items() if belongs(name, str(item["version"]), version))


def belongs(name: str, version_of_package: str, version: str | None) -> bool:
    """Tell whether a package belongs to the driver of this version."""
    return in_family(name) or (version is not None and upstream_version(version_of_package) == version)


def installed_version(packages: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the version of the driver that is installed: the one that most of its packages have; None without any."""
    versions = [
        found
        for name, item in packages.items()
        if item["status"] == "installed" and in_family(name) and not SIDE_PACKAGES.fullmatch(name.partition(":")[0])
        for found in (driver_version(str(item["version"])),)
        if found
    ]
    counts = Counter(versions)
    return max(counts, key=lambda one: (counts[one], sort_key(one)), default=None)


def newest_first(versions: Iterable[str]) -> list[str]:
    """Return versions of packages, the newest first."""
    return sorted(set(versions), key=sort_key, reverse=True)


def is_older(version: str, other: str) -> bool:
    """Tell whether a version of a package is older than another, as dpkg orders them."""
    return sort_key(version) < sort_key(other)


def sort_key(version: str) -> tuple[int, tuple[Any, ...], tuple[Any, ...]]:
    """Return what orders versions of packages: epoch, upstream, revision; in each, texts and numbers in turn."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _dash, revision = rest.rpartition("-")
    if not upstream:
        upstream, revision = rest, "0"
    return int(epoch) if epoch.isdigit() else 0, _part_key(upstream), _part_key(revision)


def _part_key(text: str) -> tuple[Any, ...]:
    key = []
    for letters, digits in _PIECES.findall(text):
        # The end of a text sorts after a tilde and before everything else; letters sort before other signs.
        signs = (-1 if sign == "~" else ord(sign) + (0 if sign.isalpha() else 256) for sign in letters)
        key.append((*signs, 0))
        key.append((int(digits or 0),))
    return tuple(key)
