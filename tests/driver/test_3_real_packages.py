# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real packages of Debian 12 and 13: built by DKMS, held, and removed with nothing left. Takes minutes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from driver_fleet import KEEP, LAB, PIN, DriverFleet, mirror, plan, repository, well

from ansible_collections.local_llm.ops.tests.fakes.driver_repository import packages

pytestmark = pytest.mark.slow
# Which version each suite has is asked of its archive, not written here.
SUITES = ("bookworm", "trixie")
WANTED = ("nvidia-kernel-dkms", "nvidia-smi", "libnvidia-ml1", "libcuda1")
HEADERS = "linux-headers-amd64"
SOURCES = (
    "sed -i -E 's/^(deb .* main).*/\\1 contrib non-free non-free-firmware/' /etc/apt/sources.list;"
    " sed -i -E 's/^(Components:).*/\\1 main contrib non-free non-free-firmware/' /etc/apt/sources.list.d/*.sources"
    " 2>/dev/null; apt-get -qq update"
)
# What a host keeps of packages that came and went: caches, logs, lists; and what the test itself put there.
LEFT_ALONE = (
    r"^/(proc|sys|run|dev|tmp|root/.ansible|srv/driver-mirror|var/(cache|log|lib/(apt|dpkg|systemd)))(/|$)"
    r"|fake-driver|driver-mirror|__pycache__"
)


class RealHost(DriverFleet):
    """One host with the real archive."""

    host = "gpu1"

    def start(self, suite: str) -> None:
        """Start the host and let it know the non-free part of its archive."""
        self.command("lab.py", "up", "--lab", self.name, f"--host={self.host}={suite}")
        self.on(SOURCES)

    def on(self, command: str) -> str:
        """Run a command on the host."""
        return self.shell(self.host, command)

    def candidate(self, name: str) -> str:
        """Return the version of a package that the archive has."""
        (line,) = [one for one in self.on(f"apt-cache policy {name}").splitlines() if "Candidate:" in one]
        return line.split()[-1]

    def real_plan(self) -> dict[str, Any]:
        """Return a plan that installs the driver of the archive, with the headers that DKMS needs."""
        versions = {name: self.candidate(name) for name in WANTED}
        driver = versions[WANTED[0]].rpartition("-")[0]
        pin = [{"path": PIN, "content": pin_text(driver)}]
        install = {**versions, HEADERS: self.candidate(HEADERS)}
        return plan(driver, install=install, hold=list(WANTED), pin=pin, stop_units=[], start_units=[])

    def packages(self) -> list[str]:
        """Return the packages of the host, also those of which only the settings are left."""
        return sorted(self.on("dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n'").splitlines())

    def files(self) -> set[str]:
        """Return the files of the host, without caches and logs."""
        return set(self.on(f"find / -xdev ! -type d | grep -vE '{LEFT_ALONE}' | sort").splitlines())

    def newer(self, names: list[str]) -> list[str]:
        """Offer a newer version of packages from another repository; return those that an upgrade would take."""
        pool = self.work / "newer" / "pool"
        shutil.rmtree(pool.parent, ignore_errors=True)
        pool.mkdir(parents=True)
        repository.make_key(pool.parent)
        for name in names:
            repository.build_package(packages.Package(name.partition(":")[0], "999.99.99-1"), pool)
        repository.publish(pool.parent)
        mirror.install(self.name, [self.host], pool.parent, stand_ins=False)
        said = self.on("apt-get --simulate dist-upgrade")
        assert "999.99.99" in self.on(f"apt-cache madison {names[0]}")
        return [line for line in said.splitlines() if line.startswith("Inst") and "999.99.99" in line]


def pin_text(version: str) -> str:
    """Return preferences that keep the driver."""
    return f"Package: *nvidia* libcuda*\nPin: version {version}*\nPin-Priority: 1001\n"


@pytest.fixture(params=SUITES)
def real(request: pytest.FixtureRequest) -> Iterator[RealHost]:
    """One bare host of a suite."""
    it = RealHost(f"{LAB}{request.param[:2]}")
    it.start(request.param)
    yield it
    if not KEEP:
        it.lab_command("down")


def test_the_real_driver_is_built_held_and_removed_without_a_trace(real: RealHost) -> None:
    """Installed by the transaction; DKMS has built it; a newer version does not move it; absent leaves nothing."""
    before, files, wanted = real.packages(), real.files(), real.real_plan()
    steps = ["downloaded", "stopped", "installed", "loaded"]
    answers = well(real.steps(steps, wanted, "real", hosts=[real.host], sysfs_root="/sys"))[real.host]
    status = real.on("dkms status")
    assert f"/{wanted['to']}, " in status
    assert ": installed" in status
    # The kernel of the lab's machine has no modules on the host: only a reboot could load the driver.
    assert [one["check"] for one in answers[2]["findings"]] == ["driver_running_kernel"]
    assert answers[-1]["reboot_needed"]
    held = real.held(real.host)
    assert set(WANTED) <= set(held)
    assert HEADERS not in held
    # A newer version of every package of the closure, from another repository.
    moved = real.newer(held)
    assert moved == [], moved
    well(real.steps(["absent", "absent"], None, "", hosts=[real.host], sysfs_root="/sys"))
    assert real.packages() == before
    assert real.held(real.host) == []
    assert sorted(real.files() - files) == []
