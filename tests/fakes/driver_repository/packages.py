# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake packages of a driver: their names are Debian's, all that is in them are a few lines of shell."""

from __future__ import annotations

from dataclasses import dataclass, field

REVISION = "-1"
ARCHITECTURE = "amd64"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
STAND_IN = "/usr/local/lib/driver_stand_in/driver_stand_in.py"


@dataclass(frozen=True)
class Release:
    """One version of the fake driver and what is wrong with it.

    build: "ok", "fails" (the package script ends with an error) or "silent" (it does not, but no module is there).
    module_version: what the module says of itself, where that differs from the version of the packages.
    """

    version: str
    build: str = "ok"
    module_version: str = ""


@dataclass(frozen=True)
class Package:
    """One package: control fields, files by path with their content, symbolic links, and scripts by their name."""

    name: str
    version: str
    depends: str = ""
    files: dict[str, bytes | str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Return the name of the archive file."""
        return f"{self.name}_{self.version}_{ARCHITECTURE}.deb"

    def control(self) -> str:
        """Return the control file."""
        lines = [
            f"Package: {self.name}",
            f"Version: {self.version}",
            f"Architecture: {ARCHITECTURE}",
            "Maintainer: Test <test@example.invalid>",
            "Section: misc",
            "Priority: optional",
            *([f"Depends: {self.depends}"] if self.depends else []),
            "Description: FAKE package for tests, with no driver in it",
            " It only has the name of a real one.",
        ]
        return "\n".join(lines) + "\n"


KERNEL_MODULE = """#!/bin/sh
# fake: stands for the build of a kernel module by DKMS
set -e
[ "$1" = configure ] || exit 0
exec {stand_in} build {version} {module_version} {build}
"""
KERNEL_MODULE_GOES = """#!/bin/sh
# fake: stands for dkms remove
set -e
exec {stand_in} unbuild {version}
"""
# Waits while a test says so: for a power cut in the midst of dpkg.
WAITS = """#!/bin/sh
# fake: waits while a test holds dpkg here
set -e
while [ "$1" = configure ] && [ -e /run/driver_stand_in/hold ]; do
    touch /run/driver_stand_in/reached
    sleep 0.1
done
"""
LIBRARY = """#!/bin/sh
# fake: tells the fake GPUs which library there is
set -e
[ "$1" = configure ] || exit 0
exec {stand_in} library {version}
"""
LIBRARY_GOES = """#!/bin/sh
# fake: tells the fake GPUs that the library is gone
set -e
[ "$1" = remove ] || exit 0
exec {stand_in} library -
"""
STARTS = """#!/bin/sh
# fake: starts the service, as the real package does
set -e
[ "$1" = configure ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl enable --quiet nvidia-persistenced.service
systemctl restart nvidia-persistenced.service || true
"""
STOPS = """#!/bin/sh
# fake: stops the service, as the real package does
set -e
[ -d /run/systemd/system ] || exit 0
systemctl stop nvidia-persistenced.service || true
[ "$1" = remove ] && systemctl disable --quiet nvidia-persistenced.service || true
"""
UNIT = """[Unit]
Description=fake nvidia-persistenced {version}

[Service]
ExecStart=/bin/sh -c 'exec 9</dev/nvidia0; exec sleep infinity'

[Install]
WantedBy=multi-user.target
"""


def library(version: str) -> str:
    """Return what stands for a library; nobody can load it."""
    return f"fake library of driver {version}\n"


def release_packages(release: Release, library_content: bytes | None = None) -> list[Package]:
    """Return the packages of one version: each wants the others in exactly its own version, as the real ones do.

    library_content: what is installed as libnvidia-ml, for tests in which somebody loads it.
    """
    full = release.version + REVISION
    module = release.module_version or release.version
    words = {"stand_in": STAND_IN, "version": release.version, "module_version": module, "build": release.build}
    return [
        Package(
            "nvidia-kernel-dkms",
            full,
            f"nvidia-kernel-support (= {full})",
            scripts={"postinst": KERNEL_MODULE.format(**words), "prerm": KERNEL_MODULE_GOES.format(**words)},
        ),
        Package("nvidia-kernel-support", full, "nvidia-support"),
        Package(
            "libnvidia-ml1",
            full,
            "nvidia-support",
            files={f"{LIBRARIES}/libnvidia-ml.so.{release.version}": library_content or library(release.version)},
            links={f"{LIBRARIES}/libnvidia-ml.so.1": f"libnvidia-ml.so.{release.version}"},
            scripts={"postinst": LIBRARY.format(**words), "prerm": LIBRARY_GOES.format(**words)},
        ),
        Package(
            "libcuda1",
            full,
            "nvidia-support",
            files={f"{LIBRARIES}/libcuda.so.{release.version}": library(release.version)},
            scripts={"postinst": WAITS},
        ),
        Package(
            "nvidia-smi",
            full,
            f"libnvidia-ml1 (= {full})",
            files={"etc/nvidia/fake-nvidia-smi.conf": f"# fake setting of {release.version}\n"},
        ),
        Package(
            "nvidia-persistenced",
            full,
            f"libnvidia-ml1 (= {full})",
            files={"lib/systemd/system/nvidia-persistenced.service": UNIT.format(version=release.version)},
            scripts={"postinst": STARTS, "prerm": STOPS},
        ),
    ]


def shared_packages() -> list[Package]:
    """Return the packages that every version of the driver shares."""
    return [Package("nvidia-support", "20260101")]
