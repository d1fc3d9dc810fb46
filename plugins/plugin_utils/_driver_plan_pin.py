# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What keeps the driver where it is: preferences of apt, unattended-upgrades, locks and streams of dnf. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import FAMILIES

APT_PREFERENCES = "/etc/apt/preferences.d/local-llm-nvidia.pref"
UNATTENDED = "/etc/apt/apt.conf.d/52local-llm-nvidia"
# The plugin of dnf reads one file for all: its lines are for all of the host, ours are put among them.
VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"
MODULE_STREAM = "/etc/dnf/modules.d/nvidia-driver.module"

# Beginnings that stand for the families, as apt's preferences write them.
GLOBS = (
    "nvidia-*", "libnvidia-*", "libcuda1", "libcudadebugger1", "libnvcuvid1", "libnvoptix1", "libegl-nvidia*",
    "libgl1-nvidia*", "libgles-nvidia*", "libglx-nvidia*", "linux-modules-nvidia-*", "linux-objects-nvidia-*",
    "linux-signatures-nvidia-*", "cuda-drivers*", "firmware-nvidia*gsp*", "xserver-xorg-video-nvidia*", "nvlsm",
)  # fmt: skip
# Names that the beginnings above also find and that are not the driver's.
OTHERS = (
    "nvidia-container-*", "libnvidia-container*", "libnvidia-egl-*", "libnvidia-ml-dev", "nvidia-cuda-*",
    "nvidia-cudnn*", "nvidia-support", "nvidia-installer-cleanup", "nvidia-kernel-common", "nvidia-legacy-check",
)  # fmt: skip
# What repositories call themselves, by origin.
_RELEASES = {"debian": "Debian", "ubuntu": "Ubuntu", "nvidia": "NVIDIA"}
_HEAD = "# Written by local_llm.ops, which holds the NVIDIA driver at one version. Change the driver with its playbook."


def apt_pins(version: str, others: Iterable[str]) -> list[dict[str, str]]:
    """Return the preferences and the list for unattended-upgrades.

    version: the driver's. others: origins of archives that the driver must not come from.
    """
    return [
        {"path": APT_PREFERENCES, "content": preferences(version, others)},
        {"path": UNATTENDED, "content": unattended()},
    ]


def preferences(version: str, others: Iterable[str]) -> str:
    """Return apt preferences: the driver at its version whatever package of it is asked for, and no other archive.

    They name no package alone, so that a host keeps the same file when a new package of the driver comes. What has a
    version of its own is held by dpkg.
    """
    blocks = [_HEAD, _block(" ".join(GLOBS), f"version {version}*", 1001)]
    # The first record that fits counts: what others need of these beginnings is let through before they are shut out.
    for release in (_RELEASES[origin] for origin in others if origin in _RELEASES):
        blocks.append(_block(" ".join(OTHERS), f"release o={release}", 500))
        blocks.append(_block(" ".join(GLOBS), f"release o={release}", -1))
    return "\n\n".join(blocks) + "\n"


def unattended() -> str:
    """Return the part of apt's configuration that keeps unattended-upgrades away from the driver."""
    lines = "\n".join(f'  "^(?:{pattern})$";' for pattern in FAMILIES)
    return f"{_HEAD.replace('#', '//', 1)}\nUnattended-Upgrade::Package-Blacklist {{\n{lines}\n}};\n"


def dnf_pins(
    versions: Mapping[str, str], branch: int, streams: Mapping[str, str] | None, flavour: str
) -> list[dict[str, str]]:
    """Return the lines for versionlock, and the module stream where the repository has streams."""
    lines = []
    for name, version in sorted(versions.items()):
        epoch, colon, rest = version.partition(":")
        lines.append(f"{name}-{epoch if colon else '0'}:{rest if colon else version}.*")
    pins = [{"path": VERSIONLOCK, "content": "".join(f"{line}\n" for line in lines)}]
    if streams:
        stream = streams[flavour].format(branch=branch)
        content = f"[nvidia-driver]\nname=nvidia-driver\nstream={stream}\nprofiles=\nstate=enabled\n"
        pins.append({"path": MODULE_STREAM, "content": content})
    return pins


def _block(names: str, pin: str, priority: int) -> str:
    return f"Package: {names}\nPin: {pin}\nPin-Priority: {priority}"
