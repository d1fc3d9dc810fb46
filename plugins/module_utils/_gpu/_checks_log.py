# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of the kernel log: XIDs, SXids, whether the log could be read, and what else the kernel complains about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    Check,
    Context,
    Findings,
    Snapshot,
    Threshold,
    gpu_subject,
    gpus_subject,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import counting_events
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._log_events import RECOVERY_ACTION_CHANGED
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import no_gpu_here
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._xid_policy import (
    JOIN_SECONDS,
    Decision,
    Event,
    Situation,
    application_moments,
    judge_gpu,
    judge_switch,
)

GROUP = "gpu_xid"
_SWITCHED_OFF = "kernel_log is none"
_TASK = re.compile(r"task (\S.{0,60}?):\d+ blocked")
_DRIVER_TASK = re.compile(r"nvidia|^nv_|^nvlink", re.IGNORECASE)

# What a person does for a remedy.
_STEPS = {
    "none": "Nothing has to be done now; watch whether it comes back.",
    "configure": "",
    "restart_app": "Restart the instance that uses this GPU.",
    "reset_gpu": "Drain the host, stop what uses the GPU, then reset it: nvidia-smi --gpu-reset -i {address}.",
    "reboot": "Drain the host, then reboot it.",
    "hardware": "Drain the host, keep it out of service and open a case with the vendor.",
}
_PLAN_HARDWARE = "The host may serve on. Plan the repair and open a case with the vendor."
_MONITORED = "no XID that asks for an action"


def _counting(snapshot: Snapshot, context: Context) -> list[dict[str, Any]]:
    return counting_events(snapshot["log"]["events"], context.cleared_at_seconds, context.since_seconds)


def _answered(snapshot: Snapshot, context: Context, events: Sequence[Event]) -> list[Event]:
    """Return the events that no longer count by themselves, without those from before a person mended the device."""
    mended = (snapshot.get("state") or {}).get("mended_at_seconds") or {}
    return [
        event
        for event in counting_events(events, mended, None)
        if not counting_events([event], context.cleared_at_seconds, context.since_seconds)
    ]


def _xid(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    found = [item for item in _counting(snapshot, context) if item["kind"] in ("xid", "fallen_off_bus")]
    why = no_gpu_here(snapshot, context) or _unread(snapshot)
    if why and not found:
        return check.skip("XIDs", why)
    policy, nvlink5 = context.policies.get("xid") or {}, context.policies.get("nvlink5") or {}
    # Also what was answered: it counts where a code comes back.
    known = [item for item in snapshot["log"]["events"] if item["kind"] in ("xid", "fallen_off_bus")]
    devices = _by_device(known, snapshot)
    application = application_moments(policy, [event for own in devices.values() for event in own])
    findings: Findings = []
    noted: list[str] = []
    for address, every in devices.items():
        own = counting_events(every, context.cleared_at_seconds, context.since_seconds)
        gpu = _gpu_at(snapshot, address)
        situation = replace(_situation(snapshot, gpu, application), answered=_answered(snapshot, context, every))
        shown, only_noted = judge_gpu(policy, nvlink5, own, situation)
        noted += [_note("XID", address, one) for one in only_noted]
        findings += [_finding(check, "xid", _gpu_name(gpu, address), address, gpu, one) for one in shown]
    if findings:
        return findings
    if why:
        return check.skip("XIDs", why)
    return check.ok(gpus_subject(snapshot["gpus"]), "; ".join(noted) or "no XID", _MONITORED)


def _sxid(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    found = [item for item in _counting(snapshot, context) if item["kind"] == "sxid"]
    switches = _switches(snapshot)
    why = _unread(snapshot) if switches else "there is no NVSwitch in this host"
    if why and not found:
        return check.skip("SXids", why)
    policy = context.policies.get("sxid") or {}
    groups: dict[tuple[str | None, int], list[Event]] = {}
    for event in found:
        groups.setdefault((event["pci"], event["code"]), []).append(event)
    findings: Findings = []
    noted: list[str] = []
    for (address, code), own in sorted(groups.items(), key=lambda item: (item[0][0] or "", item[0][1])):
        every = [event for event in snapshot["log"]["events"] if event["kind"] == "sxid" and event["pci"] == address]
        situation = replace(_situation(snapshot, None, {}), answered=_answered(snapshot, context, every))
        decision = judge_switch(policy, code, own, situation)
        if decision.status == "ok":
            noted.append(_note("SXid", address, decision))
        else:
            subject = f"NVSwitch {address}" if address else "an NVSwitch that the line does not name"
            findings.append(_finding(check, "sxid", subject, address, None, decision))
    if findings:
        return findings
    if why:
        return check.skip("SXids", why)
    subject = f"{len(switches)} NVSwitch{'es' if len(switches) > 1 else ''}"
    return check.ok(subject, "; ".join(noted) or "no SXid", "no SXid that asks for an action")


def _kernel_log(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    log = snapshot["log"]
    error = log["error"]
    if not log["readable"]:
        if log["source"] == "none" and (error is None or error.startswith(_SWITCHED_OFF)):
            return check.skip("kernel log", "it is switched off: kernel_log is none")
        action = (
            "Run the check as root (become: true). Or grant the user what the source needs: for the journal the group "
            "systemd-journal or adm; for /dev/kmsg the capability CAP_SYSLOG (none with kernel.dmesg_restrict=0); "
            "for a file under /var/log the group adm. Until then no XID is seen."
        )
        return [check.warn("kernel log", error or "it cannot be read", "readable", action, "configure")]
    lost = int(log["lost_messages"])
    if lost > check.threshold(context, "lost_messages"):
        action = (
            "An XID may be among them. Look at journalctl -k of that time. Run the check more often, or make the log "
            "larger: log_buf_len=16M on the kernel command line; Storage=persistent and SystemMaxUse= in journald.conf."
        )
        return [check.warn("kernel log", f"{lost} messages were lost: {error or log['source']}", "none lost", action)]
    return check.ok("kernel log", f"{log['source']}, {len(log['events'])} events kept", "readable, nothing lost")


def _kernel_faults(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    now = _situation(snapshot, None, {})
    found = [item for item in _counting(snapshot, context) if item["kind"] in _FAULTS and now.is_this_boot(item)]
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in found:
        groups.setdefault((event["kind"], _task(event)), []).append(event)
    findings: Findings = []
    noted: list[str] = []
    for (kind, name), own in sorted(groups.items()):
        subject, action, remedy = _FAULTS[kind]
        elsewhere = _reported_elsewhere(kind, name, snapshot)
        if elsewhere:
            noted.append(f"{subject}: see {elsewhere}")
            continue
        severe = kind == "api_mismatch"
        if kind == "hung_task" and _DRIVER_TASK.search(name):
            again = len(own) >= check.threshold(context, "hung_driver_tasks")
            # While NVML answers, what hung has gone on: a process that still waits, blocked_processes reports.
            severe = again and snapshot["nvml"]["status"] != "ok"
            passed = "NVML answers and no process waits in the driver now." if again else "Once it may pass."
            action, remedy = _HUNG_DRIVER if severe else (f"{passed} If it comes back: {_HUNG_DRIVER[0]}", "none")
        observed = {
            "count": len(own),
            "first_at": own[0]["at"],
            "last_at": own[-1]["at"],
            "message": own[-1]["message"],
        }
        make = check.fail if severe else check.warn
        findings.append(make(f"{subject} {name}".strip(), observed, "none since the host has started", action, remedy))
    if findings:
        return findings
    if _unread(snapshot):
        return check.skip("kernel", str(_unread(snapshot)))
    return check.ok("kernel", "; ".join(noted) or "no fault", "no fault since the host has started")


_HUNG_DRIVER = ("No signal ends a task that hangs in the NVIDIA driver. Drain the host, then reboot it.", "reboot")
# kind: (subject, action, remedy). Only what the running boot has seen counts.
_FAULTS: dict[str, tuple[str, str, str]] = {
    "api_mismatch": (
        "driver and library",
        "A program uses NVIDIA libraries of another version than the loaded kernel module. Drain the host, reboot it; "
        "for a container: use an image without a driver of its own.",
        "reboot",
    ),
    "hung_task": (
        "blocked task",
        "It waits for a disk, a network mount or a driver. See what: cat /proc/<pid>/stack.",
        "none",
    ),
    "soft_lockup": (
        "soft lockup",
        "A processor hung in the kernel. Once may be load; again and again: drain the host, then reboot it.",
        "reboot",
    ),
    "oom": (
        "out of memory",
        "The kernel has killed a process. Give the instance fewer parallel requests or the host more memory, and see "
        "that what was killed runs again.",
        "configure",
    ),
    "io_error": (
        "disk error",
        "A disk could not read or write. Look at smartctl -a of it and plan its replacement.",
        "hardware",
    ),
    "read_only_fs": (
        "read-only file system",
        "The kernel has made a file system read-only after an error. Check the disk, mend the file system, reboot.",
        "reboot",
    ),
}


def _reported_elsewhere(kind: str, name: str, snapshot: Snapshot) -> str | None:
    """Return the check that looks at the same trouble as it is now: one cause, one finding."""
    status = snapshot["nvml"]["status"]
    if kind == "api_mismatch" and status == "mismatch":
        return "nvml_loadable"
    if kind == "api_mismatch" and status == "ok":
        return "driver_lib_match; NVML answers by now"
    if kind == "read_only_fs" and any(disk["read_only"] for disk in snapshot["host"]["disks"]):
        return "disk"
    if kind == "hung_task" and _DRIVER_TASK.search(name):
        if status == "hung":
            return "nvml_hang"
        if snapshot["host"]["blocked_processes"]:
            return "blocked_processes"
    return None


def _task(event: Event) -> str:
    match = _TASK.search(event["message"]) if event["kind"] == "hung_task" else None
    return match.group(1) if match else ""


def _unread(snapshot: Snapshot) -> str | None:
    return None if snapshot["log"]["readable"] else "the kernel log was not read: see kernel_log"


def _switches(snapshot: Snapshot) -> list[Snapshot]:
    return [device for device in snapshot["pci"] if device["kind"] == "nvswitch"]


def _situation(snapshot: Snapshot, gpu: Snapshot | None, application: Mapping[int, Sequence[float]]) -> Situation:
    uptime = snapshot["uptime_seconds"]
    boot_at = None if uptime is None else snapshot["taken_at_seconds"] - uptime
    return Situation(snapshot["boot_id"], boot_at, gpu, bool(_switches(snapshot)), application)


def _by_device(found: Sequence[Event], snapshot: Snapshot) -> dict[str | None, list[Event]]:
    """Return the events by PCI address; a fall off the bus whose line names no GPU goes to the GPU that it fits."""
    devices: dict[str | None, list[Event]] = {}
    for event in found:
        if event["pci"]:
            devices.setdefault(event["pci"], []).append(event)
    unreadable = [device["address"] for device in snapshot["pci"] if device["kind"] == "gpu" and not device["readable"]]
    for event in found:
        if not event["pci"]:
            near = [key for key, own in devices.items() if key and any(_same_fall(event, other) for other in own)]
            fits = near or unreadable
            devices.setdefault(fits[0] if len(fits) == 1 else None, []).append(event)
    return dict(sorted(devices.items(), key=lambda item: item[0] or "~"))


def _same_fall(event: Event, other: Event) -> bool:
    if event["code"] != other["code"] or event["at_seconds"] is None or other["at_seconds"] is None:
        return False
    return bool(abs(event["at_seconds"] - other["at_seconds"]) <= JOIN_SECONDS)


def _gpu_at(snapshot: Snapshot, address: str | None) -> Snapshot | None:
    for gpu in snapshot["gpus"]:
        if address and gpu["pci"]["address"] == address:
            return dict(gpu)
    return None


def _gpu_name(gpu: Snapshot | None, address: str | None) -> str:
    if gpu:
        return gpu_subject(gpu)
    return f"GPU at {address}" if address else "a GPU that the line does not name"


def _note(kind: str, address: str | None, decision: Decision) -> str:
    times = "" if decision.count == 1 else f" ({decision.count} times)"
    return f"{kind} {decision.code}{times} on {address or 'an unnamed device'}: {decision.meaning}"


def _finding(
    check: Check, key: str, subject: str, address: str | None, gpu: Snapshot | None, decision: Decision
) -> dict[str, Any]:
    observed = {
        key: decision.code,
        "count": decision.count,
        "first_at": decision.first["at"],
        "last_at": decision.last["at"],
        "message": decision.last["message"],
    }
    expected = f"no {'XID' if key == 'xid' else 'SXid'} {decision.code}"
    if key == "xid" and decision.code == RECOVERY_ACTION_CHANGED:
        expected = "recovery action 0x0: nothing is needed"
    step = _STEPS[decision.remedy].format(address=address or "<its address>")
    if decision.status == "warn" and decision.remedy == "hardware":
        step = _PLAN_HARDWARE
    meaning = decision.meaning[:1].upper() + decision.meaning[1:]
    action = " ".join(part for part in (f"{meaning}.", step, decision.advice) if part)
    # A GPU that NVML has lost is known by its address only.
    card = gpu or ({"index": None, "uuid": None, "pci": {"address": address}} if key == "xid" and address else None)
    make = check.fail if decision.status == "fail" else check.warn
    return make(subject, observed, expected, action, decision.remedy, card)


CHECKS: tuple[Check, ...] = (
    Check(
        name="xid",
        looks_at="errors that the NVIDIA driver reported, by the XID policy",
        source="kernel log: NVRM: Xid",
        reference="NVIDIA Xid catalog; gpud, DCGM, NVSentinel (per code in plugins/plugin_utils/xid_policy.yml)",
        group=GROUP,
        run=_xid,
    ),
    Check(
        name="sxid",
        looks_at="errors that NVSwitches reported, by the SXid policy",
        source="kernel log: nvidia-nvswitch: SXid",
        reference="NVSentinel, gpud (plugins/plugin_utils/sxid_policy.yml)",
        group=GROUP,
        run=_sxid,
    ),
    Check(
        name="kernel_log",
        looks_at="whether the kernel log can be read without a gap",
        source="journalctl -k, /dev/kmsg or a log file",
        reference="ours: without it no XID is seen",
        group=GROUP,
        run=_kernel_log,
        thresholds={
            "lost_messages": Threshold(0, 0, 1_000_000, "a single lost line may be the XID"),
        },
    ),
    Check(
        name="kernel_faults",
        looks_at="blocked tasks, lockups, killed processes, disk errors since the host has started",
        source="kernel log",
        reference="gpud",
        group=GROUP,
        run=_kernel_faults,
        thresholds={
            "hung_driver_tasks": Threshold(2, 1, 100, "the kernel repeats it every two minutes; gpud waits for five"),
        },
    ),
)
