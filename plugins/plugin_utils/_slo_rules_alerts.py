# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The alerts of slo_alerts.yml for one fleet, each with the worlds in which it must fire and stay silent.

Controller only.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import Member, Pool
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import ENGINE_JOB, TEST_RELEASE
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_series import fed_series, fed_up, has_signal
from ansible_collections.local_llm.ops.plugins.plugin_utils._xid_data import load_policies

DATA_FILE = Path(__file__).with_name("slo_alerts.yml")
_PLACE = re.compile(r"<([a-z_]+(?::[a-z_]+)?)>")
_MINUTES = {"m": 1, "h": 60}


@dataclass(frozen=True)
class Case:
    """One alert as a rule, with its group and its test."""

    group: str
    rule: Mapping[str, Any]
    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    at_minutes: int
    expected: tuple[Mapping[str, str], ...]
    value: float | None
    alone: bool


@functools.lru_cache(maxsize=1)
def alert_data() -> dict[str, list[dict[str, Any]]]:
    """Return the groups of alerts as they stand in the file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    groups: dict[str, list[dict[str, Any]]] = yaml.load(DATA_FILE.read_text(encoding="utf-8"), Loader=loader)["groups"]
    return groups


@functools.lru_cache(maxsize=1)
def critical_xids() -> tuple[int, ...]:
    """Return the codes that take a GPU out of service."""
    codes = load_policies()["xid"]["codes"]
    return tuple(sorted(int(code) for code, entry in codes.items() if entry["severity"] == "critical"))


def alert_cases(pools: list[Pool], runbooks: str) -> list[Case]:
    """Return every alert that this fleet can have."""
    everyone = [member for pool in pools for member in pool.members]
    found = []
    for group, entries in alert_data().items():
        for entry in entries:
            if entry["scope"] == "fleet":
                member = _first(everyone, entry)
                if member is not None:
                    home = next(pool for pool in pools if pool.name == member.pool)
                    found.append(_case(f"local_llm_{group}_alerts", entry, member, everyone, home, runbooks))
                continue
            for pool in pools:
                member = _first(list(pool.members), entry)
                if member is None or ("tier" in entry and _limit(entry, pool) is None):
                    continue
                if entry["alert"] == "LocalLlmErrorBudgetSpent" and pool.tier.get("availability_min_percent") is None:
                    continue
                found.append(_case(f"local_llm_pool_{pool.name}_alerts", entry, member, everyone, pool, runbooks))
    return found


def description(entry: Mapping[str, Any]) -> str:
    """Return what happened, what it means and what to do, as one text."""
    return " ".join(str(entry[key]).strip() for key in ("happened", "means", "do"))


def _first(members: list[Member], entry: Mapping[str, Any]) -> Member | None:
    needs = entry.get("needs", [])
    return next((member for member in members if all(has_signal(member, need) for need in needs)), None)


def _case(
    group: str, entry: Mapping[str, Any], member: Member, everyone: list[Member], pool: Pool, runbooks: str
) -> Case:
    """Return one alert. member: the instance that its test is about. pool: that of the alert, or of the member."""
    words = _words(entry, member, pool)
    fill = functools.partial(_filled, words=words, member=member)
    always = {"severity": entry["severity"], **(pool.labels if entry["scope"] == "pool" else {})}
    rule: dict[str, Any] = {"alert": entry["alert"], "expr": fill(entry["expr"])}
    if "for" in entry:
        rule["for"] = entry["for"]
    rule["labels"] = always
    rule["annotations"] = {
        "summary": fill(entry["summary"]),
        "description": fill(description(entry)),
        "runbook_url": f"{runbooks}/{entry['runbook']}",
    }
    test = entry["test"]
    labels = test.get("labels", {})
    if isinstance(labels, str):
        labels = fed_series(member, _PLACE.findall(labels)[0].partition(":")[2])[1]
    labels = {name: fill(value) for name, value in labels.items()}
    expected = [{**labels, **always}]
    if test.get("each"):
        expected = [{**(fed_up(one)[1] if test["fires"] else one.labels), **always} for one in everyone]
    value = test.get("value")
    return Case(
        group,
        rule,
        _series(test["fires"], words, member, everyone),
        _series(test["quiet"], words, member, everyone),
        test.get("at", _minutes(entry.get("for", "0m")) + max(test.get("wait", 0), 1) + 2),
        tuple(expected),
        None if value is None else float(fill(str(value))),
        bool(test.get("alone")),
    )


def _series(
    stated: Mapping[str, Any], words: Mapping[str, str], member: Member, everyone: list[Member]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for series, values in stated.items():
        if series != "<each:up>":
            found[_filled(series, words, member)] = _filled(str(values), words, member)
            continue
        for one in everyone:
            name, _labels, one_is_up = fed_up(one)
            wanted = one_is_up == ("<up>" in values)
            found[name] = f"{1 if wanted else 0}+0x90"
    return found


def _filled(text: str, words: Mapping[str, str], member: Member) -> str:
    def word(match: re.Match[str]) -> str:
        name = match[1]
        kind, _colon, what = name.partition(":")
        if kind == "series":
            return fed_series(member, what)[0]
        if kind == "metric":
            return member.metrics.signals[what].metric
        return words[name]

    return _PLACE.sub(word, text)


def _limit(entry: Mapping[str, Any], pool: Pool) -> float | None:
    """Return the limit of the tier; None where there is none, and for a least value of 0, which always holds."""
    limit = pool.tier.get(entry["tier"])
    return None if limit == 0 and entry["tier"].endswith("_min") else limit


def _words(entry: Mapping[str, Any], member: Member, pool: Pool) -> dict[str, str]:
    slots = member.slots or 0
    tokens = pool.tier.get("tokens_per_second_p50_min") or 0
    words = {
        "pool": pool.name,
        "server": member.server,
        "busy": f"{slots * 0.9:g}",
        "busy_pool": f"{sum(one.slots or 0 for one in pool.members) * 0.9:g}",
        "calm": "1" if slots > 1 else "0",
        "plenty_of_tokens": f"{max(30000, tokens * 120):g}",
        "xid_critical": "|".join(str(code) for code in critical_xids()),
        "backends": pool.backends,
    }
    percent = pool.tier.get("availability_min_percent")
    if percent is not None:
        words["budget_after_all_failed"] = repr(1 - 1 / (1 - percent / 100)) if percent < 100 else "0"
    limit = _limit(entry, pool) if "tier" in entry else None
    if limit is None:
        return words
    over = limit * 2 or 1.0
    words.update(
        limit=f"{limit:g}",
        over=f"{over:g}",
        under=f"{limit / 2:g}",
        under_per_minute=f"{limit / 2 * 60:g}",
        over_of_thousand=f"{over * 10:g}",
    )
    if "ttft" in entry.get("needs", []):
        words.update(_ttft_words(member, limit))
    return words


def _ttft_words(member: Member, limit: float) -> dict[str, str]:
    """Return buckets such that a median between two of them is above the limit."""
    metric = member.metrics.signals["ttft"].metric
    bounds = member.metrics.buckets[metric]
    low = next((place for place, bound in enumerate(bounds[:-1]) if bound >= limit), len(bounds) - 2)
    pairs = {"job": ENGINE_JOB, **member.labels, "release": TEST_RELEASE}
    labels = ",".join(f'{name}="{value}"' for name, value in pairs.items())
    found = {
        f"bucket:{name}": f'{metric}_bucket{{{labels},le="{le}"}}'
        for name, le in (
            ("first", repr(bounds[0])),
            ("low", repr(bounds[low])),
            ("high", repr(bounds[low + 1])),
            ("inf", "+Inf"),
        )
    }
    return {**found, "ttft_over": repr((bounds[low] + bounds[low + 1]) / 2)}


def _minutes(text: str) -> int:
    return int(text[:-1]) * _MINUTES[text[-1]]
