# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the hosts of a lab fake GPUs without a driver, and a signed repository of fake drivers.

give_hosts.py LAB VERSION,VERSION HOST ...
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "collections"))

from ansible_collections.local_llm.ops.tests.fakes.driver_repository import build
from ansible_collections.local_llm.ops.tests.fakes.driver_repository import install_on_lab_host as drivers
from ansible_collections.local_llm.ops.tests.fakes.nvml import install_on_lab_host as gpus
from ansible_collections.local_llm.ops.tests.fakes.nvml import scenarios


def main() -> None:
    """Do it."""
    lab, versions, *hosts = sys.argv[1:]
    # Cards without NVSwitch: Debian has no fabric manager.
    gpus.install(lab, dict.fromkeys(hosts, drivers.bare(scenarios.profile("l4_1"))))
    place = Path(gpus.CACHE) / "runs" / lab / "driver-repository"
    place.parent.mkdir(parents=True, exist_ok=True)
    library = gpus.build.build(gpus.CACHE)
    repository = build.build(place, [build.release_of(version) for version in versions.split(",")], library)
    drivers.install(lab, hosts, repository)


if __name__ == "__main__":
    main()
