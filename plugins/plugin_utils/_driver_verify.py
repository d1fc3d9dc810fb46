# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Is the driver that a host runs now the one it shall run, whole, with every GPU, and as fast as before?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding

SOURCE = "driver"
# Two runs of gpu_benchmark on one healthy card are closer together than this.
SLOWER_WARNS, SLOWER_FAILS = 0.95, 0.90


def driver_findings(
    facts: Mapping[str, Any], wanted: str | None, gpu_count: int | None, before: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return what the driver facts of a host say about the version that it shall run now. None: no driver at all.

    before: {"loaded_version", "library_version", "module_on_disk_version"} of the facts from before a change, on the
    way back from it. What the host did not have then is not demanded now.
    """
    disk = facts.get("module_on_disk_version") or {}
    running, newest = facts.get("kernel_running"), facts.get("kernel_newest")
    seen = {
        "module that is loaded": facts.get("loaded_version"),
        f"module on disk for the running kernel {running}": disk.get(running),
        "library (libnvidia-ml)": facts.get("library_version"),
    }
    if newest != running:
        seen[f"module on disk for the newest kernel {newest}"] = disk.get(newest)
    had = before or {}
    disk_before = had.get("module_on_disk_version") or {}
    # In the order of what is seen. Without facts from before all is demanded.
    earlier = [had.get("loaded_version"), disk_before.get(running), had.get("library_version"), disk_before.get(newest)]
    found = [
        _not_demanded(subject, version) if before and then != wanted != version else _version(subject, version, wanted)
        for (subject, version), then in zip(seen.items(), earlier, strict=False)
    ]
    found.append(_unfinished(facts))
    if gpu_count is not None:
        found.append(_gpu_count(len(facts.get("gpus") or ()), gpu_count))
    return found


def benchmark_findings(baseline: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return how each figure of a report of gpu_benchmark stands to the same figure of the baseline.

    Figures are matched by measure, type and the cards' uuid. Without a baseline there is one finding that says so.
    """
    if not baseline:
        action = "To have one next time, run gpu_benchmark on the drained host while all is well."
        return [finding("driver_benchmark", "skip", "quick benchmark", observed="no baseline", action=action)]
    before = _figures(baseline)
    now = _figures(report or {})
    common = [key for key in before if key in now and before[key]]
    if not common:
        return [
            finding(
                "driver_benchmark",
                "fail",
                "quick benchmark",
                observed="nothing that the baseline has was measured",
                expected=f"figures to hold against the baseline of {baseline.get('taken_at')}",
                action="Measure again with gpu_benchmark, or take the baseline away if its cards are gone.",
                source=SOURCE,
            )
        ]
    return [_figure(key, before[key], now[key]) for key in common]


def _version(subject: str, version: Any, wanted: str | None) -> dict[str, Any]:
    if version == wanted:
        return finding("driver_version", "ok", subject, observed=version, source=SOURCE)
    action = "Look at `dkms status` and the kernel log; a module that is loaded goes only with a reboot or an unload."
    return finding(
        "driver_version",
        "fail",
        subject,
        observed=version or "none",
        expected=wanted or "none",
        action=action,
        source=SOURCE,
    )


def _not_demanded(subject: str, version: Any) -> dict[str, Any]:
    return finding(
        "driver_version",
        "warn",
        subject,
        observed=version or "none",
        expected="what it was before, and it was not the host's driver then either",
        action="Look at `dkms status` before the next boot.",
        source=SOURCE,
    )


def _unfinished(facts: Mapping[str, Any]) -> dict[str, Any]:
    broken = list(facts.get("broken_packages") or ())
    if not broken:
        return finding("driver_packages", "ok", "packages", observed="all finished", source=SOURCE)
    return finding(
        "driver_packages",
        "fail",
        "packages",
        observed=", ".join(broken),
        expected="none unfinished",
        action="Run `dpkg --configure -a` on the host, then run driver again.",
        source=SOURCE,
    )


def _gpu_count(count: int, before: int) -> dict[str, Any]:
    if count >= before:
        return finding("driver_gpu_count", "ok", "GPUs on the bus", observed=count, source=SOURCE)
    action = "A card left the bus. Look at the kernel log (XID 79) and at the slot."
    return finding(
        "driver_gpu_count", "fail", "GPUs on the bus", observed=count, expected=before, action=action, source=SOURCE
    )


def _figures(report: Mapping[str, Any]) -> dict[tuple[Any, ...], float]:
    names = {card.get("index"): str(card.get("uuid") or card.get("index")) for card in report.get("gpus") or ()}
    return {
        (item["measure"], item.get("dtype"), tuple(names.get(index, str(index)) for index in item.get("gpus") or ())): (
            float(item["median"])
        )
        for item in report.get("results") or ()
        if isinstance(item.get("median"), (int, float))
    }


def _figure(key: tuple[Any, ...], before: float, now: float) -> dict[str, Any]:
    measure, dtype, cards = key
    subject = " ".join(str(part) for part in (measure, dtype, "of", "+".join(cards)) if part)
    ratio = now / before
    status = "ok" if ratio >= SLOWER_WARNS else "warn" if ratio >= SLOWER_FAILS else "fail"
    action = "" if status == "ok" else "Look at clocks, heat and the PCIe link with gpu_health; measure again."
    return finding(
        "driver_benchmark",
        status,
        subject,
        observed=f"{now:.4g}, {ratio:.0%} of before",
        expected=f"{before:.4g}",
        action=action,
        source=SOURCE,
    )
