# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The SLO compiler: pools, tiers and what engines show in; rules for Prometheus and their tests out.

Controller only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_cases
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_burn import (
    budget_group,
    burn_alerts,
    rate_group,
    window_group,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import Pool, RulesError, build_fleet
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import metric_problems
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import pool_objectives
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_series import (
    engine_group,
    gpu_group,
    instance_group,
    limit_group,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_tests import promtool_tests

RULE_FILE = "local_llm_rules.yml"
TEST_FILE = "local_llm_rules_test.yml"
DEFAULT_RUNBOOKS = "docs/runbooks"
_HEADER = "# Made by local_llm.ops.slo_rules from the inventory. Change the inventory, not this file.\n"
_SETTINGS = ("fixed_shape", "count_overload")


def compile_rules(
    instances: Any,
    pools: Any = None,
    tiers: Any = None,
    settings: Any = None,
    runbooks: str = DEFAULT_RUNBOOKS,
    min_bad_requests: int = 3,
    extra_groups: Any = None,
) -> dict[str, Any]:
    """Return {"rules", "tests", "rules_yaml", "tests_yaml", "notes"}. Raises RulesError with one line per problem.

    instances: {host: local_llm_instances}. pools, tiers: local_llm_pools and local_llm_slo_tiers. settings: see
    build_fleet. extra_groups: groups of the site's own, held against the metrics that the engines have.
    """
    chosen = _settings(plain(settings or {}))
    fleet = build_fleet(instances, pools, tiers, chosen)
    problems: list[str] = []
    notes = _version_notes(fleet)
    objectives = []
    groups: list[dict[str, Any]] = [instance_group(fleet), limit_group(fleet), engine_group(fleet), gpu_group()]
    page = f"{runbooks}/alerts_slo.md"
    for pool in fleet:
        found, wrong, known = pool_objectives(pool)
        problems += wrong
        notes += known
        if found:
            objectives += [(item, burn_alerts(item, min_bad_requests, page)) for item in found]
            groups.append(rate_group(pool.name, found))
    groups += [window_group(), budget_group()]
    cases = alert_cases(fleet, runbooks)
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for item, alerts in objectives:
        by_name.setdefault(f"local_llm_slo_{item.pool.name}_alerts", []).extend(alerts)
    for case in cases:
        by_name.setdefault(case.group, []).append(case.rule)
    groups += [{"name": name, "rules": list(rules)} for name, rules in by_name.items()]
    extra = plain(extra_groups or [])
    problems += _extra_problems(extra, {group["name"] for group in groups})
    groups = [group for group in groups if group["rules"]]
    problems += _metric_problems([*groups, *(extra if isinstance(extra, list) else [])], fleet)
    if problems:
        raise RulesError("\n".join(dict.fromkeys(problems)))
    rules = {"groups": groups + extra}
    tests = promtool_tests(
        RULE_FILE, rules["groups"], cases, [(item, list(alerts)) for item, alerts in objectives], min_bad_requests
    )
    return {
        "rules": rules,
        "tests": tests,
        "rules_yaml": as_yaml(rules),
        "tests_yaml": as_yaml(tests),
        "notes": list(dict.fromkeys(notes)),
    }


def as_yaml(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a file, with the word where it comes from."""
    return _HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes the same mapping twice instead of pointing at it, and expressions of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _settings(settings: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(settings, dict):
        raise RulesError(f"settings: is a {type(settings).__name__}; write {{pool: {{fixed_shape: true}}}}")
    for pool, chosen in settings.items():
        for key, value in chosen.items() if isinstance(chosen, dict) else [("", chosen)]:
            if key not in _SETTINGS or not isinstance(value, bool):
                fix = f"use {' or '.join(_SETTINGS)} with true or false"
                raise RulesError(f"settings.{pool}: {key or 'value'} {value!r} is not known; {fix}")
    return settings


def _version_notes(fleet: Iterable[Pool]) -> list[str]:
    notes = []
    for pool in fleet:
        for member in pool.members:
            what = f"{member.engine} {member.version}"
            if not member.metrics.known:
                notes.append(
                    f"{what}: nothing is known about its metrics; the rules take those of the newest known version"
                )
            elif not member.metrics.verified:
                notes.append(f"{what}: nobody has looked at its /metrics; see that the targets and series are there")
    return notes


def _metric_problems(groups: Iterable[Mapping[str, Any]], fleet: Iterable[Pool]) -> list[str]:
    engines = {(m.engine, m.version): m.metrics for pool in fleet for m in pool.members}
    problems = []
    for group in groups:
        for rule in group.get("rules", []) if isinstance(group, Mapping) else []:
            name = rule.get("alert") or rule.get("record") or "a rule without a name"
            # A rule of ours that names two versions of a metric is right when each version has one of them.
            if str(name).startswith("local_llm:") and " or " in str(rule.get("expr", "")):
                continue
            problems += metric_problems(
                f"{group.get('name', 'a group')}: {name}", str(rule.get("expr", "")), engines.values()
            )
    return problems


def _extra_problems(extra: Any, taken: set[str]) -> list[str]:
    if not isinstance(extra, list):
        return [f"extra_groups: is a {type(extra).__name__}; write a list of {{name, rules}}"]
    problems = []
    for place, group in enumerate(extra):
        name = group.get("name") if isinstance(group, dict) else None
        if not name or not isinstance(group.get("rules"), list):
            problems.append(f"extra_groups[{place}]: name or rules is missing; write {{name: NAME, rules: [...]}}")
        elif name in taken:
            problems.append(f"extra_groups[{place}]: the name {name} is taken; give the group another one")
    return problems
