# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for the highest rate: what it finds, and why it ended."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._search import Search, requests_needed, search_rate


def server(capacity: float, seed: int = 3) -> Callable[[float, int], tuple[int, int]]:
    """Return a server that keeps limits for 99 % of the requests up to its capacity, and for half of them above."""
    chooser = random.Random(seed)

    def probe(rate: float, _number: int) -> tuple[int, int]:
        share = 0.995 if rate <= capacity else 0.5
        return sum(chooser.random() < share for _request in range(150)), 150

    return probe


@pytest.mark.parametrize("capacity", [0.3, 3.7, 10.0, 41.0])
def test_a_search_finds_the_rate_that_the_server_can_keep(capacity: float) -> None:
    found = search_rate(server(capacity), Search(resolution=1.1))
    assert found["ended"] == "confirmed" and found["confirmed"]
    assert capacity / 1.25 <= found["rate_per_second"] <= capacity
    assert found["broken_at_rate_per_second"] > capacity


def test_a_search_says_when_it_was_the_limit_that_ended_it() -> None:
    assert search_rate(server(1000), Search(max_rate=16))["ended"] == "limited_by_max_rate"
    assert search_rate(server(0.0), Search())["rate_per_second"] is None
    assert search_rate(server(10), Search(max_probes=3))["ended"] == "out_of_probes"
    assert search_rate(lambda _rate, _number: None, Search())["ended"] == "stopped"


def test_one_flawless_probe_of_the_needed_size_decides() -> None:
    assert requests_needed(0.95) == 73 and requests_needed(0.99) == 381
