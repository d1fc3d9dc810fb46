# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of the memory of a GPU: corrected and uncorrected errors, spare rows, and memory that nobody owns."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    Check,
    Context,
    Findings,
    Snapshot,
    Threshold,
    gpu_subject,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import judge_each

_MEBIBYTE = 1024**2
_BUG_REPORT = "Drain it, run nvidia-bug-report.sh, and open a case with the vendor."


def reset_command(gpu: Snapshot) -> str:
    """Return the command that resets one GPU; it works only while no program uses the card."""
    return f"nvidia-smi --gpu-reset -i {gpu['pci']['address']}"


def _ecc_mode(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    wanted = context.expected.get("ecc")

    def known(gpu: Snapshot) -> bool:
        return gpu["ecc"]["mode_current"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        now, pending = gpu["ecc"]["mode_current"], gpu["ecc"]["mode_pending"]
        after_reset = now if pending is None else pending
        goal = _ecc_goal(gpu, wanted)
        if goal is not None and after_reset != goal:
            action = (
                f"Drain the host, then: nvidia-smi -e {int(goal)} -i {gpu['pci']['address']}, and reset the card: "
                f"{reset_command(gpu)}. If it is meant to be {_on(not goal)}: expected.ecc: {str(not goal).lower()}."
            )
            seen = _on(now) if now == after_reset else f"{_on(now)} now, {_on(after_reset)} after the next reset"
            return check.warn(gpu_subject(gpu), seen, _on(goal), action, "configure", gpu)
        if after_reset != now:
            action = f"The change waits for a reset. At the next drain: {reset_command(gpu)}."
            seen = f"{_on(now)} now, {_on(after_reset)} after the next reset"
            return check.warn(gpu_subject(gpu), seen, f"{_on(after_reset)} now", action, "reset_gpu", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


def _ecc_goal(gpu: Snapshot, wanted: bool | None) -> bool | None:
    """Return how ECC should be: as the site says, else on; GeForce cards that can do it come with it off."""
    if wanted is not None:
        return bool(wanted)
    return None if "geforce" in str(gpu["name"]).lower() else True


def _on(value: bool) -> str:
    return "on" if value else "off"


def _ecc_uncorrected(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def known(gpu: Snapshot) -> bool:
        return gpu["ecc"]["volatile_uncorrected"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        count = gpu["ecc"]["volatile_uncorrected"]
        if not count:
            return None
        action = f"Answers may be wrong. Drain the host, stop the engine, reset the card: {reset_command(gpu)}."
        seen = f"{count} uncorrected memory errors since the driver was loaded"
        return check.fail(gpu_subject(gpu), seen, 0, action, "reset_gpu", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _ecc_sram(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "aggregate_uncorrected")

    def known(gpu: Snapshot) -> bool:
        ecc = gpu["ecc"]
        return ecc["sram_threshold_exceeded"] is not None or ecc["sram_aggregate_uncorrected"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        count = gpu["ecc"]["sram_aggregate_uncorrected"]
        if gpu["ecc"]["sram_threshold_exceeded"]:
            seen = "the card says: too many SRAM errors" + ("" if count is None else f" ({count})")
            action = f"This is a reason to replace the card. {_BUG_REPORT}"
            return check.fail(gpu_subject(gpu), seen, "below the card's own limit", action, "hardware", gpu)
        if count is not None and count > limit:
            action = (
                f"The card wears out. Plan its replacement. Watch: nvidia-smi -q -d ECC -i {gpu['pci']['address']}."
            )
            seen = f"{count} uncorrected SRAM errors in the life of the card"
            return check.warn(gpu_subject(gpu), seen, f"at most {limit:g}", action, "hardware", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


def _ecc_corrected(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "volatile_corrected")

    def known(gpu: Snapshot) -> bool:
        return gpu["ecc"]["volatile_corrected"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        count = gpu["ecc"]["volatile_corrected"]
        if count <= limit:
            return None
        action = (
            "No answer was wrong; the memory is getting weak. Watch ecc_uncorrected and the row remapping of this "
            "card, and plan time for a longer test."
        )
        seen = f"{count} corrected memory errors since the driver was loaded"
        return check.warn(gpu_subject(gpu), seen, f"at most {limit:g}", action, "none", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _row_remap_pending(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def known(gpu: Snapshot) -> bool:
        return gpu["row_remap"]["pending"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        if not gpu["row_remap"]["pending"]:
            return None
        # A warning: the driver keeps the bad page out of use until then, so the host may serve on to its next drain.
        action = f"A spare row takes over at a reset. At the next drain, with the engine stopped: {reset_command(gpu)}."
        return check.warn(gpu_subject(gpu), "a row remap waits for a reset", "none", action, "reset_gpu", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _row_remap_failed(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def known(gpu: Snapshot) -> bool:
        return gpu["row_remap"]["failed"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        if not gpu["row_remap"]["failed"]:
            return None
        action = f"A bad row could not be replaced; this is a reason to replace the card. {_BUG_REPORT}"
        return check.fail(gpu_subject(gpu), "a row remap failed", "none", action, "hardware", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _row_remap_count(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "uncorrected")
    banks_limit = check.threshold(context, "banks_without_spare")

    def known(gpu: Snapshot) -> bool:
        return gpu["row_remap"]["uncorrected"] is not None or gpu["row_remap"]["histogram"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        rows = gpu["row_remap"]
        if rows["failed"]:  # row_remap_failed reports it; a count adds nothing
            return None
        count, used_up = rows["uncorrected"] or 0, (rows["histogram"] or {}).get("none") or 0
        if count >= limit:
            action = f"The spare rows run out; this is a reason to replace the card. {_BUG_REPORT}"
            seen = f"{count} rows remapped after uncorrected errors"
            return check.fail(gpu_subject(gpu), seen, f"below {limit:g}", action, "hardware", gpu)
        if used_up > banks_limit:
            action = "The next bad row in such a bank cannot be replaced. Plan the replacement of the card."
            seen = f"{used_up} memory banks without a spare row"
            return check.warn(gpu_subject(gpu), seen, f"at most {banks_limit:g}", action, "hardware", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


def _retired_pages(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit, soft_limit = check.threshold(context, "pages"), check.threshold(context, "double_bit_pages")

    def known(gpu: Snapshot) -> bool:
        return any(gpu["retired_pages"][key] is not None for key in ("single_bit", "double_bit", "pending"))

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        pages = gpu["retired_pages"]
        double, subject = pages["double_bit"] or 0, gpu_subject(gpu)
        total = double + (pages["single_bit"] or 0)
        if total >= limit:
            action = f"This is a reason to replace the card. {_BUG_REPORT}"
            return check.fail(subject, f"{total} retired pages", f"below {limit:g}", action, "hardware", gpu)
        if pages["pending"]:
            action = f"A bad page stays in use until a reset. Drain the host, stop the engine: {reset_command(gpu)}."
            return check.fail(subject, "a page waits to be retired", "none", action, "reset_gpu", gpu)
        if double > soft_limit:
            action = "If it grows by more than one a week, replace the card. Write the number down and look again."
            seen = f"{double} pages retired after double-bit errors"
            return check.warn(subject, seen, f"at most {soft_limit:g}", action, "hardware", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


_REPAIRS = {"channel_pending": "a repair of a memory channel", "tpc_pending": "a repair of a compute unit (TPC)"}


def _memory_repair(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def known(gpu: Snapshot) -> bool:
        return any(value is not None for value in gpu["repair"].values())

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        repair = gpu["repair"]
        if repair["unrepairable_memory"]:
            action = f"The card cannot repair its memory; this is a reason to replace it. {_BUG_REPORT}"
            return check.fail(gpu_subject(gpu), "unrepairable memory", "none", action, "hardware", gpu)
        waiting = [words for key, words in _REPAIRS.items() if repair[key]]
        if not waiting:
            return None
        action = (
            f"Drain the host, stop the engine, reset the card: {reset_command(gpu)}. "
            "If the repair still waits after it, reboot; then replace the card."
        )
        return check.fail(gpu_subject(gpu), f"{' and '.join(waiting)} waits", "none", action, "reset_gpu", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _vram_zombie(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "unowned_mebibytes") * _MEBIBYTE

    def known(gpu: Snapshot) -> bool:
        # Drivers that do not tell the reserve count it as used. In MIG mode processes are listed at the slices.
        memory = gpu["memory"]
        told = memory["used_bytes"] is not None and memory["reserved_bytes"] is not None
        return told and not gpu["mig"]["current"]

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        unowned = gpu["memory"]["used_bytes"]
        if unowned <= limit or any(_holds_memory(process) for process in gpu["processes"]):
            return None
        # Only dead processes that NVML still books memory to fail. Anything else may be a process that starts or ends
        # at this moment: gcm asks three times before it acts, we ask once, so that is a warning.
        dead = sorted({item["pid"] for item in gpu["processes"] if not item["alive"] and item["memory_bytes"] != 0})
        seen, wanted = f"{unowned // _MEBIBYTE} MiB in use", f"at most {limit / _MEBIBYTE:g} MiB without a process"
        if dead:
            action = (
                f"Nobody can free this memory. Drain the host, look for what is left: fuser -v /dev/nvidia*, end it, "
                f"then: {reset_command(gpu)}. If the reset is refused, reboot."
            )
            seen += f" by dead processes: {', '.join(map(str, dead))}"
            return check.fail(gpu_subject(gpu), seen, wanted, action, "reset_gpu", gpu)
        action = (
            "Look for a process in a container that this machine does not show: fuser -v /dev/nvidia*. "
            f"If there is none, at the next drain: {reset_command(gpu)}."
        )
        return check.warn(gpu_subject(gpu), f"{seen}, no process", wanted, action, "reset_gpu", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _holds_memory(process: Snapshot) -> bool:
    """Return whether a live process may own memory; how much is not always told."""
    return bool(process["alive"] and process["memory_bytes"] != 0)


CHECKS: tuple[Check, ...] = (
    Check(
        name="ecc_mode",
        looks_at="ECC is on and no change of it waits",
        source="nvmlDeviceGetEccMode",
        reference="DCGM ECC_DISABLED, ECC_PENDING",
        group="gpu_memory",
        run=_ecc_mode,
    ),
    Check(
        name="ecc_uncorrected",
        looks_at="no uncorrected memory error since the driver was loaded",
        source="nvmlDeviceGetTotalEccErrors (uncorrected, volatile)",
        reference="DCGM DCGM_FR_VOLATILE_DBE_DETECTED, gcm, NVSentinel RESET_GPU",
        group="gpu_memory",
        run=_ecc_uncorrected,
    ),
    Check(
        name="ecc_sram",
        looks_at="few uncorrected SRAM errors in the life of the card",
        source="nvmlDeviceGetSramEccErrorStatus",
        reference="DCGM SRAM_THRESHOLD: isolate; sichek: more than 4; azurehpc-health-checks",
        group="gpu_memory",
        run=_ecc_sram,
        thresholds={
            "aggregate_uncorrected": Threshold(4, 0, 1_000_000, "sichek: more than 4; azurehpc-health-checks takes 0")
        },
    ),
    Check(
        name="ecc_corrected",
        looks_at="corrected memory errors stay rare",
        source="nvmlDeviceGetTotalEccErrors (corrected, volatile)",
        reference="gcm 5e7; azurehpc-health-checks: 2e7 for DRAM",
        group="gpu_memory",
        run=_ecc_corrected,
        thresholds={"volatile_corrected": Threshold(50_000_000, 0, 10**15, "gcm: 5e7 since the driver was loaded")},
    ),
    Check(
        name="row_remap_pending",
        looks_at="no row remap waits for a reset",
        source="nvmlDeviceGetRemappedRows (isPending)",
        reference="DCGM PENDING_ROW_REMAP: reset; NVSentinel RESET_GPU; gpud reboots",
        group="gpu_memory",
        run=_row_remap_pending,
    ),
    Check(
        name="row_remap_failed",
        looks_at="every bad row could be replaced",
        source="nvmlDeviceGetRemappedRows (failureOccurred)",
        reference="DCGM ROW_REMAP_FAILURE, gpud, gcm, NVSentinel: a reason to replace the card",
        group="gpu_memory",
        run=_row_remap_failed,
    ),
    Check(
        name="row_remap_count",
        looks_at="there are spare rows left",
        source="nvmlDeviceGetRemappedRows (uncRows), nvmlDeviceGetRowRemapperHistogram",
        reference="DCGM, sichek: 512",
        group="gpu_memory",
        run=_row_remap_count,
        thresholds={
            "uncorrected": Threshold(512, 1, 100_000, "DCGM and sichek: 512 or more"),
            "banks_without_spare": Threshold(0, 0, 100_000, "ours: a bank without a spare row cannot lose another one"),
        },
    ),
    Check(
        name="retired_pages",
        looks_at="few retired memory pages, none that waits (cards up to Turing)",
        source="nvmlDeviceGetRetiredPages_v2, nvmlDeviceGetRetiredPagesPendingStatus",
        reference="DCGM DCGM_LIMIT_MAX_RETIRED_PAGES, DCGM_LIMIT_MAX_RETIRED_PAGES_SOFT_LIMIT",
        group="gpu_memory",
        run=_retired_pages,
        thresholds={
            "pages": Threshold(63, 1, 10_000, "DCGM: 63 or more; azurehpc-health-checks 62, gcm 10"),
            "double_bit_pages": Threshold(15, 0, 10_000, "DCGM: above 15 and still growing is a reason to replace it"),
        },
    ),
    Check(
        name="memory_repair",
        looks_at="no unrepairable memory, no repair that waits",
        source="nvmlDeviceGetUnrepairableMemoryFlag_v1, nvmlDeviceGetRepairStatus",
        reference="ours, from NVML 580 on; XID 156, 157, 160, 161, 168 tell the same in the log",
        group="gpu_memory",
        run=_memory_repair,
    ),
    Check(
        name="vram_zombie",
        looks_at="memory in use belongs to a live process",
        source="nvmlDeviceGetMemoryInfo_v2, nvmlDeviceGetComputeRunningProcesses_v3 and /proc",
        reference="gcm: more than 15 MiB on an idle card",
        group="gpu_memory",
        run=_vram_zombie,
        thresholds={
            "unowned_mebibytes": Threshold(15, 0, 1_000_000, "gcm: 15 MiB; a driver keeps a little for itself")
        },
    ),
)
