# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of the modes of a GPU: does the driver ask for a reset, is the card set up as the site wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    Check,
    Context,
    Findings,
    Snapshot,
    gpu_subject,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_memory import reset_command
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import judge_each

_RESET_REQUIRED, _CORRUPTED_INFOROM = 16, 14
# What a value of nvmlDeviceGpuRecoveryAction_t asks for. The policy of XIDs has the same table (recovery_actions of
# xid_policy.yml) and goes first, so that the log and NVML never ask for two different things. This one is for a policy
# that has none; a test holds both equal.
RECOVERY_ACTIONS: dict[int, dict[str, str]] = {
    0: {"meaning": "nothing is needed", "status": "ok", "remedy": "none"},
    1: {"meaning": "the GPU needs a reset", "status": "fail", "remedy": "reset_gpu"},
    2: {"meaning": "the host needs a reboot", "status": "fail", "remedy": "reboot"},
    3: {
        "meaning": "what other GPUs use on it must be drained, then it needs a reset",
        "status": "fail",
        "remedy": "reset_gpu",
        "advice": ("Everything that talks to this GPU over NVLink or PCIe must stop first, not only what runs on it."),
    },
    4: {"meaning": "it must be drained and then reset", "status": "fail", "remedy": "reset_gpu"},
    5: {
        "meaning": "the memory sharing between hosts (IMEX) must be recovered",
        "status": "fail",
        "remedy": "configure",
        "advice": (
            "Restart nvidia-imex.service on every host of the NVLink domain, one after the other. "
            "A reboot of this host alone does not mend it."
        ),
    },
    6: {
        "meaning": "the PCIe bus above the GPU needs a reset",
        "status": "fail",
        "remedy": "reboot",
        "advice": "A reboot resets the bus; no tool of the driver does.",
    },
    7: {"meaning": "the whole system needs a reboot", "status": "fail", "remedy": "reboot"},
}
# How to do it. {reset} is the command that resets this GPU.
_STEPS = {
    "reset_gpu": "Drain the host, stop the engine: {reset}.",
    "reboot": "Drain the host and reboot it.",
    "restart_app": "Drain the host and restart the engine.",
    "hardware": "Drain the host and have the card looked at.",
}


def _recovery_action(context: Context, value: int) -> Mapping[str, Any] | None:
    """Return what a recovery action asks for: by the policy, or where that has no table by ours; None: unknown."""
    table: Mapping[Any, Mapping[str, Any]] = context.policies.get("xid", {}).get("recovery_actions") or RECOVERY_ACTIONS
    return table.get(value) or table.get(str(value))  # after JSON the keys are text


def _reset_required(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def asks_by_code(gpu: Snapshot) -> bool:
        return any(error["code"] == _RESET_REQUIRED for error in gpu["errors"].values())

    def known(gpu: Snapshot) -> bool:
        return gpu["recovery_action"] is not None or asks_by_code(gpu)

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        value = gpu["recovery_action"] or 0
        asked, who = _recovery_action(context, value), f"the driver says ({value})"
        if asks_by_code(gpu) and (not value or asked is None):
            asked, who = _recovery_action(context, 1), "NVML code 16, GPU requires reset"
        if asked is None:  # as for an XID that nobody knows: never a reset, never a reboot
            action = "Ask the driver what it means: nvidia-smi -q. Nothing is reset or rebooted for it."
            return check.warn(
                gpu_subject(gpu), f"{who}: no table explains it", "nothing asked for", action, "none", gpu
            )
        if asked["status"] == "ok":
            return None
        tell = check.fail if asked["status"] == "fail" else check.warn
        steps = _STEPS.get(asked["remedy"], "Drain the host.").format(reset=reset_command(gpu))
        action = f"{steps} {asked.get('advice') or ''}".strip()
        return tell(gpu_subject(gpu), f"{who}: {asked['meaning']}", "nothing asked for", action, asked["remedy"], gpu)

    return judge_each(check, snapshot, context, known, judge)


def _persistence(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    if context.expected.get("persistence") is False:
        return check.skip("GPUs", "not wanted: expected.persistence is false")
    # Some distributions start the daemon with --no-persistence-mode: that it runs does not say that the mode is on.
    daemon = snapshot["units"]["nvidia-persistenced.service"]["active_state"] == "active"

    def known(gpu: Snapshot) -> bool:
        return gpu["persistence_mode"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        if gpu["persistence_mode"]:
            return None
        start = "nvidia-smi -pm 1 (the daemon runs, but leaves the mode off)" if daemon else _START_DAEMON
        action = (
            f"Without it the first request after a pause waits for the card. Do: {start}. "
            "If it is not wanted: expected.persistence: false."
        )
        return check.warn(gpu_subject(gpu), "off", "on", action, "configure", gpu)

    return judge_each(check, snapshot, context, known, judge)


_START_DAEMON = "systemctl enable --now nvidia-persistenced"
_COMPUTE_MODES = {"default": 0, "exclusive_thread": 1, "prohibited": 2, "exclusive_process": 3}


def _compute_mode(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    wanted = context.expected.get("compute_mode")

    def known(gpu: Snapshot) -> bool:
        return gpu["compute_mode"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        mode, goal = gpu["compute_mode"], wanted or "default"
        if mode == wanted or (wanted is None and mode != "prohibited"):
            return None
        action = f"Set it: nvidia-smi -i {gpu['pci']['address']} -c {_COMPUTE_MODES.get(goal, goal)}."
        if wanted is None:
            action = f"No engine can start on this card. {action}"
        else:
            action += f" If it is meant: expected.compute_mode: {mode}."
        return check.warn(gpu_subject(gpu), mode, goal, action, "configure", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _mig_mode(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    wanted = context.expected.get("mig")

    def known(gpu: Snapshot) -> bool:
        return gpu["mig"]["current"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        now, pending = gpu["mig"]["current"], gpu["mig"]["pending"]
        after_reset = now if pending is None else pending
        seen = _on(now) if after_reset == now else f"{_on(now)} now, {_on(after_reset)} after the next reset"
        if wanted is not None and after_reset != wanted:
            action = (
                f"Drain the host, stop the engine, then: nvidia-smi -i {gpu['pci']['address']} -mig {int(wanted)}, and "
                f"reset the card: {reset_command(gpu)}. If it is meant: expected.mig: {str(after_reset).lower()}."
            )
            return check.warn(gpu_subject(gpu), seen, _on(wanted), action, "configure", gpu)
        if after_reset != now:
            action = f"The change waits for a reset. At the next drain: {reset_command(gpu)}."
            return check.warn(gpu_subject(gpu), seen, f"{_on(after_reset)} now", action, "reset_gpu", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


def _on(value: bool) -> str:
    return "on" if value else "off"


def _inforom(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def corrupted_by_code(gpu: Snapshot) -> bool:
        return any(error["code"] == _CORRUPTED_INFOROM for error in gpu["errors"].values())

    def known(gpu: Snapshot) -> bool:
        return gpu["inforom_valid"] is not None or corrupted_by_code(gpu)

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        if gpu["inforom_valid"] is not False and not corrupted_by_code(gpu):
            return None
        action = (
            f"Drain the host, stop the engine, reset the card: {reset_command(gpu)}. If it stays corrupted after a "
            "reboot, the vendor must write it anew or replace the card: run nvidia-bug-report.sh and open a case."
        )
        return check.fail(gpu_subject(gpu), "corrupted InfoROM", "a valid checksum", action, "reset_gpu", gpu)

    return judge_each(check, snapshot, context, known, judge)


CHECKS: tuple[Check, ...] = (
    Check(
        name="reset_required",
        looks_at="the driver does not ask for a reset or a reboot",
        source="NVML field 230 (GPU recovery action), NVML code 16 RESET_REQUIRED",
        reference="DCGM DCGM_FR_GPU_RECOVERY_*; XID 154 tells the same in the log",
        group="gpu_mode",
        run=_reset_required,
    ),
    Check(
        name="persistence",
        looks_at="the driver stays loaded while no program uses the card",
        source="nvmlDeviceGetPersistenceMode",
        reference="gpud, azurehpc-health-checks, sichek, DCGM",
        group="gpu_mode",
        run=_persistence,
    ),
    Check(
        name="compute_mode",
        looks_at="programs may use the card as the site wants",
        source="nvmlDeviceGetComputeMode",
        reference="DCGM; expected.compute_mode",
        group="gpu_mode",
        run=_compute_mode,
    ),
    Check(
        name="mig_mode",
        looks_at="MIG is as the site wants and no change of it waits",
        source="nvmlDeviceGetMigMode",
        reference="DCGM; expected.mig",
        group="gpu_mode",
        run=_mig_mode,
    ),
    Check(
        name="inforom",
        looks_at="the InfoROM of the card is whole",
        source="nvmlDeviceValidateInforom, NVML code 14 CORRUPTED_INFOROM",
        reference="DCGM DCGM_FR_CORRUPT_INFOROM: reset; nhc",
        group="gpu_mode",
        run=_inforom,
    ),
)
