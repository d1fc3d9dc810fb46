# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""All checks of GPUs, and how they are run: none of them can take the others down with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import STATUSES
from ansible_collections.local_llm.ops.plugins.module_utils._gpu import (
    _checks_driver,
    _checks_fabric,
    _checks_host,
    _checks_log,
    _checks_memory,
    _checks_mode,
    _checks_pci,
    _checks_state,
    _checks_thermal,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    REMEDIES,
    Check,
    Context,
    Findings,
    Snapshot,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import cannot_look

ALL_CHECKS: tuple[Check, ...] = (
    *_checks_driver.CHECKS,
    *_checks_pci.CHECKS,
    *_checks_memory.CHECKS,
    *_checks_thermal.CHECKS,
    *_checks_fabric.CHECKS,
    *_checks_mode.CHECKS,
    *_checks_log.CHECKS,
    *_checks_host.CHECKS,
    *_checks_state.CHECKS,
)
# What comes first is what somebody has to act on.
STATUS_ORDER = ("fail", "warn", "ok", "skip")
NO_DRIVER = ("missing_library", "not_loaded", "missing_package")


def run_checks(
    snapshot: Snapshot,
    context: Context,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    checks: Sequence[Check] = ALL_CHECKS,
) -> Findings:
    """Return the findings of the named checks (all when none are named): what must be acted on first, then by name."""
    findings: Findings = []
    names = names_to_run(include, exclude, checks)
    for check in checks:
        if check.name in names:
            findings += _run(check, snapshot, context)
    return sorted(findings, key=lambda item: (STATUS_ORDER.index(item["status"]), item["check"]))


def names_to_run(
    include: Sequence[str] | None = None, exclude: Sequence[str] = (), checks: Sequence[Check] = ALL_CHECKS
) -> set[str]:
    """Return the names of the checks that run: the included ones (all when none are named) without the excluded."""
    return {check.name for check in checks if not include or check.name in include} - set(exclude)


def _run(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    try:
        found = list(check.run(check, snapshot, context))
    except Exception as error:  # noqa: BLE001  # One check that breaks must neither hide the others nor count as fine.
        return [_broken(check, f"{type(error).__name__}: {error}")]
    return found or [_broken(check, "it returned nothing")]


def _broken(check: Check, what: str) -> dict[str, Any]:
    action = "This is a fault of the check, not of the host. Report it with this line; leave it out with skip_checks."
    return check.warn(f"check {check.name}", f"the check broke: {what}", "the check runs", action)


def one_to_follow(findings: Findings) -> Findings:
    """Return the findings so that of one GPU one says what to do, and the weaker ones refer to it.

    Two checks often see one trouble, such as a failed row remap and its XID, and ask for different rungs of the ladder.
    """
    strongest: dict[str, dict[str, Any]] = {}
    for item in findings:
        key = _gpu_key(item)
        if key and _rung(item) > _rung(strongest.get(key)):
            strongest[key] = item
    result = []
    for item in findings:
        follow = strongest.get(_gpu_key(item))
        if follow is not None and 0 <= _rung(item) < _rung(follow):
            words = f"Follow {follow['check']} of this GPU, which asks for more ({follow['remedy']})."
            item = {**item, "action": f"{words} Alone: {item['action']}" if item["action"] else words}
        result.append(item)
    return result


def _gpu_key(item: Mapping[str, Any]) -> str:
    gpu = item["gpu"] or {}
    return str(gpu.get("pci_address") or gpu.get("uuid") or "")


def _rung(item: Mapping[str, Any] | None) -> int:
    """Return how strong the remedy of a finding that says something is; -1 for none and what a person sets up."""
    if item is None or item["status"] not in ("fail", "warn") or item["remedy"] in ("none", "configure"):
        return -1
    return REMEDIES.index(item["remedy"])


def summarise(findings: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many findings have which status."""
    counts = dict.fromkeys(STATUSES, 0)
    for item in findings:
        counts[item["status"]] += 1
    return counts


def overall_status(snapshot: Snapshot, context: Context, findings: Iterable[Mapping[str, Any]]) -> str:
    """Return healthy, degraded or out_of_service; no_gpu for a host without a GPU where nothing must leave service.

    unknown for a host whose GPUs cannot be looked at, because the check lacks something there.
    """
    counts = summarise(findings)
    if counts["fail"]:
        return "out_of_service"
    if has_no_gpu(snapshot, context):
        return "no_gpu"
    if cannot_look(snapshot):
        return "unknown"
    return "degraded" if counts["warn"] else "healthy"


def has_no_gpu(snapshot: Snapshot, context: Context) -> bool:
    """Return whether a host has no NVIDIA device, should have none, and had none when it was last asked."""
    expected = context.expected
    if expected.get("gpu_count") or expected.get("minimum_gpus") or expected.get("gpu_name"):
        return False
    if snapshot["pci"] or snapshot["gpus"] or (snapshot["previous"] or {}).get("gpus"):
        return False
    return snapshot["nvml"]["status"] in (*NO_DRIVER, "ok")
