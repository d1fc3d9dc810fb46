# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break something: the named alert comes in time, resolves after the mend, and nothing else is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fleet import CHECKOUT
from host_disk import HostDisk
from monitoring_fleet import HERE, SHARED_MACHINE, Told, Watched
from waiting import wait_for

sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import seconds_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data

# Beyond the time that the rule itself waits: scrape, evaluation, grouping, and a machine that others use too.
DEADLINE_SECONDS = 45.0
SCALE = float(yaml.safe_load((HERE / "variables.yml").read_text(encoding="utf-8"))["monitoring_time_scale"])
ENGINE = "local-llm@chat.service"
EXPORTER = "prometheus-node-exporter.service"


def waits_seconds(name: str) -> float:
    """Return how long the rule of an alert waits in this rehearsal."""
    entries = [entry for group in alert_data().values() for entry in group]
    return seconds_of(next(entry.get("for", "0s") for entry in entries if entry["alert"] == name)) / SCALE


def arrives(watched: Watched, name: str, broken_at: float, **labels: str) -> Told:
    """Return the message about the alert, which must come within its time."""
    seconds = waits_seconds(name) + DEADLINE_SECONDS
    told: Told = wait_for(
        f"{name} {labels} is told; firing: {watched.fleet.firing()}",
        lambda: watched.webhook.find(name, "firing", broken_at, **labels),
        seconds,
    )
    assert told.at - broken_at >= waits_seconds(name), f"{name} came before its rule allows it"
    return told


def resolves(watched: Watched, name: str, mended_at: float, **labels: str) -> None:
    """Wait for the message that it is over."""
    wait_for(
        f"{name} {labels} is told to be over",
        lambda: watched.webhook.find(name, "resolved", mended_at, **labels),
        DEADLINE_SECONDS,
    )


def breaks(watched: Watched, name: str, host: str, fault: Callable[[], object], mend: Callable[[], object]) -> None:
    """Break, wait for the alert, mend, wait for its end; nothing else may be told."""
    began = time.monotonic()
    fault()
    try:
        told = arrives(watched, name, began, host=host)
        assert told.labels["severity"] in ("warning", "critical")
        assert told.labels["local_llm_time_scale"] == f"{SCALE:g}"
    finally:
        mend()
    resolves(watched, name, time.monotonic(), host=host)
    wait_for("everything is calm again", watched.is_calm, DEADLINE_SECONDS)
    assert watched.unexpected(name, since=began) == set()


def test_an_engine_that_is_killed_is_told_as_that_instance(calm: Watched) -> None:
    # Killed, and kept from coming back: the service manager would have it back within seconds.
    fault = f"systemctl kill --signal=KILL {ENGINE}; systemctl stop {ENGINE}"
    breaks(
        calm,
        "LocalLlmInstanceDown",
        "gpu1",
        lambda: calm.fleet.shell("gpu1", fault),
        lambda: calm.fleet.shell("gpu1", f"systemctl start {ENGINE}"),
    )


def test_an_exporter_that_stops_is_told_as_its_host(calm: Watched) -> None:
    breaks(
        calm,
        "LocalLlmHostDown",
        "gpu2",
        lambda: calm.fleet.shell("gpu2", f"systemctl stop {EXPORTER}"),
        lambda: calm.fleet.shell("gpu2", f"systemctl start {EXPORTER}"),
    )


def test_a_full_disk_is_told_as_that_disk(calm: Watched, tmp_path: Path) -> None:
    place = "/srv/scenario"
    calm.fleet.shell("gpu1", f"mkdir -p {place}")
    disk = HostDisk(calm.fleet, "gpu1", place, tmp_path / "disk.img", 64)
    disk.attach()
    try:
        size = f'node_filesystem_size_bytes{{host="gpu1",mountpoint="{place}"}}'
        wait_for("the exporter sees the disk", lambda: calm.fleet.query(size), DEADLINE_SECONDS)
        breaks(
            calm,
            "LocalLlmHostDiskFull",
            "gpu1",
            lambda: calm.fleet.shell("gpu1", f"dd if=/dev/zero of={place}/full bs=1M 2>/dev/null || true"),
            lambda: calm.fleet.shell("gpu1", f"rm {place}/full"),
        )
    finally:
        disk.detach()


def test_a_host_that_is_down_silences_the_alerts_of_its_instances(calm: Watched) -> None:
    began = time.monotonic()
    calm.fleet.shell("gpu1", f"systemctl stop {EXPORTER}")
    try:
        arrives(calm, "LocalLlmHostDown", began, host="gpu1")
        calm.fleet.shell("gpu1", f"systemctl stop {ENGINE}")

        def suppressed() -> bool:
            found = calm.fleet.ask(9093, "/api/v2/alerts", filter='alertname="LocalLlmInstanceDown"')
            return any(one["labels"]["host"] == "gpu1" and one["status"]["state"] == "suppressed" for one in found)

        seconds = waits_seconds("LocalLlmInstanceDown") + DEADLINE_SECONDS
        wait_for("the alert of the instance is there and silenced", suppressed, seconds)
        assert calm.webhook.find("LocalLlmInstanceDown", "firing", began) is None
    finally:
        # The engine first: while the host counts as down, nobody is told of it.
        calm.fleet.shell("gpu1", f"systemctl start {ENGINE}")
        wait_for("the instance is back", lambda: ("LocalLlmInstanceDown", "gpu1") not in calm.fleet.firing(), 60)
        calm.fleet.shell("gpu1", f"systemctl start {EXPORTER}")
    resolves(calm, "LocalLlmHostDown", began, host="gpu1")
    assert calm.unexpected("LocalLlmHostDown", since=began) == set()


def iterations(watched: Watched) -> float:
    return watched.fleet.value('min(prometheus_rule_group_iterations_total{rule_group=~".*;local_llm_.*_alerts"})')


def quiet(watched: Watched, rounds: int, seconds: float) -> None:
    """Let every group of alerts be looked at so often; nothing may fire, told or not."""
    began, before = time.monotonic(), iterations(watched)
    wait_for(f"{rounds} looks at the rules", lambda: iterations(watched) >= before + rounds, seconds)
    fired = watched.fleet.fired(time.monotonic() - began)
    assert fired - SHARED_MACHINE.keys() == set()
    assert watched.unexpected(since=began) == set()


def test_a_quiet_fleet_fires_nothing_for_what_counts_as_15_minutes(calm: Watched) -> None:
    quiet(calm, round(15 * 60 / SCALE / 2), 240)


@pytest.mark.extra
@pytest.mark.slow
def test_a_quiet_fleet_fires_nothing_for_15_minutes(calm: Watched) -> None:
    done = calm.fleet.playbook("monitoring", "-e", "monitoring_time_scale=1")
    assert done.code == 0, done.output[-6000:]
    try:
        quiet(calm, 15 * 60 // 2, 1500)
    finally:
        done = calm.fleet.playbook("monitoring")
        assert done.code == 0, done.output[-6000:]
