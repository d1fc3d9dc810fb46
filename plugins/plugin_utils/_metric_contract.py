# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The metric contract: which series of an engine the rules made by slo_rules read for one instance.

It is taken from the rules themselves, so that it cannot say anything else than they do. Controller only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_cases
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import Pool, RulesError, build_fleet
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import all_engine_ranges, engine_metrics
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import pool_objectives
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_series import engine_group

# Labels that the scrape configuration sets; the engine's own page does not have them.
TARGET_LABELS = frozenset({"job", "instance", "host", "server", "pool", "engine", "model", "release"})
_ENGINES = ("vllm", "llamacpp")
_STRING = r'"(?:[^"\\]|\\.)*"'
_SELECTOR = re.compile(
    rf"(?<![\w:])(?P<name>(?:{'|'.join(_ENGINES)}):\w+)\s*(?:\{{(?P<matchers>(?:[^}}\"]|{_STRING})*)\}})?"
)
_MATCHER = re.compile(rf"(?P<label>[a-zA-Z_]\w*)\s*(?P<operator>=~|!~|!=|=)\s*(?P<value>{_STRING})")
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


def required_series(instance: Mapping[str, Any], version: str | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Return what the rules read from /metrics of an instance; an empty list where the engine has no such page.

    instance: as in local_llm_instances. version: the engine version, when it is another one. settings: pools and tiers
    (local_llm_pools, local_llm_slo_tiers), rule_settings and extra_groups as the filter slo_rules takes them.
    Each item: {"metric", "labels": {name: value}, "label_names": [...], "buckets": [values of le as text],
    "rules": [who reads it], "also_called": [names that other versions have]}. Raises RulesError.
    """
    wanted = {**instance, "engine_version": version or instance.get("engine_version")}
    fleet = build_fleet(
        {"host": [wanted]}, settings.get("pools"), settings.get("tiers"), _own_settings(wanted, settings)
    )
    member = fleet[0].members[0]
    if not member.metrics.metrics:
        return []
    found: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, Any]] = {}
    for rule, expression in _expressions(fleet, settings.get("extra_groups")):
        for name, matchers in selectors(expression):
            if name.partition(":")[0] == member.engine:
                _add(found, rule, name, matchers)
    return [{**item, "also_called": other_names(member.engine, item["metric"])} for item in found.values()]


def unknown_version(instance: Mapping[str, Any]) -> str:
    """Return engine and version of an instance when nobody knows which metrics that version has; else an empty text."""
    engine, version = str(instance.get("engine")), str(instance.get("engine_version"))
    metrics = engine_metrics(engine, version)
    return "" if metrics is None or metrics.known else f"{engine} {version}"


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return (name, [(label, operator, value)]) of every series of an engine that an expression of PromQL selects."""
    return [
        (
            match["name"],
            [
                (part["label"], part["operator"], _unquoted(part["value"]))
                for part in _MATCHER.finditer(match["matchers"] or "")
            ],
        )
        for match in _SELECTOR.finditer(expression)
    ]


def other_names(engine: str, metric: str) -> list[str]:
    """Return what other versions of an engine call a metric, by slo_metrics.yml."""
    stem, suffix = _split(metric)
    names: dict[str, None] = {}
    for owner, entry in all_engine_ranges():
        for before, now in entry["renamed"].items() if owner == engine else ():
            if now == stem:
                names[before + suffix] = None
            elif before == stem:
                names[now + suffix] = None
    return list(names)


def _own_settings(instance: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the instance's own pool; the filter takes those of all pools."""
    pool, given = instance.get("pool"), settings.get("rule_settings") or {}
    if not isinstance(given, Mapping):
        raise RulesError(f"settings: is a {type(given).__name__}; write {{pool: {{fixed_shape: true}}}}")
    return {name: value for name, value in given.items() if name == pool}


def _expressions(fleet: list[Pool], extra_groups: Any) -> Iterable[tuple[str, str]]:
    """Return (rule, expression) of everything that reads metrics of this instance."""
    for rule in engine_group(fleet)["rules"]:
        yield rule["record"], rule["expr"]
    for pool in fleet:
        # What is wrong with the objectives is for the filter to refuse: those that can be made are looked at.
        for objective in pool_objectives(pool)[0]:
            yield f"objective {objective.name}", f"{objective.total} {objective.bad}"
    for case in alert_cases(fleet, ""):
        yield str(case.rule["alert"]), str(case.rule["expr"])
    for group in extra_groups or []:
        for rule in group.get("rules", []) if isinstance(group, Mapping) else []:
            yield str(rule.get("alert") or rule.get("record") or "a rule without a name"), str(rule.get("expr", ""))


def _add(found: dict[Any, dict[str, Any]], rule: str, name: str, matchers: list[tuple[str, str, str]]) -> None:
    own = [part for part in matchers if part[0] not in TARGET_LABELS]
    # What the engine itself calls so keeps its name with this before it.
    own = [(label.removeprefix("exported_"), operator, value) for label, operator, value in own]
    labels = {label: value for label, operator, value in own if operator == "=" and value and label != "le"}
    bounds = [value for label, operator, value in own if label == "le" and operator == "=" and _is_bound(value)]
    item = found.setdefault(
        (name, tuple(sorted(labels.items()))),
        {"metric": name, "labels": labels, "label_names": [], "buckets": [], "rules": []},
    )
    names = [label for label, _operator, value in own if label not in labels and label != "le" and value]
    for key, values in (("label_names", names), ("buckets", bounds), ("rules", [rule])):
        item[key] = list(dict.fromkeys([*item[key], *values]))


def _is_bound(text: str) -> bool:
    try:
        # +Inf is there in every histogram.
        return math.isfinite(float(text))
    except ValueError:
        return False


def _split(metric: str) -> tuple[str, str]:
    """Return a name without what a histogram adds to it, and what that is."""
    for suffix in ("_bucket", "_sum", "_count"):
        if metric.endswith(suffix):
            return metric[: -len(suffix)], suffix
    return metric, ""


def _unquoted(text: str) -> str:
    return re.sub(r"\\[n\"\\]", lambda match: _ESCAPES[match[0]], text[1:-1])
