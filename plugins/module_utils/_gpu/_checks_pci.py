# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of the PCI bus: are all GPUs there, do they answer, is the link what it should be, are equal cards equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import (
    NOT_SUPPORTED,
    answering_gpus,
    gone_gpus,
    is_lost,
    judge_each,
    lost_devices,
    no_gpu_here,
    nouveau_is_the_cause,
    present_gpus,
    undriven_devices,
    unreadable_addresses,
    why_no_gpu_answers,
    why_nvml_is_silent,
)

_REPLAY_SHORTEST_SECONDS = 60.0
_RESEAT = (
    "Drain the host and reboot it; the link is trained anew. If it stays, shut down and reseat the card or its riser."
)
_LOST = (
    "Drain the host and reboot it; a reset does not reach a card that left the bus. "
    "If it is lost again after two reboots: power off and on, look at power cables and seat, replace the card."
)
# NVML codes with which a GPU is not lost, but cannot be opened.
_NOT_OPENED: dict[int | None, tuple[str, str]] = {
    4: ("configure", "NVML may not open this GPU. Run the check as root; look at: ls -l /dev/nvidia*"),
    8: ("hardware", "The card misses its external power. Shut the host down and look at the power cables."),
    17: ("configure", "The system blocks this GPU (control group or container). Look at: ls -l /dev/nvidia*"),
}


def _gpu_count(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    gone = _gone(check, snapshot, context)
    why = no_gpu_here(snapshot, context)
    if why:
        return gone or check.skip("GPUs", why)
    found = _too_few(check, snapshot, context) + _wrong_name(check, snapshot, context)
    count, silent = context.expected.get("gpu_count"), why_nvml_is_silent(snapshot)
    # Cards that NVML does not list are as wanted when the rest is: passed to a virtual machine, or only for a screen.
    if silent or not count or len(snapshot["gpus"]) != count:
        found += _undriven(check, snapshot) + _too_many(check, snapshot, context)
    if found or gone:
        return found or gone
    if silent:
        return check.skip("GPUs", silent)
    return check.ok(gpus_subject(snapshot["gpus"]), len(snapshot["gpus"]), count)


def _undriven(check: Check, snapshot: Snapshot) -> Findings:
    devices = undriven_devices(snapshot)
    if not devices or nouveau_is_the_cause(snapshot):
        return []
    seen = "on the PCI bus, but not in NVML: " + ", ".join(device["address"] for device in devices)
    action = (
        f"Read why the driver does not take it: journalctl -k -g {devices[0]['address']}. Drain and reboot. "
        "If the card stays away, reseat or replace it. If it is not for the driver, give expected.gpu_count."
    )
    return [check.fail("GPUs", seen, "every GPU of the bus in NVML", action, "reboot")]


def _too_few(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    count, least = context.expected.get("gpu_count") or 0, context.expected.get("minimum_gpus") or 0
    present = present_gpus(snapshot)
    if present < max(count, least):
        wanted = f"at least {least}" if least > count else f"{count}"
        action = (
            "A card left the PCI bus or expected.gpu_count is wrong. Look at: lspci -d 10de: -nn. "
            "Drain the host and reboot it; if the card stays away, switch the power off and on, then reseat it."
        )
        gone = gone_gpus(snapshot)
        seen = f"{present} on the PCI bus" + (f"; gone since the run before: {gone}" if gone else "")
        return [check.fail("GPUs", seen, wanted, action, "reboot")]
    return []


def _gone(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    """Return a warning when GPUs of the run before are gone and the site does not say how many it wants."""
    gone = gone_gpus(snapshot)
    if not gone or context.expected.get("gpu_count"):
        return []
    before, present = len(snapshot["previous"]["gpus"]), present_gpus(snapshot)
    action = (
        f"Look for {gone}: lspci -d 10de: -nn; journalctl -k -g 'Xid|fallen off'. It was taken out on purpose: say so "
        f"with expected.gpu_count: {present}. It was not: expected.gpu_count: {before} fails until it is back."
    )
    seen, wanted = f"{present}; gone since the run before: {gone}", f"{before}, as in the run before"
    return [check.warn("GPUs", seen, wanted, action)]


def _too_many(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    count, present = context.expected.get("gpu_count"), present_gpus(snapshot)
    if count and present > count and not undriven_devices(snapshot):
        action = "Correct expected.gpu_count in the inventory, or take the extra card out of service."
        return [check.warn("GPUs", f"{present} on the PCI bus", f"{count}", action, "configure")]
    return []


def _wrong_name(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    wanted = context.expected.get("gpu_name")
    if not wanted or why_nvml_is_silent(snapshot):
        return []
    action = (
        "Another card than expected is in this slot. Correct expected.gpu_name in the inventory, or change the card."
    )
    return [
        check.fail(gpu_subject(gpu), gpu["name"], wanted, action, "configure", gpu)
        for gpu in answering_gpus(snapshot)
        if gpu["name"] is not None and str(wanted).lower() not in gpu["name"].lower()
    ]


def _gpu_lost(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    found = []
    for lost in lost_devices(snapshot):
        remedy, action = _NOT_OPENED.get(lost.code, ("reboot", _LOST))
        found.append(check.fail(lost.subject, lost.seen, "the device answers", action, remedy, lost.gpu))
    if found:
        return found
    why = why_no_gpu_answers(snapshot, context)
    return check.skip("GPUs", why) if why else check.ok(gpus_subject(snapshot["gpus"]), "all answer")


def _pcie_width(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    least = int(check.threshold(context, "minimum_lanes"))

    def known(gpu: Snapshot) -> bool:
        return gpu["pci"]["width_current"] is not None and gpu["pci"]["width_max"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        width, full = gpu["pci"]["width_current"], gpu["pci"]["width_max"]
        wanted = min(full, least) if least else full
        if width >= wanted:
            return None
        return check.fail(gpu_subject(gpu), f"x{width}", f"x{wanted}", _RESEAT, "reboot", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _pcie_generation(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    busy_percent = check.threshold(context, "utilization_percent")
    busy_state = check.threshold(context, "performance_state")

    def known(gpu: Snapshot) -> bool:
        return gpu["pci"]["generation_current"] is not None and gpu["pci"]["generation_max"] is not None

    def lower(gpu: Snapshot) -> bool:
        return bool(known(gpu) and gpu["pci"]["generation_current"] < gpu["pci"]["generation_max"])

    def under_load(gpu: Snapshot) -> bool:
        state, percent = gpu["performance_state"], gpu["utilization"]["gpu_percent"]
        return state is not None and percent is not None and state <= busy_state and percent >= busy_percent

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        if not (lower(gpu) and under_load(gpu)):
            return None
        seen = f"generation {gpu['pci']['generation_current']} at {gpu['utilization']['gpu_percent']} % load"
        # A warning: the load is an average and the speed a moment, so a link that just wakes up looks like a slow one.
        action = f"Measure it: gpu_benchmark looks at the link during a copy. If it is slow there too: {_RESEAT}"
        return check.warn(gpu_subject(gpu), seen, f"generation {gpu['pci']['generation_max']}", action, "none", gpu)

    idle = [gpu for gpu in answering_gpus(snapshot) if lower(gpu)]
    note = f"{gpus_subject(idle)} at a lower generation without load: saves power, tells nothing" if idle else None
    return judge_each(check, snapshot, context, known, judge, note)


def _pcie_replay(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "per_minute")
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("GPUs", why)
    gpus = answering_gpus(snapshot)
    if all(gpu["pci"]["replay_count"] is None for gpu in gpus):
        return check.skip(gpus_subject(gpus), NOT_SUPPORTED)
    previous = snapshot["previous"]
    if previous is None or previous["boot_id"] is None or previous["boot_id"] != snapshot["boot_id"]:
        return check.skip(gpus_subject(gpus), "this is the first run since boot: a rate needs two")
    elapsed = snapshot["taken_at_seconds"] - previous["taken_at_seconds"]
    if elapsed <= 0:
        return check.skip(gpus_subject(gpus), "the clock went back since the run before: no rate can be told")
    minutes = max(elapsed, _REPLAY_SHORTEST_SECONDS) / 60
    rates = {gpu["uuid"]: _replays(gpu, previous["gpus"]) for gpu in gpus}
    judged = [gpu for gpu in gpus if rates[gpu["uuid"]] is not None]
    if not judged:
        return check.skip(gpus_subject(gpus), "the run before has no count to compare with")
    action = (
        "The link loses packets and sends them again. At the next maintenance reseat the card and its riser or cable. "
        "Until then look at transfer rates with gpu_benchmark."
    )
    found: Findings = []
    for gpu in judged:
        rate = (rates[gpu["uuid"]] or 0) / minutes
        if rate > limit:
            seen = f"{rate:.1f} replays a minute since the run before"
            found.append(check.warn(gpu_subject(gpu), seen, f"at most {limit:g}", action, "hardware", gpu))
    return found or check.ok(gpus_subject(judged))


def _replays(gpu: Snapshot, previous: Mapping[str, Any]) -> int | None:
    """Return how many replays came since the run before; None when that is unknown or the counter began anew."""
    now, before = gpu["pci"]["replay_count"], previous.get(gpu["uuid"], {}).get("replay_count")
    if now is None or before is None or now < before:
        return None
    return int(now - before)


def _pcie_aer(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    fatal_limit, nonfatal_limit = check.threshold(context, "fatal"), check.threshold(context, "nonfatal")
    why = no_gpu_here(snapshot, context)
    if why:
        return check.skip("PCI devices", why)
    lost = {gpu["pci"]["address"] for gpu in snapshot["gpus"] if is_lost(gpu, snapshot)} | unreadable_addresses(
        snapshot
    )
    devices = [device for device in snapshot["pci"] if device["address"] not in lost]
    devices = [device for device in devices if device["aer_fatal"] is not None or device["aer_nonfatal"] is not None]
    if not devices:
        return check.skip("PCI devices", "no device with error counters of the kernel (aer_dev_*) is visible here")
    gpus = {gpu["pci"]["address"]: gpu for gpu in snapshot["gpus"]}
    found: Findings = []
    for device in devices:
        gpu = gpus.get(device["address"])
        subject = gpu_subject(gpu) if gpu else f"{device['kind']} {device['address']}"
        fatal, nonfatal = device["aer_fatal"] or 0, device["aer_nonfatal"] or 0
        look = f"Look at: journalctl -k -g {device['address']}."
        if fatal >= fatal_limit:
            found.append(check.fail(subject, f"{fatal} fatal errors since boot", 0, f"{look} {_RESEAT}", "reboot", gpu))
        elif nonfatal >= nonfatal_limit:
            action = f"{look} If it counts on, reseat the card at the next maintenance."
            found.append(check.warn(subject, f"{nonfatal} non-fatal errors since boot", 0, action, "hardware", gpu))
    return found or check.ok("1 PCI device" if len(devices) == 1 else f"{len(devices)} PCI devices")


def _bar1(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def known(gpu: Snapshot) -> bool:
        return gpu["bar1"]["total_bytes"] is not None and gpu["memory"]["total_bytes"] is not None

    def full(gpu: Snapshot) -> bool:
        return bool(known(gpu) and gpu["bar1"]["total_bytes"] >= gpu["memory"]["total_bytes"])

    gpus = answering_gpus(snapshot)
    models_with_full = {gpu["name"] for gpu in gpus if full(gpu)}
    action = (
        "Equal cards in this host map all their memory. In the BIOS switch on Above 4G Decoding and Resizable BAR "
        "for this slot, or move the card to another slot."
    )

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        if full(gpu) or gpu["name"] not in models_with_full:
            return None
        seen = f"BAR1 {gpu['bar1']['total_bytes'] >> 20} MiB"
        wanted = f"at least {gpu['memory']['total_bytes'] >> 20} MiB, as its peers"
        return check.warn(gpu_subject(gpu), seen, wanted, action, "configure", gpu)

    small = [gpu for gpu in gpus if known(gpu) and not full(gpu)]
    note = f"BAR1 is smaller than the memory on {gpus_subject(small)}, on all of a model" if small else None
    return judge_each(check, snapshot, context, known, judge, note)


def _uniform_firmware(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("GPUs", why)
    gpus = answering_gpus(snapshot)
    groups: dict[tuple[Any, ...], list[Snapshot]] = {}
    for gpu in gpus:
        groups.setdefault((gpu["name"], gpu["pci"]["device_id"], gpu["pci"]["subsystem_id"]), []).append(gpu)
    equal = [group for group in groups.values() if len(group) > 1]
    if not equal:
        return check.skip(gpus_subject(gpus), "no two equal cards (name and subsystem) to compare")
    if not any(gpu[key] is not None for group in equal for gpu in group for key in _FIRMWARE):
        return check.skip(gpus_subject(gpus), NOT_SUPPORTED)
    action = (
        "Bring the equal cards to one firmware at the next maintenance, with the tool of the vendor. "
        "A card that was replaced often brings another one."
    )
    found: Findings = []
    for group in equal:
        usual = {key: _usual([gpu[key] for gpu in group]) for key in _FIRMWARE}
        for gpu in group:
            odd = {key: gpu[key] for key in _FIRMWARE if gpu[key] is not None and gpu[key] != usual[key]}
            if odd:
                seen = ", ".join(f"{_FIRMWARE[key]} {value}" for key, value in odd.items())
                wanted = ", ".join(f"{_FIRMWARE[key]} {usual[key]}" for key in odd) + ", as its peers"
                found.append(check.warn(gpu_subject(gpu), seen, wanted, action, "configure", gpu))
    return found or check.ok(gpus_subject([gpu for group in equal for gpu in group]))


_FIRMWARE = {"vbios_version": "VBIOS", "gsp_firmware_version": "GSP", "inforom_version": "InfoROM"}


def _usual(values: Sequence[str | None]) -> str | None:
    """Return the value that most cards have; of two that are as frequent the greater one."""
    counts = Counter(value for value in values if value is not None)
    return max(counts, key=lambda value: (counts[value], value), default=None)


CHECKS: tuple[Check, ...] = (
    Check(
        name="gpu_count",
        looks_at="as many GPUs as expected, of the expected name, all taken by the driver",
        source="/sys/bus/pci/devices, nvmlDeviceGetCount",
        reference="gpud gpu-counts, gcm gpu_num, sichek",
        group="gpu_pci",
        run=_gpu_count,
    ),
    Check(
        name="gpu_lost",
        looks_at="every GPU and NVSwitch answers",
        source="NVML code 15 GPU_IS_LOST, PCI configuration space",
        reference="DCGM FR_FALLEN_OFF_BUS: isolate",
        group="gpu_pci",
        run=_gpu_lost,
    ),
    Check(
        name="pcie_width",
        looks_at="the link has all its lanes",
        source="nvmlDeviceGetCurrPcieLinkWidth, nvmlDeviceGetMaxPcieLinkWidth",
        reference="DCGM PCIE_WIDTH, gcm check-pci, NVSentinel",
        group="gpu_pci",
        run=_pcie_width,
        thresholds={
            "minimum_lanes": Threshold(
                0, 0, 32, "0: what card and slot can do; 8 for cards that share a slot by a splitter NVML does not see"
            )
        },
    ),
    Check(
        name="pcie_generation",
        looks_at="the link runs at full speed while the GPU works",
        source="nvmlDeviceGetCurrPcieLinkGeneration, nvmlDeviceGetMaxPcieLinkGeneration",
        reference="sichek judges in P-state 0 only; an idle card lowers its link to save power",
        group="gpu_pci",
        run=_pcie_generation,
        thresholds={
            "utilization_percent": Threshold(20, 0, 100, "below it the card counts as idle and its link may be slow"),
            "performance_state": Threshold(
                0, 0, 15, "a greater P-state number counts as idle; GeForce computes in P2, where 2 judges it too"
            ),
        },
    ),
    Check(
        name="pcie_replay",
        looks_at="the link does not lose packets",
        source="nvmlDeviceGetPcieReplayCounter",
        reference="DCGM DCGM_LIMIT_MAX_PCIREPLAY_RATE: a warning above 8 a minute",
        group="gpu_pci",
        run=_pcie_replay,
        thresholds={"per_minute": Threshold(8, 0, 1_000_000, "DCGM: more than 8 a minute is a warning")},
    ),
    Check(
        name="pcie_aer",
        looks_at="the kernel counted no PCI Express errors",
        source="/sys/bus/pci/devices/*/aer_dev_fatal, aer_dev_nonfatal",
        reference="NVML fields 173 to 183 count the same; the kernel's counters need no driver",
        group="gpu_pci",
        run=_pcie_aer,
        thresholds={
            "fatal": Threshold(1, 1, 1_000_000, "a fatal error resets the link; there should be none"),
            "nonfatal": Threshold(1, 1, 1_000_000, "a non-fatal error loses a transaction; there should be none"),
        },
    ),
    Check(
        name="bar1",
        looks_at="equal cards map equally much of their memory to the bus",
        source="nvmlDeviceGetBAR1MemoryInfo",
        reference="ours: Resizable BAR that is off in one slot",
        group="gpu_pci",
        run=_bar1,
    ),
    Check(
        name="uniform_firmware",
        looks_at="equal cards have equal VBIOS, GSP firmware and InfoROM",
        source="nvmlDeviceGetVbiosVersion, nvmlDeviceGetGspFirmwareVersion, nvmlDeviceGetInforomImageVersion",
        reference="gcm, sichek, azurehpc-health-checks compare them",
        group="gpu_pci",
        run=_uniform_firmware,
    ),
)
