# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that serves, with fake GPUs whose driver comes as packages: for the playbook driver."""

from __future__ import annotations

import os

from driver_fleet import HERE, HOSTS, RELEASES, DriverFleet, mirror
from fleet import Fleet, PlaybookRun

SERVING = HOSTS
LAB = os.environ.get("LOCAL_LLM_TEST_DRIVER_ROLLOUT_LAB", "driverroll")


class DriverRolloutFleet(DriverFleet):
    """One gateway and two hosts that serve."""

    def furnish(self) -> None:
        """Start the hosts, give them fake GPUs without a driver, and the repository; the source is for the role."""
        self.up(["gw1=bookworm", "gpu1=bookworm", "gpu2=trixie"])
        self.give_gpus()
        self.publish(RELEASES)
        for host in SERVING:
            self.shell(
                host,
                f"rm -f /{mirror.SOURCES} /{mirror.KEY}; "
                "mkdir -p /lib/modules/$(uname -r)/build; touch /lib/modules/$(uname -r)/build/Makefile",
            )

    def playbook_command(self, playbook: str, *extra: str) -> list[str]:
        """Return the command line of a playbook with the variables of these tests."""
        key = self.work / "driver-repository" / "key.asc"
        ours = ["-e", f"@{HERE / 'rollout_variables.yml'}", "-e", f"driver_test_key={key}"]
        return Fleet.playbook_command(self, playbook, *ours, *extra)

    def change(self, version: str, *extra: str) -> PlaybookRun:
        """Run the playbook driver for a version."""
        return self.playbook("driver", *wanted(version), *extra)


def wanted(version: str, reboot: str = "no") -> list[str]:
    """Return the arguments that ask for a version, with a word about reboots."""
    return ["-e", f"nvidia_driver_version={version}", "-e", f"nvidia_driver_reboot={reboot}"]
