# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every dashboard must have: series that exist, the limits of the alerts, words for the night."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import compile_rules
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import (
    all_engine_ranges,
    engine_metrics,
    gpu_metrics,
    series_names,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.slo_fleets import VERSIONS, an_instance, promtool
from ansible_collections.local_llm.ops.tools.dashboards.limits import alert, burn_alerts
from ansible_collections.local_llm.ops.tools.dashboards.model import SEVERITIES
from ansible_collections.local_llm.ops.tools.dashboards.queries import (
    ROOT,
    annotation_queries,
    documents,
    filled,
    metric_names,
    panel_queries,
    panels,
)

ALL = documents()
PANELS = [(document["uid"], panel) for document in ALL for panel in panels(document)]
QUERIES = [query for document in ALL for query in (*panel_queries(document), *annotation_queries(document))]
DATA = ROOT / "tools" / "dashboards"
SHOWS_EVERYTHING = {"local-llm-fleet", "local-llm-host", "local-llm-engine", "local-llm-rollout", "local-llm-executive"}
ALERT_LINE = re.compile(r"^Alert (\w+) \((\w+)(?:, ((?:above|below|from) [^)]+))?\): (\S+)$", re.MULTILINE)
# A count of what an alert fires for has its colour from one on.
COUNTED = 1


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DATA / name).read_text(encoding="utf-8"))
    return found


def known_series() -> set[str]:
    instances = {
        f"gpu-{engine}": [
            an_instance(engine, pool=engine),
            an_instance(engine, name="b", pool=f"{engine}-b", slo_tier="premium"),
        ]
        for engine in VERSIONS
    }
    made = compile_rules(instances, settings={"vllm": {"fixed_shape": True}})
    names = {rule["record"] for group in made["rules"]["groups"] for rule in group["rules"] if "record" in rule}
    for engine, version in VERSIONS.items():
        metrics = engine_metrics(engine, version)
        assert metrics is not None
        names |= series_names(metrics)
    names |= set(gpu_metrics())
    for entry in load("series.yml")["series"]:
        names |= set(entry.get("names", []))
        if "names_in" in entry:
            names |= set((ROOT / entry["names_in"]).read_text(encoding="utf-8").split())
    return names


def test_there_is_a_dashboard_for_everything_that_was_promised() -> None:
    assert {document["uid"] for document in ALL} == SHOWS_EVERYTHING
    for document in ALL:
        path = ROOT / "roles" / "monitoring" / "files" / "dashboards" / f"{document['uid'].replace('-', '_')}.json"
        assert path.is_file(), f"{document['uid']}: its file must be {path.name}"


def test_queries_name_only_series_that_exist() -> None:
    known = known_series()
    wrong = {
        f"{query['dashboard']}: {query['panel']}: {name} is not known; see tools/dashboards/series.yml"
        for query in QUERIES
        for name in metric_names(query["expr"]) - known
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_no_query_needs_an_engine_version_that_is_older_or_newer_than_all_that_are_known() -> None:
    everywhere = {name for _engine, entry in all_engine_ranges() for name in entry["metrics"]}
    for query in QUERIES:
        for name in metric_names(query["expr"]):
            if name.startswith(("vllm:", "llamacpp:")):
                assert re.sub(r"_(bucket|sum|count)$", "", name) in everywhere, f"{query['panel']}: {name}"


def test_promtool_takes_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"q{place}", "expr": filled(query["expr"])} for place, query in enumerate(QUERIES)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    checked = promtool("check", "rules", str(path))
    said = checked.stdout + checked.stderr
    assert checked.returncode == 0, "\n".join(
        [
            said,
            *(
                f"q{place}: {query['dashboard']}: {query['panel']}"
                for place, query in enumerate(QUERIES)
                if f"q{place}" in said
            ),
        ]
    )


@pytest.mark.parametrize("document", ALL, ids=lambda document: document["uid"])
def test_a_dashboard_can_be_imported_as_it_is(document: dict[str, Any]) -> None:
    assert document["schemaVersion"] >= 36
    assert not {"__inputs", "__requires", "id", "version"} & document.keys(), "Grafana sets these itself"
    assert document["title"] and document["description"] and "local_llm" in document["tags"]
    assert len(document["uid"]) <= 40
    first = document["templating"]["list"][0]
    assert [first[key] for key in ("name", "type", "query")] == ["datasource", "datasource", "prometheus"]
    for place, source in datasources(document):
        assert source in (
            {"type": "prometheus", "uid": "${datasource}"},
            {"type": "grafana", "uid": "-- Grafana --"},
        ), place


def datasources(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "datasource":
                yield place, value
            yield from datasources(value, f"{place}.{key}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from datasources(item, f"{place}[{number}]")


@pytest.mark.parametrize("document", ALL, ids=lambda document: document["uid"])
def test_every_variable_that_a_query_names_is_there_to_choose(document: dict[str, Any]) -> None:
    there = {variable["name"] for variable in document["templating"]["list"]} | {"__rate_interval", "__range"}
    asked = [query["expr"] for query in (*panel_queries(document), *annotation_queries(document))]
    asked += [variable["query"]["query"] for variable in document["templating"]["list"] if variable["type"] == "query"]
    for expr in asked:
        assert set(re.findall(r"\$([A-Za-z_]\w*)", expr)) <= there, expr


@pytest.mark.parametrize("document", ALL, ids=lambda document: document["uid"])
def test_no_two_panels_overlap_and_none_leaves_the_grid(document: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in document["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24, f"{panel['title']} leaves the grid"
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]} at {cell}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize("document", ALL, ids=lambda document: document["uid"])
def test_numbers_and_titles_of_panels_are_unique(document: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in document["panels"]]
    titles = [panel["title"] for panel in panels(document)]
    assert len(numbers) == len(set(numbers))
    assert len(titles) == len(set(titles)), "may_be_empty.yml names panels by their titles"


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=[f"{uid}: {panel['title']}" for uid, panel in PANELS])
def test_a_panel_has_a_unit_and_tells_at_night_what_it_means_and_what_to_do(uid: str, panel: dict[str, Any]) -> None:
    means, _mark, rest = panel["description"].partition("\n\nWhat to do: ")
    assert len(means) > 20 and rest, f"{uid}: {panel['title']}: say what it means and what to do"
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"] and all(target["refId"] for target in panel["targets"])


def numbers_in(name: str) -> set[float]:
    (expr,) = (entry["expr"] for entries in alert_data().values() for entry in entries if entry["alert"] == name)
    return {float(number) for number in re.findall(r"[<>=] (\d+(?:\.\d+)?)", expr)}


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=[f"{uid}: {panel['title']}" for uid, panel in PANELS])
def test_colours_change_where_the_alerts_come(uid: str, panel: dict[str, Any]) -> None:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    known = {item.name: item for item in burn_alerts()}
    allowed: set[tuple[float, str]] = set()
    told = 0
    for name, severity, limit, _runbook in ALERT_LINE.findall(panel["description"]):
        item = known[name] if name in known else alert(name)
        assert severity == item.severity
        told += bool(limit)
        numbers = {item.limit.value} if name in known and item.limit else numbers_in(name)
        numbers |= {round(1 - number, 9) for number in numbers} | {COUNTED}
        allowed |= {(number, SEVERITIES[severity]) for number in numbers if limit}
    above = {(step["value"], step["color"]) for step in steps[1:] if step["color"] != "green"}
    below = {(after["value"], step["color"]) for step, after in itertools.pairwise(steps) if after["color"] == "green"}
    shown = above | {pair for pair in below if pair[1] != "green"}
    # Counts of alerts and of rollouts have no alert of their own.
    assert shown <= allowed or (not told and {value for value, _colour in shown} <= {COUNTED}), panel["title"]
    assert not told or len(shown) == told, "every limit that the description tells has its colour"


def test_every_alert_has_a_panel_that_shows_what_it_is_about() -> None:
    named = {found[0] for _uid, panel in PANELS for found in ALERT_LINE.findall(panel["description"])}
    missing = {entry["alert"] for entries in alert_data().values() for entry in entries} - named
    assert not missing, f"no panel names {', '.join(sorted(missing))}"


def test_every_runbook_that_a_panel_names_is_there() -> None:
    for uid, panel in PANELS:
        for *_rest, runbook in ALERT_LINE.findall(panel["description"]):
            page, _mark, section = runbook.partition("#")
            text = (ROOT / page).read_text(encoding="utf-8")
            assert f"## {section}" in text or f'name="{section}"' in text, f"{uid}: {panel['title']}: {runbook}"


def test_rollouts_are_drawn_into_every_dashboard_at_the_time_that_the_series_tells() -> None:
    for document in ALL:
        lines = {entry["name"]: entry for entry in document["annotations"]["list"]}
        for name in ("Rollout begins", "Rollout ends"):
            assert lines[name]["enable"] and lines[name]["useValueForTime"], f"{document['uid']}: {name}"
            assert lines[name]["expr"].endswith(" * 1000"), "Grafana takes milliseconds, the series has seconds"


def test_panels_that_may_be_empty_exist_and_say_when_and_why() -> None:
    document = load("may_be_empty.yml")
    there = {(query["dashboard"], query["panel"], query["ref"]) for query in QUERIES}
    seen = set()
    for entry in document["panels"]:
        name = (entry["dashboard"], entry["panel"])
        assert entry["when"] in document["conditions"], f"{name}: {entry['when']} is no condition"
        assert entry["reason"], name
        refs = entry.get("refs") or [ref for uid, panel, ref in there if (uid, panel) == name]
        assert refs and all((*name, ref) in there for ref in refs), f"{name}: no such panel or query"
        assert (*name, entry["when"], *refs) not in seen, f"{name}: {entry['when']} is there twice"
        seen.add((*name, entry["when"], *refs))
    assert {entry["when"] for entry in document["panels"]} == set(document["conditions"])
