# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' text format."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._metrics_text import parse_metrics, total

PAGE = """# HELP a:b_total What
# TYPE a:b_total counter
a:b_total{model="x",path="a\\"b\\\\c\\n"} 1.5
a:b_total{model="y"} 2 1700000000000
plain 7
empty{} 1e3
odd NaN
broken line here
"""


def test_names_labels_and_values_are_read() -> None:
    samples = parse_metrics(PAGE)
    assert [sample.name for sample in samples] == ["a:b_total", "a:b_total", "plain", "empty", "odd"]
    assert samples[0].labels == (("model", "x"), ("path", 'a"b\\c\n'))


@pytest.mark.parametrize(
    ("name", "value"), [("a:b_total", 3.5), ("plain", 7), ("empty", 1000), ("odd", None), ("none", None)]
)
def test_a_total_is_null_when_it_is_not_known(name: str, value: float | None) -> None:
    assert total(parse_metrics(PAGE), name) == value
