# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries are read back out of dashboards whole, and the names in them are found."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.tools.dashboards.queries import (
    annotation_queries,
    expected_empty,
    filled,
    metric_names,
    panel_queries,
)

DOCUMENT: dict[str, Any] = {
    "uid": "u",
    "annotations": {"list": [{"name": "built in"}, {"name": "begins", "expr": "d"}]},
    "panels": [
        {"type": "row", "title": "open", "panels": []},
        {"type": "stat", "title": "one", "targets": [{"refId": "A", "expr": "a"}, {"refId": "B", "expr": "b"}]},
        {
            "type": "row",
            "title": "closed",
            "panels": [{"type": "stat", "title": "two", "targets": [{"refId": "A", "expr": "c"}]}],
        },
        {"type": "text", "title": "words"},
    ],
}


def test_every_query_of_every_panel_is_listed_closed_rows_too() -> None:
    assert panel_queries(DOCUMENT) == [
        {"dashboard": "u", "panel": "one", "ref": "A", "expr": "a"},
        {"dashboard": "u", "panel": "one", "ref": "B", "expr": "b"},
        {"dashboard": "u", "panel": "two", "ref": "A", "expr": "c"},
    ]
    assert annotation_queries(DOCUMENT) == [{"dashboard": "u", "panel": "begins", "ref": "annotation", "expr": "d"}]


def test_grafanas_variables_are_filled_in_and_groups_of_a_pattern_stay() -> None:
    query = 'label_replace(rate(a{pool=~"$pool"}[$__rate_interval]), "x", "$1", "y", "(.+)") * ${price_per_kwh}'
    assert filled(query, {"pool": "chat"}) == 'label_replace(rate(a{pool=~"chat"}[5m]), "x", "$1", "y", "(.+)") * 0.30'
    with pytest.raises(KeyError, match="names \\$nothing, which has no value"):
        filled("a * $nothing")


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (
            "sum by (host, gpu) (rate(a_total[5m])) / on (pool) group_left (x) (local_llm:b:rate5m > 0)",
            {"a_total", "local_llm:b:rate5m"},
        ),
        ('a{b="c{d}", e=~"f"} unless g offset 5m or vector(0)', {"a", "g"}),
        ("sum_over_time((1 - a)[1d:5m]) / 3.6e6 * 1e6 > bool 0", {"a"}),
        ("max without (x) (a) and ignoring (y) b", {"a", "b"}),
    ],
)
def test_the_names_of_series_are_found_and_nothing_else(expr: str, expected: set[str]) -> None:
    assert metric_names(expr) == expected


def test_a_panel_may_be_empty_only_where_its_condition_holds() -> None:
    entries = [{"dashboard": "u", "panel": "one", "refs": ["B"], "when": "no_gpu", "reason": "no card"}]
    first, second, _third = panel_queries(DOCUMENT)
    assert expected_empty(entries, second) == "no card"
    assert expected_empty(entries, second, {"no_gpu"}) == "no card"
    assert expected_empty(entries, second, {"no_vllm"}) == ""
    assert expected_empty(entries, first) == ""
