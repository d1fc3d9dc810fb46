# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver is there in the version that was asked for, whole and held."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from testinfra.host import Host

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_pin import APT_PREFERENCES, UNATTENDED

VERSION = "535.261.03"
PACKAGES = (
    "nvidia-kernel-dkms",
    "nvidia-kernel-support",
    "libnvidia-ml1",
    "libcuda1",
    "nvidia-smi",
    "nvidia-persistenced",
)


def test_the_packages_have_the_wanted_version_and_are_held(host: Host) -> None:
    held = host.check_output("apt-mark showhold").split()
    for name in PACKAGES:
        assert host.check_output(f"dpkg-query --show --showformat '${{Version}}' {name}") == f"{VERSION}-1"
        assert name in held


def test_what_came_along_with_a_version_of_its_own_is_held_too(host: Host) -> None:
    assert "nvidia-support" in host.check_output("apt-mark showhold").split()


@pytest.mark.parametrize("path", [APT_PREFERENCES, UNATTENDED])
def test_apt_and_unattended_upgrades_are_told_to_leave_the_driver_alone(host: Host, path: str) -> None:
    assert host.file(path).exists


def test_the_module_is_loaded_in_that_version(host: Host) -> None:
    assert host.file("/srv/fake-sys/module/nvidia/version").content_string.strip() == VERSION


def test_the_transaction_is_over(host: Host) -> None:
    kept = json.loads(host.file("/var/lib/local_llm/driver/transaction.json").content_string)
    assert (kept["state"], kept["from"], kept["to"]) == ("committed", None, VERSION)


def test_the_stated_source_is_there_and_checked_with_its_key(host: Host) -> None:
    text = host.file("/etc/apt/sources.list.d/local-llm-driver.sources").content_string
    assert "URIs: http://127.0.0.1:8099" in text
    assert "Signed-By: /etc/apt/keyrings/local-llm-driver.asc" in text
    assert "PRIVATE" not in host.file("/etc/apt/keyrings/local-llm-driver.asc").content_string


def test_an_update_of_everything_leaves_the_driver_alone(host: Host) -> None:
    planned = host.check_output("apt-get --simulate dist-upgrade")
    assert not [line for line in planned.splitlines() if line.startswith(("Inst", "Remv")) and "nvidia" in line]
