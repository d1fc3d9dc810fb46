# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU exporter on a real host with fake GPUs: names, XIDs, a driver that hangs, memory, privileges."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from exporter_host import HOST, UNIT, ExporterHost
from gpu_fleet import KEEP, LAB, healthy, with_faults
from waiting import wait_for

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import gpu_metrics

# Of gpu_exporter.yml.
MAX_AGE_SECONDS = 15
MEMORY_BYTES = 40e6
# What eight H100 of the fake do not tell, and what there is only in trouble.
NOT_SHOWN = {
    f"local_llm_gpu_{name}"
    for name in (
        "last_xid",
        "xid_errors_total",
        "driver_problem",
        "retired_pages_pending",
        "pcie_transmitted_bytes_total",
        "pcie_received_bytes_total",
        "nvlink_transmitted_bytes_total",
        "nvlink_received_bytes_total",
    )
}


@pytest.fixture(scope="module")
def host() -> Iterator[ExporterHost]:
    """The host, set up once for all tests here."""
    it = ExporterHost(f"{LAB[:11]}x")
    it.begin()
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture(autouse=True)
def well(host: ExporterHost) -> Iterator[None]:
    """Before and after each test the driver answers for eight healthy GPUs."""
    host.give(**{HOST: healthy()})
    wait_for("the driver to answer", lambda: fresh(host), 120)
    yield


def fresh(host: ExporterHost) -> bool:
    found = host.scrape()
    return found.value("driver_problem") is None and len(found.values.get("local_llm_gpu_lost", ())) == 8


def stamp(host: ExporterHost) -> float:
    return host.scrape().value("scrape_success_timestamp_seconds") or 0.0


def test_names_types_and_labels_are_those_that_the_rules_use(host: ExporterHost) -> None:
    found = host.scrape()
    scheme = gpu_metrics()
    assert set(found.values) - {"local_llm_gpu_xid_errors_total"} == set(scheme) - NOT_SHOWN
    for name, series in found.values.items():
        own = [] if scheme[name].get("scope") == "host" else ["gpu", "uuid"]
        assert found.types[name] == scheme[name]["type"]
        for labels in series:
            assert sorted(label for label, _value in labels) == sorted(own + scheme[name].get("labels", [])), name
    assert found.value("info", gpu="3", name="NVIDIA H100 80GB HBM3") == 1
    assert found.value("driver_info", cuda="13.0") == 1


def test_xid_in_the_kernel_log_is_counted_by_code_and_gpu(host: ExporterHost) -> None:
    before = host.scrape().value("xid_errors_total", gpu="0", xid="63") or 0
    host.fake_gpu(HOST, "log", "NVRM: Xid (PCI:0000:18:00): 63, pid=1, name=x, Row Remapper: New row")
    wait_for("the first", lambda: host.scrape().value("xid_errors_total", gpu="0", xid="63") == before + 1, 30)
    host.fake_gpu(HOST, "log", "NVRM: Xid (PCI:0000:18:00): 63, pid=1, name=x, Row Remapper: New row", "usb: no")
    wait_for("the second", lambda: host.scrape().value("xid_errors_total", gpu="0", xid="63") == before + 2, 30)


def test_processes_are_told_by_owner_without_their_numbers(host: ExporterHost) -> None:
    pid = host.shell(HOST, f"systemctl show -P MainPID {UNIT}").strip()
    host.fake_gpu(HOST, "set", f"gpu.1.process.0=compute {pid} 4096", "gpu.1.process.1=compute 999999 8192")
    wait_for("it", lambda: host.scrape().value("process_memory_bytes", gpu="1", owner="service") == 4096, 30)
    found = host.scrape()
    assert found.value("process_memory_bytes", gpu="1", owner="gone") == 8192
    assert not any(
        pid in value for labels in found.values["local_llm_gpu_process_memory_bytes"] for _k, value in labels
    )


def test_lost_gpu_is_told_and_the_others_go_on(host: ExporterHost) -> None:
    host.give(**{HOST: with_faults("gpu_lost")})
    wait_for("GPU 3 to be lost", lambda: host.scrape().value("lost", gpu="3") == 1, 60)
    found = host.scrape()
    assert found.value("temperature_celsius", gpu="3") is None
    assert found.value("temperature_celsius", gpu="2") is not None
    wait_for("its XID", lambda: host.scrape().value("xid_errors_total", gpu="3", xid="79"), 30)


def test_hung_driver_costs_one_process_and_no_waiting_and_is_told(host: ExporterHost) -> None:
    calm = host.processes()
    host.fake_gpu(HOST, "set", "hang.nvmlDeviceGetTemperature=stubborn")
    wait_for("it to hang", lambda: host.scrape().value("driver_problem", problem="hung") == 1, 60)
    last = stamp(host)
    wait_for("old values to go", lambda: "local_llm_gpu_power_watts" not in host.scrape().values, MAX_AGE_SECONDS + 30)
    # Some more attempts: none may leave anything behind. This looks for a time, since nothing comes to wait for.
    most = 0
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = host.processes()
        most = max(most, len(now))
        assert sum(one["threads"] for one in now) <= sum(one["threads"] for one in calm) + 2
        assert host.scrape().value("scrape_success_timestamp_seconds") == last
        time.sleep(1)
    assert most <= 2, "the exporter, and at most one process that asks"
    assert "nvmlDeviceGetTemperature (GPU 0)" in host.shell(HOST, f"journalctl -u {UNIT} -o cat")
    host.give(**{HOST: healthy()})
    wait_for("the driver to answer again", lambda: fresh(host), 120)
    assert stamp(host) > last


def test_card_that_lacks_things_shows_them_not_at_all(host: ExporterHost) -> None:
    host.give(**{HOST: healthy("rtx_4090_4")})
    host.shell(HOST, f"systemctl restart {UNIT}")
    wait_for("four GPUs", lambda: answers(host) and len(host.scrape().values.get("local_llm_gpu_lost", ())) == 4, 60)
    found = host.scrape().values
    assert "local_llm_gpu_temperature_celsius" in found
    assert not {"local_llm_gpu_ecc_corrected_total", "local_llm_gpu_memory_temperature_celsius"} & set(found)
    assert "local_llm_gpu_nvlink_errors_total" not in found
    host.give(**{HOST: healthy()})
    host.shell(HOST, f"systemctl restart {UNIT}")
    wait_for("eight GPUs", lambda: answers(host) and fresh(host), 60)


def answers(host: ExporterHost) -> bool:
    try:
        host.scrape()
    except OSError:
        return False
    return True


def test_all_its_processes_fit_into_forty_megabytes(host: ExporterHost) -> None:
    for _turn in range(20):
        host.scrape()
    found = host.processes()
    assert len(found) == 2
    assert sum(one["pss"] for one in found) <= MEMORY_BYTES, found


def test_service_may_do_little(host: ExporterHost) -> None:
    output = host.shell(HOST, f"systemd-analyze security --no-pager {UNIT}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert found is not None and float(found[1]) <= 3.0, output
    uids = host.shell(
        HOST, f"ps -o uid= --pid $(systemctl show -P MainPID {UNIT}) --ppid $(systemctl show -P MainPID {UNIT})"
    )
    assert "0" not in uids.split()


def test_second_run_of_the_role_changes_nothing(host: ExporterHost) -> None:
    done = host.run_role()
    assert done.returncode == 0 and re.search(r"changed=0 ", done.stdout), done.stdout[-3000:]
