# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every panel of every dashboard shows data while the fleet serves, or the list says why it does not."""

from __future__ import annotations

from pathlib import Path

import yaml
from fleet import CHECKOUT
from host_disk import HostDisk
from monitoring_fleet import Ruled, Watched
from waiting import wait_for

from ansible_collections.local_llm.ops.tools.dashboards.queries import documents, expected_empty, filled, panel_queries

QUERIES = [query for document in documents() for query in panel_queries(document)]
LIST = yaml.safe_load((CHECKOUT / "tools/dashboards/may_be_empty.yml").read_text(encoding="utf-8"))
# The conditions of that list that hold here. No panel about GPUs, disks, rollouts or requests may be empty.
HOLDS = {"no_action", "no_alert", "no_driver_problem", "no_ollama", "no_vllm"}
# Short, so that what a panel shows is of the load that runs now.
VALUES = {"__rate_interval": "30s", "__range": "30m"}
XID = "NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=llama-server, MMU Fault: ENGINE GRAPHICS"
# Sums over days look at multiples of 5 minutes only: here of so much, so that nobody waits for the clock.
STEP_SECONDS = 20


def asked(expression: str) -> str:
    """Return what the test asks for a panel's query."""
    return filled(expression, VALUES).replace(":5m]", f":{STEP_SECONDS}s]")


def empty(watched: Watched) -> list[str]:
    """Return the queries that find nothing and are not excused."""
    return [
        f"{query['dashboard']}: {query['panel']} ({query['ref']})"
        for query in QUERIES
        if not expected_empty(LIST["panels"], query, HOLDS) and not watched.fleet.query(asked(query["expr"]))
    ]


def test_the_conditions_are_those_of_the_list() -> None:
    assert LIST["conditions"].keys() >= HOLDS


def test_every_panel_shows_data_while_a_load_runs(watched: Watched, ruled: Ruled, tmp_path: Path) -> None:
    fleet, place = watched.fleet, "/srv/panels"
    fleet.fake_gpu("gpu2", "log", XID)
    fleet.shell("gpu2", f"mkdir -p {place}")
    disk = HostDisk(fleet, "gpu2", place, tmp_path / "disk.img", 16)
    disk.attach()
    try:
        with fleet.client(rate=10) as client:
            client.wait_answered(10)
            # The cards have used more energy than when they were first looked at.
            fleet.fake_gpu("gpu1", "set", "gpu.*.power.energy_mj=7260000000")
            wait_for(
                lambda: f"data in every panel; these have none: {empty(watched)}",
                lambda: not empty(watched),
                STEP_SECONDS + 100,
            )
            traffic = client.finish()
            assert traffic.failed == 0, traffic
    finally:
        disk.detach()
