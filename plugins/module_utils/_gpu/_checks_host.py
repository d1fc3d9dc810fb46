# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of the host around the GPUs: processor clock, memory errors, time, disks, processes that do not end."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    Check,
    Context,
    Findings,
    Snapshot,
    Threshold,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import driver_stuck

# Where the processor itself keeps time: x86 and ARM.
_GOOD_CLOCKSOURCES = ("tsc", "arch_sys_counter")
_IN_A_VM = "this is a virtual machine: its host decides"
_SHOWN = 5


def _cpu_governor(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    host = snapshot["host"]
    governors = sorted(set(host["cpu_governors"]))
    if host["virtual_machine"]:
        return check.skip("CPU governor", _IN_A_VM)
    if not governors:
        return check.skip("CPU governor", "the kernel does not scale the processor clock here (firmware or container)")
    if governors == ["performance"]:
        return check.ok("CPU governor", "performance")
    action = "cpupower frequency-set -g performance, and make it last: a tuned profile or a systemd unit."
    return [check.warn("CPU governor", ", ".join(governors), "performance", action, "configure")]


def _clocksource(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    host = snapshot["host"]
    source = host["clocksource"]
    if host["virtual_machine"]:
        return check.skip("clock source", _IN_A_VM)
    if source is None:
        return check.skip("clock source", "the kernel does not tell it here")
    if source in _GOOD_CLOCKSOURCES:
        return check.ok("clock source", source)
    action = (
        "Read why the kernel gave up tsc: journalctl -k -g clocksource. Usual causes: an old BIOS, one unstable "
        "processor. Every reading of the time is slow until then."
    )
    return [check.warn("clock source", source, "tsc", action, "configure")]


def _edac(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    corrected, uncorrected = snapshot["host"]["edac_corrected"], snapshot["host"]["edac_uncorrected"]
    if corrected is None and uncorrected is None:
        return check.skip("host memory", "the kernel counts no memory errors here (no EDAC driver or no ECC memory)")
    which = "Which module: ras-mc-ctl --errors, or grep . /sys/devices/system/edac/mc/mc*/dimm*/dimm_*e_count."
    if uncorrected is not None and uncorrected >= check.threshold(context, "uncorrected"):
        action = f"Drain the host, shut it down and replace the memory module. {which}"
        return [check.fail("host memory", f"{uncorrected} uncorrected errors since boot", 0, action, "hardware")]
    limit = check.threshold(context, "corrected")
    if corrected is not None and corrected >= limit:
        seen, action = f"{corrected} corrected errors since boot", f"Plan to replace the memory module. {which}"
        return [check.warn("host memory", seen, f"under {limit:g}", action, "hardware")]
    return check.ok("host memory", f"{corrected or 0} corrected errors")


def _time_sync(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    synchronised = snapshot["host"]["time_synchronised"]
    if synchronised is None:
        return check.skip("time", "the kernel may not be asked here, as in a container")
    if synchronised:
        return check.ok("time", "synchronised")
    action = (
        "Start a time service: systemctl enable --now chrony (or systemd-timesyncd). "
        "If it runs, look whether it reaches a server: chronyc sources, or timedatectl timesync-status"
    )
    return [check.warn("time", "not synchronised", "synchronised", action, "configure")]


def _disk(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    disks = [disk for disk in snapshot["host"]["disks"] if disk["read_only"] or disk["total_bytes"]]
    if not disks:
        return check.skip("disks", "no file system could be read")
    found = [finding for finding in (_one_disk(check, disk, context) for disk in disks) if finding]
    return found or check.ok("1 file system" if len(disks) == 1 else f"{len(disks)} file systems")


def _one_disk(check: Check, disk: Snapshot, context: Context) -> dict[str, Any] | None:
    path, free, total = disk["path"], disk["free_bytes"], disk["total_bytes"]
    if disk["read_only"]:
        action = (
            f"Read why: journalctl -k -g 'remount|I/O error'; findmnt -T {path}. After an I/O error look at the disk "
            "(smartctl -a, nvme smart-log) before you mount it for writing again."
        )
        return check.fail(path, "read-only", "writable", action, "configure")
    if free is None:
        return None
    percent = 100 * free / total
    least_bytes, least_percent = (
        check.threshold(context, "fail_free_bytes"),
        check.threshold(context, "warn_free_percent"),
    )
    seen = f"{free / 1e9:.1f} GB free ({percent:.1f} %)"
    action = (
        f"See what fills it: du -xh --max-depth=2 {path} | sort -h | tail. Usual: old releases and models "
        "under /var/lib/local_llm, container images, logs."
    )
    if free < least_bytes:
        return check.fail(path, seen, f"at least {least_bytes / 1e9:g} GB free", action, "configure")
    if percent < least_percent:
        return check.warn(path, seen, f"at least {least_percent:g} % free", action, "configure")
    return None


def _zombie_processes(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "age_seconds")
    zombies = snapshot["host"]["zombie_processes"]
    old = [item for item in zombies if item["age_seconds"] is not None and item["age_seconds"] >= limit]
    if not old:
        if zombies and all(item["age_seconds"] is None for item in zombies):
            return check.skip("processes", f"{len(zombies)} ended processes, but their age could not be read")
        return check.ok("processes", f"none ended and kept for {limit:g} s")
    names = ", ".join(f"{item['name']} ({item['pid']}, {item['age_seconds']:.0f} s)" for item in old[:_SHOWN])
    more = f" and {len(old) - _SHOWN} more" if len(old) > _SHOWN else ""
    action = (
        f"Restart the service of its parent: ps -o ppid=,comm= -p {old[0]['pid']}. A zombie whose thread hangs "
        "in the driver stays: then drain the host and reboot it in working hours."
    )
    return [check.warn("processes", f"ended, but kept: {names}{more}", "none", action, "restart_app")]


def _blocked_processes(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    if driver_stuck(snapshot):
        return check.skip("processes", "NVML does not answer either: nvml_hang reports these processes")
    # An engine that waits for a disk while it loads a model is in state D too, and well.
    blocked = [item for item in snapshot["host"]["blocked_processes"] if item["name"].startswith("nvidia")]
    if not blocked:
        return check.ok("processes", "none of the driver's own is blocked")
    names = ", ".join(f"{item['name']} ({item['pid']})" for item in blocked[:_SHOWN])
    action = (
        f"Look again in five minutes: ps -o pid,stat,wchan:32,etime,comm -p {blocked[0]['pid']}. "
        "If it is still in state D, drain the host and reboot it: SIGKILL does not end it."
    )
    return [check.warn("processes", f"blocked in the kernel: {names}", "none", action, "reboot")]


CHECKS: tuple[Check, ...] = (
    Check(
        name="cpu_governor",
        looks_at="the processors run at full clock",
        source="/sys/devices/system/cpu/cpufreq/*/scaling_governor",
        reference="gcm, sichek",
        group="gpu_host",
        run=_cpu_governor,
    ),
    Check(
        name="clocksource",
        looks_at="the kernel reads the time from the processor",
        source="/sys/devices/system/clocksource/clocksource0/current_clocksource",
        reference="gcm",
        group="gpu_host",
        run=_clocksource,
    ),
    Check(
        name="edac",
        looks_at="the memory of the host has no errors",
        source="/sys/devices/system/edac/mc/mc*/ce_count, ue_count",
        reference="sichek names it as a gap of its own",
        group="gpu_host",
        run=_edac,
        thresholds={
            "uncorrected": Threshold(1, 1, 1_000_000, "one uncorrected error can have changed a weight or a pointer"),
            "corrected": Threshold(1000, 1, 1_000_000_000, "our own: some are normal, a thousand in one boot are not"),
        },
    ),
    Check(
        name="time_sync",
        looks_at="something keeps the clock right",
        source="adjtimex",
        reference="sichek names it as a gap of its own",
        group="gpu_host",
        run=_time_sync,
    ),
    Check(
        name="disk",
        looks_at="the file systems of models, engines and logs can be written and have room",
        source="statvfs",
        reference="gpud: degraded under 500 MB, disk pressure under 10 %",
        group="gpu_host",
        run=_disk,
        thresholds={
            "fail_free_bytes": Threshold(500_000_000, 0, 1e15, "gpud: under 500 MB a host counts as degraded"),
            "warn_free_percent": Threshold(10, 0, 100, "gpud: under 10 % is disk pressure"),
        },
    ),
    Check(
        name="zombie_processes",
        looks_at="no ended process is kept for long",
        source="/proc/*/stat, state Z",
        reference="gcm: older than 300 s, the host needs a reboot",
        group="gpu_host",
        run=_zombie_processes,
        thresholds={"age_seconds": Threshold(300, 1, 604_800, "gcm: 300 s")},
    ),
    Check(
        name="blocked_processes",
        looks_at="no process of the driver is blocked while NVML answers; while it does not, nvml_hang reports them",
        source="/proc/*/stat, state D, name nvidia*",
        reference="gpud blocked_processes",
        group="gpu_host",
        run=_blocked_processes,
    ),
)
