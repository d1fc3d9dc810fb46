# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break something: the named alert comes in time, resolves after the mend, and nothing else is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from crowd import Crowd
from fleet import CHECKOUT
from host_disk import HostDisk
from monitoring_fleet import HERE, SERVING, SHARED_MACHINE, WITH_OWN_RULES, Ruled, Told, Watched
from waiting import wait_for

sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import seconds_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data

# Beyond the time that the rule itself waits: scrape, evaluation, grouping, and a machine that others use too.
DEADLINE_SECONDS = 45.0
VARIABLES = yaml.safe_load((HERE / "variables.yml").read_text(encoding="utf-8"))
SCALE = float(VARIABLES["monitoring_time_scale"])
EVALUATED_SECONDS = int(VARIABLES["monitoring_evaluation_interval_seconds"])
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
    happen: Callable[[], object] = field(default=lambda: None)
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
    """Break all, wait for each alert, mend it, wait for each end; nothing else may be told."""
    began = time.monotonic()
    broken: list[tuple[Fault, float]] = []
    mended: list[tuple[Fault, float]] = []
    try:
        for fault in sorted(faults, key=lambda one: waits_seconds(one.name)):
            broken.append((fault, time.monotonic()))
            fault.happen()
        for fault, at in broken:
            told = arrives(watched, fault.name, at, **fault.labels)
            assert told.labels["severity"] in ("warning", "critical")
            assert told.labels["local_llm_time_scale"] == f"{SCALE:g}"
            # An alert that ends by itself may be over before this one has come.
            mended.append((fault, at if fault.ends_seconds else time.monotonic()))
            fault.mend()
    finally:
        for fault, _at in broken[len(mended) :]:
            fault.mend()
    for fault, at in mended:
        resolves(watched, fault.name, at, fault.ends_seconds, **fault.labels)
    wait_for("everything is calm again", watched.is_calm, DEADLINE_SECONDS)
    assert watched.unexpected(*((fault.name, fault.labels["host"]) for fault in faults), since=began) == set()


def quiet(watched: Watched, rounds: int, seconds: float) -> None:
    """Let every group of alerts be looked at so often since something was broken; nothing may fire, told or not."""
    before = watched.undisturbed_looks
    wait_for(f"{rounds} looks at the rules", lambda: watched.looks() >= before + rounds, seconds)
    fired = watched.fleet.fired(time.monotonic() - watched.undisturbed_since)
    assert fired - SHARED_MACHINE.keys() == set()
    assert watched.unexpected(since=watched.undisturbed_since) == set()


def test_a_quiet_fleet_fires_nothing_for_what_counts_as_15_minutes(watched: Watched, ruled: Ruled) -> None:
    """First of all, since nothing was broken yet: the time since the rules were made counts."""
    quiet(watched, round(15 * 60 / SCALE / EVALUATED_SECONDS), 240)


def test_faults_at_one_time_are_told_each_by_its_name(calm: Watched, tmp_path: Path) -> None:
    """A dead engine, a full disk, a hot GPU, an XID that takes a GPU out of service, one that an application caused."""
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
        killed = Fault(
            "LocalLlmInstanceDown",
            {"host": "gpu1", "server": "gpu1-chat"},
            # Kept from coming back: the service manager would have it back within seconds.
            lambda: calm.fleet.shell("gpu1", f"systemctl kill --signal=KILL {ENGINE}; systemctl stop {ENGINE}"),
            lambda: calm.fleet.shell("gpu1", f"systemctl start {ENGINE}"),
        )
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
        breaks(calm, killed, full, hot, *xids)
    finally:
        disk.detach()


def test_more_clients_than_the_engines_can_serve_are_told_as_requests_that_wait(calm: Watched) -> None:
    crowd = Crowd(calm.fleet.lab.host("gw1").address, clients=72, output_tokens=128)
    queues = [Fault("LocalLlmEngineQueue", {"host": host, "server": f"{host}-chat"}) for host in SERVING]
    breaks(calm, replace(queues[0], happen=crowd.start), replace(queues[-1], mend=crowd.stop))


def test_an_exporter_that_stops_is_told_as_its_host_and_silences_the_alerts_of_its_instances(calm: Watched) -> None:
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
    assert calm.unexpected(("LocalLlmHostDown", "gpu1"), since=began) == set()


@pytest.mark.extra
@pytest.mark.slow
def test_a_quiet_fleet_fires_nothing_for_15_minutes(calm: Watched) -> None:
    done = calm.fleet.playbook("monitoring", "-e", "monitoring_time_scale=1")
    assert done.code == 0, done.output[-6000:]
    try:
        calm.leave_alone()
        quiet(calm, 15 * 60 // EVALUATED_SECONDS, 1500)
    finally:
        done = calm.fleet.playbook("monitoring", *WITH_OWN_RULES)
        assert done.code == 0, done.output[-6000:]
