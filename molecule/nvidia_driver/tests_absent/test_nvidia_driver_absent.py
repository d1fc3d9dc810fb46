# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the driver is left: no package, no hold, no file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from testinfra.host import Host

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_pin import APT_PREFERENCES, UNATTENDED


def test_no_package_of_the_driver_is_left(host: Host) -> None:
    known = host.check_output("dpkg-query --show --showformat '${Package} ${db:Status-Status}\\n'").splitlines()
    assert not [line for line in known if "nvidia" in line or line.startswith("libcuda1 ")]


def test_nothing_is_held(host: Host) -> None:
    assert not [name for name in host.check_output("apt-mark showhold").split() if "nvidia" in name]


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/local_llm/driver",
        "/etc/apt/sources.list.d/local-llm-driver.sources",
        "/etc/apt/keyrings/local-llm-driver.asc",
        APT_PREFERENCES,
        UNATTENDED,
        "/lib/systemd/system/nvidia-persistenced.service",
    ],
)
def test_no_file_is_left(host: Host, path: str) -> None:
    assert not host.file(path).exists
