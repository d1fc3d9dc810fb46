# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Unit tests for promtool, made with the rules: every alert fires in its bad world, and none in the quiet one.

Controller only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import Case, critical_xids
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import gpu_metrics
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_objectives import Objective
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_series import TIER_LIMIT

_QUIET_MINUTES = (20, 85)
_AT = 30
_LENGTH = 90
_LABEL = re.compile(r"{{ \$labels\.(\w+) }}")
_PERCENTAGE = re.compile(r"{{ \$value \| humanizePercentage }}")
_PRINTF = re.compile(r"{{ \$value \| printf \"(%\.\d+f)\" }}")
# So many times faster than allowed the budget burns: enough for a page, for a ticket only, for nothing.
_FAST, _SLOW, _CALM = 20.0, 4.5, 0.5


def promtool_tests(
    rule_file: str,
    groups: Iterable[Mapping[str, Any]],
    cases: list[Case],
    objectives: list[tuple[Objective, list[Mapping[str, Any]]]],
    min_bad_requests: int,
) -> dict[str, Any]:
    """Return the content of a test file. objectives: each with its alerts, in the order of burn_alerts."""
    listed = list(groups)
    return {
        "rule_files": [rule_file],
        "evaluation_interval": "2m",
        "group_eval_order": [group["name"] for group in listed],
        "tests": [
            *_bad_worlds(cases),
            _dcgm_world(cases),
            *_burn_worlds(objectives, min_bad_requests),
            {**_quiet_world(cases, objectives), "promql_expr_test": [_tier_limits(listed)]},
        ],
    }


@dataclass
class _World:
    """Series that go together, and the alerts that must stand in them: (minute, name) to what is expected."""

    name: str
    series: dict[str, str] = field(default_factory=dict)
    checks: dict[tuple[int, str], list[dict[str, Any]]] = field(default_factory=dict)
    closed: bool = False

    def takes(self, series: Mapping[str, str]) -> bool:
        return not self.closed and all(self.series.get(name, values) == values for name, values in series.items())

    def expect(self, minute: int, alert: str, *expected: dict[str, Any]) -> None:
        self.checks.setdefault((minute, alert), []).extend(expected)

    def as_test(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": expected}
                for (minute, alert), expected in self.checks.items()
            ],
        }


def _bad_worlds(cases: list[Case]) -> list[dict[str, Any]]:
    """Put the alerts into as few worlds as their series allow: promtool takes its time for each of them."""
    worlds: list[_World] = []
    for case in cases:
        name = str(case.rule["alert"])
        world = None if case.alone else next((one for one in worlds if one.takes(case.fires)), None)
        if world is None:
            world = _World("", closed=case.alone)
            worlds.append(world)
        world.series.update(case.fires)
        world.expect(case.at_minutes, name, *(_alert(case.rule, labels, case.value) for labels in case.expected))
    for number, world in enumerate(worlds, start=1):
        world.name = f"bad world {number}: {', '.join(dict.fromkeys(name for _minute, name in world.checks))}"
    return [world.as_test() for world in worlds]


def _dcgm_world(cases: list[Case]) -> dict[str, Any]:
    """Return the world of a host with DCGM's exporter: its names become ours, and its last XID an alert."""
    labels = {"host": "gpu1", "gpu": "0", "uuid": "GPU-1"}
    place = '{job="local_llm_gpu",host="gpu1",gpu="0",UUID="GPU-1"}'
    world = _World("a host with DCGM")
    world.series = {f"{entry['dcgm']}{place}": f"1+0x{_LENGTH}" for entry in gpu_metrics().values() if "dcgm" in entry}
    world.series[f"DCGM_FI_DEV_XID_ERRORS{place}"] = f"0+0x15 {critical_xids()[0]}+0x{_LENGTH}"
    world.series['up{job="local_llm_gpu",host="gpu1"}'] = f"1+0x{_LENGTH}"
    rule = next(case.rule for case in cases if case.rule["alert"] == "LocalLlmGpuXidCritical")
    alert = _alert(rule, {**labels, "xid": str(critical_xids()[0]), **rule["labels"]}, None)
    world.expect(10, rule["alert"])
    world.expect(20, rule["alert"], alert)
    test = world.as_test()
    test["promql_expr_test"] = [
        {
            "expr": name,
            "eval_time": "10m",
            "exp_samples": [{"labels": _sample(name, {**labels, **entry.get("dcgm_labels", {})}), "value": value}],
        }
        for name, entry in gpu_metrics().items()
        if "dcgm" in entry
        for value in [0 if name == "local_llm_gpu_last_xid" else entry["scale"]]
    ]
    return test


def _sample(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def _tier_limits(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the test that the limits of all tiers are there as series, each with its value."""
    found = [
        {"labels": _sample(TIER_LIMIT, rule["labels"]), "value": float(rule["expr"][len("vector(") : -1])}
        for group in groups
        for rule in group["rules"]
        if rule.get("record") == TIER_LIMIT
    ]
    return {"expr": TIER_LIMIT, "eval_time": "20m", "exp_samples": found}


def _quiet_world(cases: list[Case], objectives: list[tuple[Objective, list[Mapping[str, Any]]]]) -> dict[str, Any]:
    world = _World("a quiet fleet fires nothing")
    for stated in [case.quiet for case in cases] + [_feed(item, 0.0) for item, _alerts in objectives]:
        if not world.takes(stated):
            raise ValueError(f"the quiet world has two values for one of {', '.join(stated)}")
        world.series.update(stated)
    names = [str(case.rule["alert"]) for case in cases]
    names += [str(alert["alert"]) for _item, alerts in objectives for alert in alerts]
    for minute in _QUIET_MINUTES:
        for name in dict.fromkeys(names):
            world.expect(minute, name)
    return world.as_test()


def _burn_worlds(
    objectives: list[tuple[Objective, list[Mapping[str, Any]]]], min_bad_requests: int
) -> list[dict[str, Any]]:
    """Return the worlds of the objectives; in each of them all pools burn alike."""
    worlds = [
        _World(f"every objective: {what}") for what in ("burns fast", "burns slowly", "burns slower than allowed")
    ]
    worlds += [_World("every objective: no traffic is no failure"), _World("every objective: nobody measures it")]
    fast_world, slow_world, calm_world, dead_world, blind_world = worlds
    for item, (fast, slow, missing) in objectives:
        share, middle = min(1.0, _FAST * item.budget), _SLOW * item.budget
        # So much traffic that enough requests fail in an hour.
        traffic = max(1, math.ceil(min_bad_requests / (30000 * share)))
        fast_world.series.update(_feed(item, share, traffic))
        fast_world.expect(_AT, fast["alert"], _alert(fast, fast["labels"], share))
        fast_world.expect(_AT, slow["alert"], _alert(slow, slow["labels"], share))
        slow_world.series.update(_feed(item, middle, traffic))
        slow_world.expect(_AT, fast["alert"])
        slow_world.expect(_AT, slow["alert"], _alert(slow, slow["labels"], middle))
        calm_world.series.update(_feed(item, _CALM * item.budget, traffic))
        dead_world.series.update({feed.series: f"5+0x{_LENGTH}" for feed in item.feeds})
        for world in (calm_world, dead_world):
            for alert in (fast, slow, missing):
                world.expect(_AT, alert["alert"])
        blind_world.expect(_AT, missing["alert"], _alert(missing, missing["labels"], None))
        blind_world.expect(_AT, fast["alert"])
    return [world.as_test() for world in worlds if world.checks]


def _feed(item: Objective, bad_share: float, traffic: int = 1) -> dict[str, str]:
    found = {}
    for feed in item.feeds:
        step = feed.good * (1 - bad_share) + feed.bad * bad_share
        found[feed.series] = f"0+{step * traffic:.12g}x{_LENGTH}"
    return found


def _alert(rule: Mapping[str, Any], labels: Mapping[str, str], value: float | None) -> dict[str, Any]:
    texts = {name: _rendered(text, labels, value) for name, text in rule["annotations"].items()}
    return {"exp_labels": dict(labels), "exp_annotations": texts}


def _rendered(text: str, labels: Mapping[str, str], value: float | None) -> str:
    """Return an annotation as Prometheus writes it; the three templates that our texts use."""
    text = _LABEL.sub(lambda match: labels.get(match[1], ""), text)
    if value is None:
        return text
    text = _PERCENTAGE.sub(lambda _match: f"{value * 100:.4g}%", text)
    return _PRINTF.sub(lambda match: match[1] % value, text)
