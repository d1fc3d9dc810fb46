# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Judge the benchmarks of a fleet: every figure against peak, table and peers, and what was seen while it was taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Check, Context, Findings, Snapshot
from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_reference import (
    MEASURES,
    against_peak,
    against_peers,
    against_reference,
    reference_entry,
)

GROUP = "gpu_benchmark"
# Worst last.
ORDER = ("skip", "ok", "warn", "fail")
# Share of the samples from which on a reason for lower clocks counts.
SEEN_SHARE = 0.05
WORDS = {
    "memory_bandwidth": "memory bandwidth",
    "gemm": "matrix products",
    "host_to_device": "host to GPU",
    "device_to_host": "GPU to host",
    "peer": "GPU to GPU",
    "all_reduce": "all-reduce",
}
_LINK_ACTION = "Look at the PCIe link (gpu_health: pcie_width, pcie_generation) and the NUMA node. Reseat the card."
_ACTIONS = {
    "memory_bandwidth": "Ask gpu_health (ECC, rows, heat). Reset the card, measure again; if it stays, replace it.",
    "gemm": "Look at clocks, power limit and heat of the run. Reset the card, measure again; if it stays, replace it.",
    "host_to_device": _LINK_ACTION,
    "device_to_host": _LINK_ACTION,
    "peer": "Ask gpu_health (nvlink_links, nvlink_errors, p2p). Without NVLink: ACS and IOMMU in the BIOS.",
    "all_reduce": "Ask gpu_health (fabric_manager, fabric_state, nvlink_links); look which pair of GPUs is slow.",
}
_BASIS_WORDS = {
    "peak": "the theoretical peak",
    "reference": "the reference",
    "floor": "the floor",
    "peers": "equal cards",
}
_REMEDIES = {
    "memory_bandwidth": "reset_gpu",
    "gemm": "reset_gpu",
    "host_to_device": "hardware",
    "device_to_host": "hardware",
    "peer": "reset_gpu",
    "all_reduce": "reboot",
}


def _nobody(_check: Check, _snapshot: Snapshot, _context: Context) -> Findings:
    """These checks are judged over the fleet, not run over a snapshot."""
    return []


def _check(name: str, looks_at: str) -> Check:
    return Check(f"benchmark_{name}", looks_at, "gpu_benchmark", "", GROUP, _nobody)


CHECKS = {
    **{measure: _check("peer_bandwidth" if measure == "peer" else measure, words) for measure, words in WORDS.items()},
    "pcie_link": _check("pcie_link", "PCIe generation and width under load"),
    "throttling": _check("throttling", "heat and power brake under load"),
    "run": _check("run", "whether all could be measured"),
}


def judge_fleet(
    reports: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return {host: judgements}; one judgement per figure, worst comparison first.

    Keys: measure, dtype, gpus, unit, value, spread_percent, path, status, bases, conditions, notes.
    """
    groups: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for report in reports.values():
        for result in report["results"]:
            if result["median"]:
                groups[_group(report, result)].append(result["median"])
    return {
        host: [_judge(report, result, reference, groups[_group(report, result)]) for result in report["results"]]
        for host, report in reports.items()
    }


def findings_of(report: Mapping[str, Any], judgements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings of a host: what is wrong, one ok per check that is fine, one skip per check that is not."""
    found: list[dict[str, Any]] = []
    for measure in MEASURES:
        found += _measure_findings(measure, report, [item for item in judgements if item["measure"] == measure])
    return [*found, *_link_findings(report), *_throttling_findings(report), *_run_findings(report)]


def _group(report: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what figures must have in common to be compared with each other."""
    card = _card(report, result["gpus"][0])
    measure = result["measure"]
    key = (card["name"], card["device_id"], measure, result["dtype"], result["matrix_size"], result["bytes"])
    if measure in ("host_to_device", "device_to_host"):
        return (*key, card["pcie_generation_max"], card["pcie_width_max"])
    if measure in ("peer", "all_reduce"):
        between = result["between"] or {}
        return (*key, len(result["gpus"]), result["path"], between.get("ancestor"), between.get("p2p_nvlink"))
    return key


def _judge(
    report: Mapping[str, Any], result: Mapping[str, Any], reference: Mapping[str, Any], figures: Sequence[float]
) -> dict[str, Any]:
    measure, value = result["measure"], result["median"]
    card = _card(report, result["gpus"][0])
    path = result["path"]
    if measure == "peer" and (result["between"] or {}).get("p2p_nvlink") == "ok":
        path = "nvlink"
    bases: list[dict[str, Any]] = []
    if value:
        entry = reference_entry(reference, card["device_id"], measure, result["dtype"], len(result["gpus"]), path)
        tried = (
            against_peak(reference, measure, value, result["peak"], in_table=entry is not None),
            against_reference(reference, value, entry),
            against_peers(reference, value, figures),
        )
        bases = sorted((item for item in tried if item), key=lambda item: -ORDER.index(item["status"]))
    return {
        **{key: result[key] for key in ("measure", "dtype", "gpus", "unit", "spread_percent", "notes", "conditions")},
        "path": path,
        "value": value,
        "status": "fail" if not value else bases[0]["status"] if bases else "skip",
        "bases": bases,
    }


def _measure_findings(
    measure: str, report: Mapping[str, Any], judged: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    check = CHECKS[measure]
    found = [_slow(check, report, item) for item in judged if item["status"] in ("warn", "fail")]
    skipped = [item for item in report["skipped"] if item["measure"] == measure]
    if found:
        return found
    if any(item["status"] == "ok" for item in judged):
        return check.ok(_cards_text(report, judged), observed=_range(judged))
    if judged:
        why = "Nothing to hold it against: no peak, no entry in the table, fewer than three equal cards."
        return check.skip(_cards_text(report, judged), f"{_range(judged)}. {why}")
    if skipped:
        return check.skip(_cards_text(report, skipped), skipped[0]["why"])
    failed = any(item["measure"] == measure for item in report["failed"])
    return [] if failed else check.skip(_cards_text(report, []), "not measured")


def _slow(check: Check, report: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    cards = [_card(report, index) for index in item["gpus"]]
    if len(cards) == 1:
        subject = f"GPU {cards[0]['index']} ({cards[0]['pci_address']}, {cards[0]['name']})"
    else:
        subject = f"GPU {(' to ' if item['measure'] == 'peer' else ', ').join(str(card['index']) for card in cards)}"
    subject += f" {item['dtype']}" if item["dtype"] else ""
    gpu = {**cards[0], "pci": {"address": cards[0]["pci_address"]}} if len(cards) == 1 else None
    if not item["value"]:
        return check.fail(subject, "no figure", "a figure", "Measure again.", "none", gpu)
    worst = item["bases"][0]
    check = replace(check, source=f"gpu_benchmark; {worst['basis']}: {worst['source']}")
    observed = f"{item['value']:g} {item['unit']}{_circumstances(item, cards[0])}"
    if worst["implausible_over"] and item["value"] > worst["implausible_over"]:
        expected = f"at most {worst['implausible_over']:g} {item['unit']}, more than the peak of {worst['expected']:g}"
        return check.warn(
            subject, observed, expected, "The figure or the clocks that the driver tells are wrong.", "none", gpu
        )
    limit = worst["fail_under"] if worst["status"] == "fail" else worst["warn_under"]
    expected = f"at least {limit:g} {item['unit']}; it has {worst['share']:.2f} of {_basis(worst)}"
    for base in item["bases"][1:]:
        expected += f", {base['share']:.2f} of {_basis(base)}"
    action = _ACTIONS[item["measure"]]
    if worst["status"] == "fail":
        return check.fail(subject, observed, expected, action, _REMEDIES[item["measure"]], gpu)
    return check.warn(subject, observed, expected, action, "none", gpu)


def _basis(base: Mapping[str, Any]) -> str:
    return f"{_BASIS_WORDS[base['basis']]} ({base['expected']:g})"


def _circumstances(item: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    seen = item["conditions"]
    words = [f"spread {item['spread_percent']:g} %"]
    if seen["sm_mhz"]:
        words.append(f"SM {seen['sm_mhz']['median']:g} MHz")
    if seen["temperature_celsius"]:
        words.append(f"up to {seen['temperature_celsius']['max']:g} °C")
    limit, default = card["power_limit_watts"], card["power_default_watts"]
    if limit and default and limit < default:
        words.append(f"power limit {limit:g} of {default:g} W")
    words += [
        f"{name} {100 * share:.0f} % of the time"
        for name, share in (seen["clock_event_reasons"] or {}).items()
        if name != "gpu_idle" and share >= SEEN_SHARE
    ]
    return f" ({', '.join([*words, *item['notes']])})"


def _link_findings(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    check = CHECKS["pcie_link"]
    found: list[dict[str, Any]] = []
    looked: list[Mapping[str, Any]] = []
    for result in report["results"]:
        seen = result["conditions"]
        if result["measure"] not in ("host_to_device", "device_to_host") or not seen["pcie_generation"]:
            continue
        card = _card(report, result["gpus"][0])
        looked.append(result)
        gpu = {**card, "pci": {"address": card["pci_address"]}}
        for name, key, most in (
            ("generation", "pcie_generation", card["pcie_generation_max"]),
            ("width", "pcie_width", card["pcie_width_max"]),
        ):
            value = seen[key] and seen[key]["median"]
            subject = f"GPU {card['index']} ({card['pci_address']}, {card['name']})"
            known = {(item["subject"], item["expected"]) for item in found}
            expected = f"{name} {most}, as card and slot can do together"
            if value and most and value < most and (subject, expected) not in known:
                observed = f"{name} {value:g} during a copy ({WORDS[result['measure']]})"
                action = "Reseat the card, look at riser and BIOS. An idle card may run slower, one at work may not."
                found.append(check.fail(subject, observed, expected, action, "hardware", gpu))
    if found:
        return found
    subject = _cards_text(report, looked)
    return check.ok(subject) if looked else check.skip(subject, "no copy between host and GPU was watched")


def _throttling_findings(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    check = CHECKS["throttling"]
    shares: dict[int, dict[str, float]] = {}
    for result in report["results"]:
        reasons = result["conditions"]["clock_event_reasons"]
        if reasons is None or len(result["gpus"]) > 1:
            continue
        mine = shares.setdefault(result["gpus"][0], {})
        for name, share in reasons.items():
            mine[name] = max(share, mine.get(name, 0.0))
    found = []
    for index, reasons in sorted(shares.items()):
        card = _card(report, index)
        hard = [name for name in ("hw_thermal", "hw_power_brake") if reasons.get(name, 0) >= SEEN_SHARE]
        soft = [name for name in ("sw_thermal", "hw_slowdown") if reasons.get(name, 0) >= SEEN_SHARE]
        if not hard and not soft:
            continue
        observed = ", ".join(f"{name} up to {100 * reasons[name]:.0f} % of a measure" for name in (*hard, *soft))
        subject = f"GPU {index} ({card['pci_address']}, {card['name']})"
        gpu = {**card, "pci": {"address": card["pci_address"]}}
        action = "Look at fans, air flow, power supplies and cables, then measure again. Its figures are too low."
        if hard:
            found.append(check.fail(subject, observed, "neither heat nor power brake", action, "hardware", gpu))
        else:
            found.append(check.warn(subject, observed, "neither heat nor power brake", action, "none", gpu))
    if found:
        return found
    if not shares:
        missing = next((result["conditions"]["missing"] for result in report["results"]), None)
        return check.skip(_cards_text(report, []), f"nobody looked at the clocks: {missing or 'nothing was measured'}")
    return check.ok(f"{len(shares)} GPU{'' if len(shares) == 1 else 's'}")


def _run_findings(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    check = CHECKS["run"]
    if not report["failed"]:
        return check.ok(_cards_text(report, []))
    by_error: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for item in report["failed"]:
        what = f"{WORDS[item['measure']]}{' ' + item['dtype'] if item['dtype'] else ''}"
        by_error.setdefault((item["error"], tuple(item["gpus"])), []).append(what)
    found = []
    for (error, gpus), measures in by_error.items():
        card = _card(report, gpus[0])
        gpu = {**card, "pci": {"address": card["pci_address"]}} if len(gpus) == 1 else None
        subject = f"GPU {', '.join(str(index) for index in gpus)}"
        action = "Ask gpu_health, look at dmesg. When both are clean, measure again."
        found.append(check.fail(subject, f"{', '.join(measures)}: {error}", "figures", action, "reset_gpu", gpu))
    return found


def _card(report: Mapping[str, Any], index: int) -> dict[str, Any]:
    return next(dict(card) for card in report["gpus"] if card["index"] == index)


def _cards_text(report: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    count = len({index for item in items for index in item["gpus"]}) or len(report["gpus"])
    return f"{count} GPU{'' if count == 1 else 's'}"


def _range(judged: Sequence[Mapping[str, Any]]) -> str:
    """Return figures as text, by type: from the lowest to the highest."""
    parts = []
    for dtype in dict.fromkeys(item["dtype"] for item in judged):
        mine = [item["value"] for item in judged if item["dtype"] == dtype and item["value"]]
        if mine:
            low, high = min(mine), max(mine)
            words = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            parts.append(f"{dtype + ' ' if dtype else ''}{words} {judged[0]['unit']}")
    return ", ".join(parts)
