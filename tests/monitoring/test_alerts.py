# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break something: the named alert comes in time, resolves after the mend, and nothing else is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import yaml
from crowd import Crowd
from fleet import CHECKOUT
from host_disk import HostDisk
from monitoring_fleet import HERE, SERVING, SHARED_MACHINE, Told, Watched
from waiting import wait_for

sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import seconds_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data

# Beyond the time that the rule itself waits: scrape, evaluation, grouping, and a machine that others use too.
DEADLINE_SECONDS = 45.0
SCALE = float(yaml.safe_load((HERE / "variables.yml").read_text(encoding="utf-8"))["monitoring_time_scale"])
ENGINE = "local-llm@chat.service"
EXPORTER = "prometheus-node-exporter.service"
# Of the eight cards of gpu1. A new code is told for 10 minutes, in the scale of the rehearsal.
XID_79 = "NVRM: Xid (PCI:0000:18:00): 79, pid=1234, name=llama-server, GPU has fallen off the bus."
XID_31 = "NVRM: Xid (PCI:0000:2a:00): 31, pid=1, name=llama-server, MMU Fault: ENGINE GRAPHICS"
XID_TOLD_SECONDS = 600 / SCALE


@dataclass(frozen=True)
class Fault:
    """Something that a test breaks: the alert that must come of it, with these labels, and how it is mended.

    ends_seconds: how long the alert goes on by itself after the mend.
    """

    name: str
    labels: dict[str, str]
    happen: Callable[[], object]
    mend: Callable[[], object] = field(default=lambda: None)
    ends_seconds: float = 0.0


def waits_seconds(name: str) -> float:
    """Return how long the rule of an alert waits in this rehearsal."""
    entries = [entry for group in alert_data().values() for entry in group]
    return seconds_of(next(entry.get("for", "0s") for entry in entries if entry["alert"] == name)) / SCALE


def arrives(watched: Watched, name: str, broken_at: float, **labels: str) -> Told:
    """Return the message about the alert, which must come within its time."""
    seconds = waits_seconds(name) + DEADLINE_SECONDS
    told: Told = wait_for(
        lambda: f"{name} {labels} is told; firing: {watched.fleet.firing()}",
        lambda: watched.webhook.find(name, "firing", broken_at, **labels),
        seconds,
    )
    assert told.at - broken_at >= waits_seconds(name), f"{name} came before its rule allows it"
    return told


def resolves(watched: Watched, name: str, mended_at: float, seconds: float = 0.0, **labels: str) -> None:
    """Wait for the message that it is over."""
    wait_for(
        f"{name} {labels} is told to be over",
        lambda: watched.webhook.find(name, "resolved", mended_at, **labels),
        seconds + DEADLINE_SECONDS,
    )


def breaks(watched: Watched, *faults: Fault) -> None:
    """Break, wait for each alert, mend, wait for each end; nothing else may be told."""
    began = time.monotonic()
    broken = {fault.name: began for fault in faults}
    mended = dict(broken)
    try:
        for fault in faults:
            broken[fault.name] = time.monotonic()
            fault.happen()
        for fault in faults:
            told = arrives(watched, fault.name, broken[fault.name], **fault.labels)
            assert told.labels["severity"] in ("warning", "critical")
            assert told.labels["local_llm_time_scale"] == f"{SCALE:g}"
    finally:
        for fault in faults:
            # An alert that ends by itself may be over before the last one has come.
            mended[fault.name] = broken[fault.name] if fault.ends_seconds else time.monotonic()
            fault.mend()
    for fault in faults:
        resolves(watched, fault.name, mended[fault.name], fault.ends_seconds, **fault.labels)
    wait_for("everything is calm again", watched.is_calm, DEADLINE_SECONDS)
    assert watched.unexpected(*broken, since=began) == set()


def test_an_engine_that_is_killed_is_told_as_that_instance(calm: Watched) -> None:
    # Killed, and kept from coming back: the service manager would have it back within seconds.
    fault = f"systemctl kill --signal=KILL {ENGINE}; systemctl stop {ENGINE}"
    breaks(
        calm,
        Fault(
            "LocalLlmInstanceDown",
            {"host": "gpu1", "server": "gpu1-chat"},
            lambda: calm.fleet.shell("gpu1", fault),
            lambda: calm.fleet.shell("gpu1", f"systemctl start {ENGINE}"),
        ),
    )


def test_an_exporter_that_stops_is_told_as_its_host(calm: Watched) -> None:
    breaks(
        calm,
        Fault(
            "LocalLlmHostDown",
            {"host": "gpu2"},
            lambda: calm.fleet.shell("gpu2", f"systemctl stop {EXPORTER}"),
            lambda: calm.fleet.shell("gpu2", f"systemctl start {EXPORTER}"),
        ),
    )


def test_more_clients_than_the_engines_can_serve_are_told_as_requests_that_wait(calm: Watched) -> None:
    crowd = Crowd(calm.fleet.lab.host("gw1").address, clients=48)
    breaks(calm, Fault("LocalLlmEngineQueue", {"host": "gpu1", "server": "gpu1-chat"}, crowd.start, crowd.stop))
    assert {one.labels["host"] for one in calm.webhook.told() if one.name == "LocalLlmEngineQueue"} == set(SERVING)


def test_slow_faults_at_one_time_are_told_each_by_its_name(calm: Watched, tmp_path: Path) -> None:
    """A full disk, a hot GPU, an XID that takes a GPU out of service, and one that an application has caused."""
    place = "/srv/scenario"
    calm.fleet.shell("gpu2", f"mkdir -p {place}")
    disk = HostDisk(calm.fleet, "gpu2", place, tmp_path / "disk.img", 64)
    disk.attach()
    try:
        size = f'node_filesystem_size_bytes{{host="gpu2",mountpoint="{place}"}}'
        wait_for("the exporter sees the disk", lambda: calm.fleet.query(size), DEADLINE_SECONDS)
        # A series that is new tells of an XID only when somebody looked before.
        looked = f'up{{job="local_llm_gpu",host="gpu1"}} offset {XID_TOLD_SECONDS:.0f}s == 1'
        wait_for("the GPUs to have been looked at for long enough", lambda: calm.fleet.query(looked), 120)
        full = Fault(
            "LocalLlmHostDiskFull",
            {"host": "gpu2", "mountpoint": place},
            lambda: calm.fleet.shell("gpu2", f"dd if=/dev/zero of={place}/full bs=1M 2>/dev/null || true"),
            lambda: calm.fleet.shell("gpu2", f"rm {place}/full"),
        )
        hot = Fault(
            "LocalLlmGpuHot",
            {"host": "gpu1", "gpu": "3"},
            lambda: calm.fleet.fake_gpu("gpu1", "set", "gpu.3.temperature.gpu=85"),
            lambda: calm.fleet.fake_gpu("gpu1", "set", "gpu.3.temperature.gpu=31"),
        )
        xids = [
            Fault(
                name,
                {"host": "gpu1", "gpu": gpu, "xid": xid},
                partial(calm.fleet.fake_gpu, "gpu1", "log", line),
                ends_seconds=XID_TOLD_SECONDS,
            )
            for name, gpu, xid, line in (
                ("LocalLlmGpuXidCritical", "0", "79", XID_79),
                ("LocalLlmGpuXid", "1", "31", XID_31),
            )
        ]
        breaks(calm, full, hot, *xids)
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
