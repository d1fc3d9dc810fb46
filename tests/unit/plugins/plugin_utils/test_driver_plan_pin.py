# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that hold the driver, and the plan as a line for people."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import load_driver_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan import plan_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_pin import preferences, unattended
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_text import plan_line
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.driver_hosts import DEBIAN_OFFER, host, wanted

FACTS = load_driver_facts()


def blacklist(text: str) -> list[str]:
    return re.findall(r'^  "(.*)";$', text, re.MULTILINE)


@pytest.mark.parametrize(
    "name", ["nvidia-kernel-dkms", "libnvidia-ml1", "libcuda1", "linux-modules-nvidia-580-open-generic"]
)
def test_unattended_upgrades_leave_the_driver_alone(name: str) -> None:
    # unattended-upgrades matches from the beginning of a name.
    assert any(re.match(pattern, name) for pattern in blacklist(unattended()))


@pytest.mark.parametrize("name", ["nvidia-container-toolkit", "libnvidia-container1", "linux-image-amd64", "openssl"])
def test_unattended_upgrades_keep_the_rest_safe(name: str) -> None:
    assert not any(re.match(pattern, name) for pattern in blacklist(unattended()))


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="there is no apt to ask")
def test_apt_can_read_the_list(tmp_path: Path) -> None:
    path = tmp_path / "52local-llm-nvidia"
    path.write_text(unattended(), encoding="utf-8")
    said = subprocess.run(["apt-config", "-c", str(path), "dump"], capture_output=True, text=True, check=True)
    found = re.findall(r'^Unattended-Upgrade::Package-Blacklist:: "(.*)";$', said.stdout, re.MULTILINE)
    assert set(blacklist(unattended())) <= set(found)


def test_preferences_pin_the_version_and_shut_the_other_archive_out() -> None:
    blocks = preferences("535.261.03", ["nvidia"]).strip().split("\n\n")
    assert blocks[0].startswith("#")
    assert "Pin: version 535.261.03*\nPin-Priority: 1001" in blocks[1]
    # What others need is let through before the rest is shut out: apt takes the first record that fits.
    assert "nvidia-container-*" in blocks[2] and "Pin: release o=NVIDIA\nPin-Priority: 500" in blocks[2]
    assert "Pin: release o=NVIDIA\nPin-Priority: -1" in blocks[3]
    assert len(preferences("535.261.03", []).strip().split("\n\n")) == 2


def test_the_plan_as_a_line_says_all_that_somebody_must_agree_to() -> None:
    line = plan_line(plan_driver(host(available=DEBIAN_OFFER), wanted(), FACTS))
    assert line.startswith("no driver to 535.261.03, proprietary modules (GPUs of the generation hopper work with both")
    assert "Packages: 9 to install, 9 to hold. Perhaps with a reboot: no module of NVIDIA is loaded" in line
    assert "Out of service for about 440 s (stop 30 s, packages 90 s, building for 1 kernel 180 s" in line


def test_nothing_to_do_is_said_in_few_words() -> None:
    plan = {"from": "535.261.03", "to": "535.261.03", "changes": False}
    assert plan_line(plan) == "The driver is 535.261.03 already and is held; nothing is to be done."
