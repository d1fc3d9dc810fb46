# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which GPUs are there and which of them answer: so that one cause gives one finding and the other checks say where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    Check,
    Context,
    Findings,
    Snapshot,
    gpu_subject,
    gpus_subject,
)

NOT_SUPPORTED = "not supported by this card"
GPU_IS_LOST = 15
_READS_FF = "its PCI configuration space reads ff"


def no_gpu_here(snapshot: Snapshot, context: Context) -> str | None:
    """Return why nothing about GPUs applies to this host; None when it has one or should have one."""
    if snapshot["gpus"] or gpu_devices(snapshot) or wanted_gpus(context):
        return None
    return "there is no NVIDIA GPU on the PCI bus and none is expected"


def gpu_devices(snapshot: Snapshot) -> list[Snapshot]:
    """Return the GPUs that the PCI bus knows, with or without a driver."""
    return [device for device in snapshot["pci"] if device["kind"] == "gpu"]


def present_gpus(snapshot: Snapshot) -> int:
    """Return how many GPUs are there in any way, also lost ones: those are the matter of gpu_lost."""
    listed = {gpu["pci"]["address"] for gpu in snapshot["gpus"]} - {None}
    return max(len(listed | {device["address"] for device in gpu_devices(snapshot)}), len(snapshot["gpus"]))


def gone_gpus(snapshot: Snapshot) -> str:
    """Return the UUIDs of GPUs that the run before saw and that are gone; a card with another in its place is not."""
    before = (snapshot["previous"] or {}).get("gpus") or {}
    count = len(before) - present_gpus(snapshot)
    if count <= 0:
        return ""
    uuids = sorted(set(before) - {gpu["uuid"] for gpu in snapshot["gpus"]})
    return ", ".join(uuids) if len(uuids) == count else f"{count} of {', '.join(uuids)}"


def wanted_gpus(context: Context) -> int:
    """Return the least number of GPUs that the site wants here; 0 when it does not say."""
    return max(int(context.expected.get("gpu_count") or 0), int(context.expected.get("minimum_gpus") or 0))


def driver_stuck(snapshot: Snapshot) -> bool:
    """Return whether nvml_hang reports this host: NVML never answers, or fails while processes hang in the driver."""
    nvml = snapshot["nvml"]
    if nvml["status"] == "error" and nvml["hung_call"] is None:  # with a call: the deadline passed outside NVML
        return bool(snapshot["host"]["blocked_processes"])
    return bool(nvml["status"] == "hung")


def why_nvml_is_silent(snapshot: Snapshot) -> str | None:
    """Return why GPU-level checks cannot run, naming the check that reports the cause; None when NVML answers."""
    if snapshot["nvml"]["status"] == "ok":
        return None
    return f"NVML does not answer: see {who_reports_silence(snapshot)}"


def cannot_look(snapshot: Snapshot) -> bool:
    """Return whether it is the check that lacks something, and not the host: its GPUs may be well and serve."""
    return bool(snapshot["nvml"]["status"] == "missing_package")


def who_reports_silence(snapshot: Snapshot) -> str:
    """Return the one check that reports that NVML does not answer."""
    nvml = snapshot["nvml"]
    if driver_stuck(snapshot):
        return "nvml_hang"
    if nvml["status"] == "not_loaded" and nouveau_is_the_cause(snapshot):
        return "nouveau"
    if nvml["code"] == GPU_IS_LOST and any(not device["readable"] for device in gpu_devices(snapshot)):
        return "gpu_lost"
    return "nvml_loadable"


def undriven_devices(snapshot: Snapshot) -> list[Snapshot]:
    """Return the GPUs that answer on the PCI bus and that NVML, which answers, does not list."""
    if snapshot["nvml"]["status"] != "ok":
        return []
    listed = {gpu["pci"]["address"] for gpu in snapshot["gpus"]}
    if None in listed:  # A GPU that is lost so far that NVML does not tell its address: gpu_lost has it.
        return []
    return [device for device in gpu_devices(snapshot) if device["readable"] and device["address"] not in listed]


def nouveau_is_the_cause(snapshot: Snapshot) -> bool:
    """Return whether nouveau holds GPUs that the NVIDIA driver should have."""
    if not snapshot["driver"]["nouveau_loaded"] or driver_not_installed(snapshot):
        return False
    return snapshot["driver"]["loaded_version"] is None or bool(undriven_devices(snapshot))


def driver_not_installed(snapshot: Snapshot) -> bool:
    """Return whether the host has no part of the NVIDIA driver."""
    driver = snapshot["driver"]
    return (
        snapshot["nvml"]["status"] == "missing_library"
        and driver["loaded_version"] is None
        and driver["disk_version"] is None
    )


def is_lost(gpu: Snapshot, snapshot: Snapshot) -> bool:
    """Return whether gpu_lost reports this GPU; its other values are then unknown and no other check judges them."""
    if any(error_means_lost(call, error) for call, error in gpu["errors"].items()):
        return True
    return gpu["pci"]["address"] in unreadable_addresses(snapshot)


def error_means_lost(call: str, error: Mapping[str, Any]) -> bool:
    """Return whether an error of an NVML call says that the GPU is gone, or that NVML cannot even open it."""
    return bool(error["code"] == GPU_IS_LOST or call.startswith("nvmlDeviceGetHandle"))


@dataclass(frozen=True)
class Lost:
    """A device that no longer answers. code: what NVML said, None when the PCI bus says it."""

    subject: str
    seen: str
    code: int | None
    gpu: Snapshot | None


def lost_devices(snapshot: Snapshot) -> list[Lost]:
    """Return every GPU and NVSwitch that does not answer, each once, whoever noticed it."""
    lost = [gpu for gpu in snapshot["gpus"] if is_lost(gpu, snapshot)]
    listed = {gpu["pci"]["address"] for gpu in lost}
    silent = [device for device in snapshot["pci"] if not device["readable"] and device["address"] not in listed]
    # A GPU that NVML cannot open has no address there; NVML and the bus count in the same order.
    gone = [device["address"] for device in silent if device["kind"] == "gpu"]
    result = []
    for gpu in lost:
        if gpu["pci"]["address"] is None and gone:
            gpu = {**gpu, "pci": {**gpu["pci"], "address": gone.pop(0)}}
        result.append(_lost_in_nvml(gpu, unreadable_addresses(snapshot)))
    for device in silent:
        if device["address"] in gone:
            gpu = {"index": None, "uuid": None, "pci": {"address": device["address"]}}
            result.append(Lost(f"GPU {device['address']}", _READS_FF, None, gpu))
        elif device["kind"] == "nvswitch":
            result.append(Lost(f"NVSwitch {device['address']}", _READS_FF, None, None))
    return result


def _lost_in_nvml(gpu: Snapshot, unreadable: set[str]) -> Lost:
    calls = sorted(call for call, error in gpu["errors"].items() if error_means_lost(call, error))
    said = [f"{call}: {gpu['errors'][call]['name']}" for call in calls[:1]]
    subject = (
        gpu_subject(gpu) if gpu["name"] else " ".join(["GPU", str(gpu["index"]), gpu["pci"]["address"] or ""]).strip()
    )
    if gpu["pci"]["address"] in unreadable:
        return Lost(subject, "; ".join([*said, _READS_FF]), None, gpu)
    return Lost(subject, "; ".join(said), gpu["errors"][calls[0]]["code"], gpu)


def answering_gpus(snapshot: Snapshot) -> list[Snapshot]:
    """Return the GPUs of the snapshot that are not lost."""
    return [gpu for gpu in snapshot["gpus"] if not is_lost(gpu, snapshot)]


def why_no_gpu_answers(snapshot: Snapshot, context: Context) -> str | None:
    """Return why a GPU-level check does not apply, naming the check that reports the cause; None when it does."""
    why = no_gpu_here(snapshot, context) or why_nvml_is_silent(snapshot)
    if why or answering_gpus(snapshot):
        return why
    if snapshot["gpus"]:
        return "every GPU is lost: see gpu_lost"
    return f"NVML lists no GPU: see {'nouveau' if nouveau_is_the_cause(snapshot) else 'gpu_count'}"


def unreadable_addresses(snapshot: Snapshot) -> set[str]:
    """Return the addresses of devices on the PCI bus that no longer answer."""
    return {device["address"] for device in snapshot["pci"] if not device["readable"]}


def judge_each(
    check: Check,
    snapshot: Snapshot,
    context: Context,
    known: Callable[[Snapshot], bool],
    judge: Callable[[Snapshot], dict[str, Any] | None],
    note: Any = None,
) -> Findings:
    """Judge every GPU that answers and whose values are known; one ok or one skip finding when none is wrong."""
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("GPUs", why)
    gpus = answering_gpus(snapshot)
    judged = [gpu for gpu in gpus if known(gpu)]
    if not judged:
        return check.skip(gpus_subject(gpus), NOT_SUPPORTED)
    found = [finding for finding in map(judge, judged) if finding]
    return found or check.ok(gpus_subject(judged), note)
