# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a GPU should reach: the table of measured figures, and one figure held against peak, table and peers.

Controller only. The table is gpu_reference.yml; a site adds or replaces figures with merge_reference().
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest

DATA = Path(__file__).with_name("gpu_reference.yml")
MEASURES = ("memory_bandwidth", "gemm", "host_to_device", "device_to_host", "peer", "all_reduce")
DTYPES = ("bf16", "fp16", "tf32", "fp8")
RULES = (
    "reference",
    "floor",
    "best_of_many",
    "peers",
    "peak_memory_bandwidth",
    "peak_gemm",
    "peak_pcie",
)
PEAK_RULES = {
    "memory_bandwidth": "peak_memory_bandwidth",
    "gemm": "peak_gemm",
    "host_to_device": "peak_pcie",
    "device_to_host": "peak_pcie",
}
# Fewer cards have no median that says anything about one of them.
MIN_PEERS = 3
SITE = "site"
_ENTRY_KEYS = ("value", "floor", "source", "gpus", "rule", "note")

Document = dict[str, Any]


class ReferenceTableError(ValueError):
    """The table, or what a site adds to it, is malformed; one line per problem, with key, value and fix."""


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> Document:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReferenceTableError(f"{path}: it cannot be read: {error}. Install the collection again.") from error
    problems = reference_problems(document)
    if problems:
        raise ReferenceTableError("\n".join(f"{path}: {problem}" for problem in problems))
    return dict(document)


def load_reference(path: Path = DATA) -> Document:
    """Return the table. Raises ReferenceTableError."""
    return copy.deepcopy(_read(path))


def merge_reference(document: Document, own: Any) -> Document:
    """Return the table with a site's figures over it: {device id: {measure: {value: ...}}}; or ReferenceTableError."""
    if not isinstance(own, Mapping):
        raise ReferenceTableError(
            f"reference: {own!r} is no dictionary. Write {{device id: {{measure: {{value: number}}}}}}, for example "
            '{"2335": {memory_bandwidth: {value: 4000}}}.'
        )
    result = copy.deepcopy(document)
    result["sources"][SITE] = "The site's own figure."
    for device, card in own.items():
        if not isinstance(card, Mapping):
            raise ReferenceTableError(
                f"reference.{device}: {card!r} is no dictionary of measures: {', '.join(MEASURES)}."
            )
        target = result["cards"].setdefault(str(device).lower().removeprefix("0x"), {"name": str(device)})
        for measure, entry in card.items():
            if measure == "gemm" and isinstance(entry, Mapping):
                merged = {name: _own(value) for name, value in entry.items()}
                target["gemm"] = {**target.get("gemm", {}), **merged}
            else:
                target[measure] = entry if measure == "name" else _own(entry)
    problems = reference_problems(result)
    if problems:
        raise ReferenceTableError("\n".join(f"reference: {problem}" for problem in problems))
    return result


def _own(entry: Any) -> Any:
    return {"source": SITE, **entry} if isinstance(entry, Mapping) else entry


def reference_problems(document: Any) -> list[str]:
    """Return what is wrong with a table: one text per problem, with key, value and fix."""
    if not isinstance(document, Mapping) or document.get("schema") != 1:
        return ["schema: it is not 1. This version reads schema 1."]
    parts = {name: document.get(name) for name in ("sources", "rules", "all_reduce", "cards")}
    missing = [
        f"{name}: it is missing or no dictionary." for name, part in parts.items() if not isinstance(part, Mapping)
    ]
    if missing:
        return missing
    found = list(_rule_problems(document))
    for path in ("nvlink", "pcie"):
        found += _entry_problems(f"all_reduce.{path}", document["all_reduce"].get(path), document)
    for device, card in document["cards"].items():
        found += _card_problems(str(device), card, document)
    return found


def _rule_problems(document: Mapping[str, Any]) -> Iterator[str]:
    for name in RULES:
        rule = document["rules"].get(name)
        if not isinstance(rule, Mapping) or not _number(rule.get("warn")) or not _number(rule.get("fail")):
            yield f"rules.{name}: it needs warn and fail, both numbers above 0."
        elif rule["fail"] > rule["warn"]:
            yield f"rules.{name}: fail {rule['fail']} is above warn {rule['warn']}. Swap them."
        elif rule.get("source") not in document["sources"]:
            yield f"rules.{name}.source: {rule.get('source')!r} is not among the sources."


def _card_problems(device: str, card: Any, document: Mapping[str, Any]) -> Iterator[str]:
    where = f"cards.{device}"
    if len(device) != 4 or any(letter not in "0123456789abcdef" for letter in device):
        yield f'{where}: it is no PCI device id. Write four hexadecimal digits in quotes, such as "2335".'
    if not isinstance(card, Mapping):
        yield f"{where}: {card!r} is no dictionary of measures."
        return
    for measure, entry in card.items():
        if measure == "name":
            continue
        if measure not in MEASURES:
            near = nearest(str(measure), MEASURES)
            yield f"{where}.{measure}: no such measure." + (f" Did you mean {near}?" if near else "")
        elif measure == "gemm":
            if not isinstance(entry, Mapping):
                yield f"{where}.gemm: {entry!r} is no dictionary by type: {', '.join(DTYPES)}."
                continue
            for dtype, one in entry.items():
                if dtype not in DTYPES:
                    yield f"{where}.gemm.{dtype}: no such type. Use one of {', '.join(DTYPES)}."
                yield from _entry_problems(f"{where}.gemm.{dtype}", one, document)
        else:
            yield from _entry_problems(f"{where}.{measure}", entry, document)


def _entry_problems(where: str, entry: Any, document: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        yield f"{where}: {entry!r} is no dictionary. Write {{value: number}}."
        return
    for key in entry:
        if key not in _ENTRY_KEYS:
            yield f"{where}.{key}: no such key. Keys: {', '.join(_ENTRY_KEYS)}."
    if ("value" in entry) == ("floor" in entry):
        yield f"{where}: it needs either value or floor."
    for key in ("value", "floor"):
        if key in entry and not _number(entry[key]):
            yield f"{where}.{key}: {entry[key]!r} is no number above 0."
    if "gpus" in entry and (not isinstance(entry["gpus"], int) or entry["gpus"] < 2):
        yield f"{where}.gpus: {entry['gpus']!r} is no number of GPUs from 2 on."
    if entry.get("rule", "reference") not in document["rules"]:
        yield f"{where}.rule: {entry['rule']!r} is not among the rules."
    if entry.get("source") not in document["sources"]:
        yield f"{where}.source: {entry.get('source')!r} is not among the sources."


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def reference_entry(
    document: Mapping[str, Any], device_id: str | None, measure: str, dtype: str | None, gpus: int, path: str | None
) -> Mapping[str, Any] | None:
    """Return the entry of the table that a figure is held against; None when there is none. path: p2p, nvlink, ..."""
    entry = document["cards"].get(device_id or "", {}).get(measure)
    if measure == "gemm":
        entry = (entry or {}).get(dtype)
    if measure == "peer" and path != "nvlink":
        return None  # the figures of the table are those of NVLink
    if entry and entry.get("gpus") in (None, gpus) and (measure != "all_reduce" or path == "nvlink"):
        return dict(entry)
    return document["all_reduce"].get(path or "") if measure == "all_reduce" else None


def against(basis: str, value: float, expected: float, rule: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return one comparison: basis, expected, share, warn_under, fail_under, implausible_over, status, source.

    The limits are figures, not shares. implausible_over is null where nothing is too good to be true.
    """
    warn, fail = rule["warn"] * expected, rule["fail"] * expected
    over = rule["implausible"] * expected if "implausible" in rule else None
    status = "fail" if value < fail else "warn" if value < warn or (over is not None and value > over) else "ok"
    return {
        "basis": basis,
        "expected": _short(expected),
        "share": round(value / expected, 3),
        "warn_under": _short(warn),
        "fail_under": _short(fail),
        "implausible_over": None if over is None else _short(over),
        "status": status,
        "source": source,
    }


def against_peak(
    document: Mapping[str, Any], measure: str, value: float, peak: float | None, in_table: bool = False
) -> dict[str, Any] | None:
    """Hold a figure against what the card can do in theory.

    in_table: the table has a figure for it. A measured one knows better how much of its peak a card reaches: then the
    peak warns at most.
    """
    name = PEAK_RULES.get(measure)
    if name is None or not peak:
        return None
    base = against("peak", value, peak, document["rules"][name], "worked out from NVML")
    return {**base, "status": "warn"} if in_table and base["status"] == "fail" else base


def against_reference(
    document: Mapping[str, Any], value: float, entry: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Hold a figure against an entry of the table."""
    if not entry:
        return None
    basis = "floor" if "floor" in entry else "reference"
    rule = document["rules"][entry.get("rule", basis)]
    return against(basis, value, float(entry[basis if basis == "floor" else "value"]), rule, str(entry["source"]))


def against_peers(document: Mapping[str, Any], value: float, figures: Sequence[float]) -> dict[str, Any] | None:
    """Hold a figure against the median of equal cards, its own included; None when they are fewer than three."""
    if len(figures) < MIN_PEERS:
        return None
    return against("peers", value, median(figures), document["rules"]["peers"], f"median of {len(figures)}")


def _short(value: float) -> float:
    return float(f"{value:.5g}")
