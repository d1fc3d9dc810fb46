# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the kernel log: which finding, for which GPU, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context, worst_remedy
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_log import CHECKS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import events
from ansible_collections.local_llm.ops.plugins.plugin_utils._xid_data import load_policies, merge_overrides
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import bare_host, gpu, snapshot

POLICIES = merge_overrides(load_policies(), {})
BOOT = "11111111-2222-3333-4444-555555555555"
NOW = 1_793_534_400.0
FALLEN = "NVRM: Xid (PCI:0000:18:00): 79, pid=1234, name=python, GPU has fallen off the bus."
APPLICATION = "NVRM: Xid (PCI:0000:19:00): 31, pid=7, name=python, Ch 00000008"
NOTED = "NVRM: Xid (PCI:0000:19:00): 43, pid=7, name=python, Ch 00000008"
SWITCH = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)"
READ_ONLY = "EXT4-fs (sda1): Remounting filesystem read-only"
HUNG = "INFO: task nvidia-modeset:42 blocked for more than 120 seconds."
BY_NAME = {check.name: check for check in CHECKS}


def run(name: str, host: dict[str, Any], *lines: str, boot: str | None = BOOT, **context: Any) -> list[dict[str, Any]]:
    """Run a check on a host whose log has these lines, one a second, the last a minute before the snapshot."""
    first = NOW - 60 - len(lines)
    host["log"]["events"] += events([(first + number, boot, line) for number, line in enumerate(lines)])
    check = BY_NAME[name]
    return check.run(check, host, Context(**{"policies": POLICIES, **context}))


def with_switch(host: dict[str, Any]) -> dict[str, Any]:
    host["pci"].append({**host["pci"][0], "address": "0000:05:00.0", "kind": "nvswitch", "class": "0680"})
    return host


def unread(host: dict[str, Any], source: str = "kmsg", error: str | None = "permission denied") -> dict[str, Any]:
    host["log"].update(readable=False, source=source, error=error)
    return host


def summary(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(item["status"], item["remedy"]) for item in findings]


def test_xid_quiet_log_is_one_ok_finding() -> None:
    (item,) = run("xid", snapshot())
    assert (item["status"], item["subject"], item["observed"]) == ("ok", "8 GPUs", "no XID")
    assert item["runbook"] == "docs/runbooks/gpu_xid.md#xid"


def test_xid_fatal_code_fails_its_gpu_with_what_to_do() -> None:
    (item,) = run("xid", snapshot(), FALLEN)
    assert summary([item]) == [("fail", "reboot")]
    assert item["gpu"]["pci_address"] == "0000:18:00.0" and item["gpu"]["index"] == 0
    assert set(item["observed"]) == {"xid", "count", "first_at", "last_at", "message"}
    assert item["observed"]["xid"] == 79 and item["observed"]["message"].startswith("NVRM: Xid")
    assert item["expected"] == "no XID 79"
    assert "reboot" in item["action"] and "PCIe bus" in item["action"]


def test_xid_one_finding_per_gpu_and_code() -> None:
    found = run("xid", snapshot(), FALLEN, APPLICATION, FALLEN, APPLICATION, NOTED)
    assert [(item["gpu"]["index"], item["observed"]["xid"]) for item in found] == [(0, 79), (1, 31)]
    assert summary(found) == [("fail", "reboot"), ("warn", "restart_app")]
    assert [item["observed"]["count"] for item in found] == [1, 1]


def test_xid_that_asks_for_nothing_is_only_noted() -> None:
    (item,) = run("xid", snapshot(), NOTED)
    assert item["status"] == "ok"
    assert "XID 43 on 0000:19:00.0" in item["observed"]


def test_xid_reset_names_the_gpu_to_reset() -> None:
    (item,) = run("xid", snapshot(), "NVRM: Xid (PCI:0000:18:00): 95, pid=1, name=x, Uncontained")
    assert summary([item]) == [("fail", "reset_gpu")]
    assert "nvidia-smi --gpu-reset -i 0000:18:00.0" in item["action"]


def test_xid_154_decides_for_its_gpu_only() -> None:
    lines = [
        "NVRM: Xid (PCI:0000:18:00): 95, x",
        "NVRM: Xid (PCI:0000:19:00): 95, x",
        "NVRM: Xid (PCI:0000:18:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (OS Reboot)",
    ]
    host = snapshot([gpu(index, recovery_action=None) for index in range(2)])
    found = run("xid", host, *lines)
    assert [(item["gpu"]["index"], item["observed"]["xid"], item["remedy"]) for item in found] == [
        (0, 95, "reboot"),
        (0, 154, "reboot"),
        (1, 95, "reset_gpu"),
    ]
    assert found[1]["expected"].startswith("recovery action 0x0")


def test_xid_both_ways_to_tell_a_fall_are_one_finding() -> None:
    lines = [
        FALLEN,
        "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.",
        "NVRM: fallen off the bus and is not responding to commands.",
    ]
    (item,) = run("xid", snapshot(), *lines)
    assert item["observed"]["xid"] == 79 and item["observed"]["count"] == 1


def test_xid_fall_without_an_address_goes_to_the_gpu_that_does_not_answer() -> None:
    host = snapshot()
    host["pci"][3]["readable"] = False
    (item,) = run("xid", host, "NVRM: fallen off the bus and is not responding to commands.")
    assert item["gpu"]["index"] == 3
    (item,) = run("xid", snapshot(), "NVRM: fallen off the bus and is not responding to commands.")
    assert item["gpu"] is None and item["status"] == "fail"


def test_xid_gpu_that_nvml_has_lost_is_known_by_its_address() -> None:
    host = snapshot()
    del host["gpus"][0]
    (item,) = run("xid", host, FALLEN)
    assert item["gpu"] == {"index": None, "uuid": None, "pci_address": "0000:18:00.0"}
    assert item["subject"] == "GPU at 0000:18:00.0"


@pytest.mark.parametrize(
    ("context", "status"),
    [
        ({}, "fail"),
        ({"since_seconds": NOW}, "ok"),
        ({"since_seconds": NOW - 3600}, "fail"),
        ({"cleared_at_seconds": {"*": NOW}}, "ok"),
        ({"cleared_at_seconds": {"0000:18:00.0": NOW}}, "ok"),
        ({"cleared_at_seconds": {"0000:19:00.0": NOW}}, "fail"),
        ({"cleared_at_seconds": {"0000:18:00.0": NOW - 3600}}, "fail"),
    ],
)
def test_xid_counts_only_what_nothing_has_answered(context: dict[str, Any], status: str) -> None:
    assert [item["status"] for item in run("xid", snapshot(), FALLEN, **context)] == [status]


def test_xid_that_was_mended_once_counts_when_it_comes_back() -> None:
    again = "NVRM: Xid (PCI:0000:18:00): 64, x"
    cleared = {"*": NOW - 3600}
    host = snapshot()
    host["log"]["events"] = events([(NOW - 5 * 86400, BOOT, again)])
    assert run("xid", host, cleared_at_seconds=cleared)[0]["status"] == "ok"
    (item,) = run("xid", host, again, cleared_at_seconds=cleared)
    assert summary([item]) == [("fail", "hardware")] and item["observed"]["count"] == 1
    # A person has put in another card: it has no past.
    host["state"] = {"mended_at_seconds": {"0000:18:00.0": NOW - 3600}}
    assert run("xid", host, cleared_at_seconds=cleared)[0]["remedy"] != "hardware"


def test_sxid_that_was_mended_counts_when_it_comes_back() -> None:
    host = with_switch(snapshot())
    host["log"]["events"] = events([(NOW - day * 86400, BOOT, SWITCH) for day in (2, 1)])
    (item,) = run("sxid", host, SWITCH, cleared_at_seconds={"*": NOW - 3600})
    assert summary([item]) == [("fail", "hardware")]


def test_xid_of_an_older_boot_was_answered_by_the_boot() -> None:
    assert [item["status"] for item in run("xid", snapshot(), FALLEN, boot="another")] == ["ok"]


def test_xid_override_of_the_site_decides() -> None:
    own = merge_overrides(load_policies(), {79: {"severity": "warning", "action": "none"}})
    assert summary(run("xid", snapshot(), FALLEN, policies=own)) == [("warn", "none")]


def test_xid_without_policies_is_a_warning_and_never_a_reboot() -> None:
    assert summary(run("xid", snapshot(), FALLEN, policies={})) == [("warn", "none")]


def test_xid_does_not_apply_without_a_gpu_or_without_a_log() -> None:
    (item,) = run("xid", bare_host())
    assert item["status"] == "skip" and "no NVIDIA GPU" in item["observed"]
    (item,) = run("xid", unread(snapshot()))
    assert item["status"] == "skip" and "see kernel_log" in item["observed"]


def test_xid_kept_from_earlier_runs_counts_even_when_the_log_is_unreadable_now() -> None:
    assert summary(run("xid", unread(snapshot()), FALLEN)) == [("fail", "reboot")]


def test_sxid_quiet_switch_is_ok() -> None:
    (item,) = run("sxid", with_switch(snapshot()))
    assert (item["status"], item["subject"]) == ("ok", "1 NVSwitch")


def test_sxid_fatal_code_fails_although_the_line_says_non_fatal() -> None:
    (item,) = run("sxid", with_switch(snapshot()), SWITCH)
    assert summary([item]) == [("fail", "reboot")]
    assert item["subject"] == "NVSwitch 0000:05:00.0" and item["gpu"] is None
    assert item["observed"]["sxid"] == 12028


def test_sxid_harmless_and_unknown_codes() -> None:
    line = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): {}, Fatal, Link 1 x"
    assert summary(run("sxid", with_switch(snapshot()), line.format(11012))) == [("ok", "none")]
    assert summary(run("sxid", with_switch(snapshot()), line.format(39999))) == [("warn", "none")]


def test_sxid_of_an_older_boot_asks_for_nothing() -> None:
    assert summary(run("sxid", with_switch(snapshot()), SWITCH, boot="another")) == [("ok", "none")]


def test_sxid_does_not_apply_without_a_switch_or_a_log() -> None:
    (item,) = run("sxid", snapshot())
    assert item["status"] == "skip" and "no NVSwitch" in item["observed"]
    assert run("sxid", unread(with_switch(snapshot())))[0]["status"] == "skip"


def test_kernel_log_readable_is_ok() -> None:
    (item,) = run("kernel_log", snapshot())
    assert item["status"] == "ok" and "journal" in item["observed"]


def test_kernel_log_without_permission_says_what_to_grant() -> None:
    (item,) = run("kernel_log", unread(snapshot()))
    assert summary([item]) == [("warn", "configure")]
    assert item["observed"] == "permission denied"
    for word in ("become: true", "systemd-journal", "adm", "CAP_SYSLOG"):
        assert word in item["action"]


def test_kernel_log_with_lost_messages_is_a_warning_by_threshold() -> None:
    host = snapshot()
    host["log"]["lost_messages"] = 3
    (item,) = run("kernel_log", host)
    assert item["status"] == "warn" and "3 messages" in item["observed"]
    assert run("kernel_log", host, thresholds={"kernel_log": {"lost_messages": 3}})[0]["status"] == "ok"


def test_kernel_log_that_is_switched_off_does_not_apply() -> None:
    off = unread(snapshot(), "none", "kernel_log is none: nothing of the kernel log was read")
    assert run("kernel_log", off)[0]["status"] == "skip"
    assert run("kernel_log", unread(snapshot(), "none", "there is no source"))[0]["status"] == "warn"


def test_kernel_faults_quiet_kernel_is_ok() -> None:
    assert summary(run("kernel_faults", snapshot())) == [("ok", "none")]


@pytest.mark.parametrize(
    ("line", "remedy", "subject"),
    [
        ("INFO: task kworker/3:1:77 blocked for more than 120 seconds.", "none", "blocked task kworker/3:1"),
        (HUNG, "none", "blocked task nvidia-modeset"),
        ("watchdog: BUG: soft lockup - CPU#3 stuck for 23s! [python:12]", "reboot", "soft lockup"),
        ("Out of memory: Killed process 77 (python3) total-vm:1kB", "configure", "out of memory"),
        ("I/O error, dev nvme0n1, sector 5 op 0x0:(READ)", "hardware", "disk error"),
        (READ_ONLY, "reboot", "read-only file system"),
    ],
)
def test_kernel_faults_are_warnings_with_a_remedy(line: str, remedy: str, subject: str) -> None:
    (item,) = run("kernel_faults", snapshot(), line)
    assert (item["status"], item["remedy"], item["subject"]) == ("warn", remedy, subject)
    assert item["observed"]["count"] == 1 and item["action"]


def test_kernel_faults_driver_task_that_hangs_again_must_leave_service_unless_nvml_answers() -> None:
    assert summary(run("kernel_faults", snapshot(nvml__status="error"), HUNG, HUNG)) == [("fail", "reboot")]
    more = {"kernel_faults": {"hung_driver_tasks": 3}}
    assert summary(run("kernel_faults", snapshot(nvml__status="error"), HUNG, HUNG, thresholds=more)) == [
        ("warn", "none")
    ]
    (item,) = run("kernel_faults", snapshot(), HUNG, HUNG)
    assert summary([item]) == [("warn", "none")] and "NVML answers" in item["action"]


@pytest.mark.parametrize(("nvml", "status"), [("hung", "fail"), ("ok", "ok"), ("mismatch", "ok")])
def test_kernel_faults_version_mismatch_is_told_once(nvml: str, status: str) -> None:
    host = snapshot(nvml__status=nvml)
    (item,) = run("kernel_faults", host, "NVRM: API mismatch: the client has the version 570.1, but")
    assert item["status"] == status


def test_kernel_faults_leaves_to_other_checks_what_they_see_now() -> None:
    read_only = snapshot()
    read_only["host"]["disks"][0]["read_only"] = True
    assert "see disk" in run("kernel_faults", read_only, READ_ONLY)[0]["observed"]
    blocked = snapshot(host__blocked_processes=[{"pid": 42, "name": "nvidia-modeset"}])
    assert "blocked_processes" in run("kernel_faults", blocked, HUNG, HUNG)[0]["observed"]
    assert "nvml_hang" in run("kernel_faults", snapshot(nvml__status="hung"), HUNG, HUNG)[0]["observed"]


def test_kernel_faults_of_an_older_boot_do_not_count() -> None:
    assert summary(run("kernel_faults", snapshot(), READ_ONLY, boot="another")) == [("ok", "none")]


def test_kernel_faults_do_not_apply_without_a_log() -> None:
    assert run("kernel_faults", unread(snapshot()))[0]["status"] == "skip"


def test_every_remedy_of_the_findings_is_one_that_the_ladder_knows() -> None:
    lines = [f"NVRM: Xid (PCI:0000:18:00): {code}, x" for code in range(1, 180)]
    found = run("xid", snapshot(), *lines)
    assert worst_remedy(found) == "hardware"
    assert all(item["action"] and "{" not in item["action"] for item in found)
