# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages belong to the driver, and how their versions are ordered."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _families as families
from ansible_collections.local_llm.ops.plugins.module_utils._driver._generations import (
    RANGES,
    generation_of,
    may_have_hidden_switches,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import GENERATIONS

OURS = [
    "nvidia-kernel-dkms",
    "nvidia-open-kernel-dkms",
    "nvidia-kernel-open-dkms",
    "nvidia-smi",
    "libcuda1",
    "libnvidia-ml1",
    "libnvidia-nvvm4",
    "nvidia-persistenced",
    "firmware-nvidia-gsp",
    "xserver-xorg-video-nvidia",
    "nvidia-tesla-535-kernel-dkms",
    "libnvidia-tesla-535-cuda1",
    "nvidia-headless-no-dkms-580-server-open",
    "nvidia-firmware-580-server-580.95.05",
    "nvidia-compute-utils-580-server",
    "linux-modules-nvidia-580-server-open-6.8.0-50-generic",
    "nvidia-fabricmanager-580",
    "libnvidia-nscq",
    "nvlsm",
    "nvidia-imex-580",
    "kmod-nvidia-open-dkms",
    "nvidia-kmod-common",
    "nvidia-driver-cuda-libs",
    "cuda-drivers-580",
    "nvidia-open",
    "nvidia-driver-pinning-610",
    "libgl1-nvidia-glvnd-glx",
    "nvidia-fabric-manager",
    "libnvidia-ml1:i386",
    "libnvsdm",
]
OTHERS = [
    "nvidia-container-toolkit",
    "libnvidia-container1",
    "nvidia-cuda-toolkit",
    "nvidia-cudnn",
    "libnvidia-ml-dev",
    "libxnvctrl0",
    "libnvidia-egl-wayland1",
    "nvidia-fs-dkms",
    "nvidia-prime",
    "nvidia-detect",
    "linux-image-amd64",
    "firmware-nvidia-graphics",
    "libcublas12",
    "datacenter-gpu-manager",
    "nvidia-vaapi-driver",
    "glx-alternative-nvidia",
    "cuda-toolkit-13-0",
]


@pytest.mark.parametrize("name", OURS)
def test_names_of_the_driver_are_known(name: str) -> None:
    assert families.in_family(name)
    assert name.startswith(families.PREFIXES)


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_a_cycle_of_its_own_is_not_the_drivers(name: str) -> None:
    assert not families.in_family(name)


@pytest.mark.parametrize(
    ("version", "driver"),
    [
        ("535.261.03-1~deb12u1", "535.261.03"),
        ("3:580.95.05-1.el9", "580.95.05"),
        ("550.54-0ubuntu1", "550.54"),
        ("20220217+3~deb12u1", None),
        ("6.8.0-100.100", None),
        ("580-2ubuntu1", None),
        ("11.8.89~11.8.0-5", None),
    ],
)
def test_a_packages_version_tells_the_drivers(version: str, driver: str | None) -> None:
    assert families.driver_version(version) == driver


def test_the_closure_is_families_and_whatever_has_the_version() -> None:
    packages = {
        "nvidia-smi": {"version": "535.261.03-1", "status": "installed"},
        "some-site-tool": {"version": "535.261.03-7", "status": "installed"},
        "nvidia-modprobe": {"version": "535.161.07-1", "status": "installed"},
        "bash": {"version": "5.2-1", "status": "installed"},
    }
    assert families.installed_version(packages) == "535.261.03"
    assert families.closure(packages, "535.261.03") == ["nvidia-modprobe", "nvidia-smi", "some-site-tool"]
    assert families.closure(packages, None) == ["nvidia-modprobe", "nvidia-smi"]


def test_what_is_removed_but_configured_is_no_installed_driver() -> None:
    assert families.installed_version({"nvidia-smi": {"version": "535.1.1-1", "status": "config-files"}}) is None


ORDER = [
    ("535.247.01-1~deb12u1", "535.247.01-1"), ("535.261.03-1", "580.95.05-0ubuntu1"),
    ("580.95.05-1", "580.126.20-1"),
    ("595.58.03-1ubuntu1", "3:535.1-1"), ("1.0~rc1-1", "1.0-1"), ("1.0-1", "1.0+dfsg-1"), ("1.0a-1", "1.0+b-1"),
    ("580.95.05-0ubuntu0.24.04.1", "580.95.05-0ubuntu0.24.04.2"), ("1.0", "1.0-1"), ("1.0-1", "1.0-1~~x"),
]  # fmt: skip


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg to agree with")
@pytest.mark.parametrize(("one", "other"), ORDER)
def test_versions_are_ordered_as_dpkg_orders_them(one: str, other: str) -> None:
    said = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0
    assert families.is_older(one, other) is said
    assert families.newest_first([one, other])[0] == (other if said else one)


@pytest.mark.parametrize(
    ("device_id", "generation"),
    [
        ("17fd", "maxwell"), ("15f8", "pascal"), ("1b38", "pascal"), ("1db6", "volta"), ("1eb8", "turing"),
        ("2182", "turing"), ("20b5", "ampere"), ("2235", "ampere"), ("26b9", "ada"), ("2330", "hopper"),
        ("2342", "grace_hopper"), ("2345", "grace_hopper"), ("2348", "grace_hopper"), ("233b", "hopper"),
        ("2901", "blackwell"), ("2bb5", "blackwell"), ("3182", "blackwell"), ("1022", "unknown"), ("", "unknown"),
    ],
)  # fmt: skip
def test_a_device_id_tells_the_generation(device_id: str, generation: str) -> None:
    assert generation_of(device_id) == generation


def test_ranges_do_not_overlap_and_name_known_generations() -> None:
    assert all(first <= last for first, last, _name in RANGES)
    assert all(one[1] < other[0] for one, other in pairwise(RANGES))
    assert {name for _first, _last, name in RANGES} == set(GENERATIONS)


def test_only_data_centre_cards_of_blackwell_may_have_switches_that_are_not_seen() -> None:
    assert may_have_hidden_switches("2901") and may_have_hidden_switches("3182")
    assert not may_have_hidden_switches("2bb5") and not may_have_hidden_switches("2330")
