# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch at the gateways: what is added up, when it goes on, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._live_turns import judge_turns

SERVER = "gpu1-chat"
Row = tuple[str, int, int, int, int]


def result(*rows: Row) -> dict[str, Any]:
    """Return an answer of gateway_info: (server, share, requests, 5xx, errors)."""
    deltas = [
        {"pool": "chat", "server": name, "requests": requests, "http_5xx": failed, "errors": errors, "retries": 0}
        for name, _share, requests, failed, errors in rows
    ]
    return {"servers": [{"server": row[0], "share_percent": row[1]} for row in rows], "deltas": deltas}


def turn(requests: int, failed: int, errors: int = 0, others: Row = ("gpu2-chat", 100, 400, 0, 0)) -> list[Any]:
    return [result((SERVER, 10, requests, failed, errors), others)]


def judged(*turns: list[Any], limit: float = 1.0, least: int = 10, most: int = 5) -> dict[str, Any]:
    return judge_turns(turns, SERVER, limit, least, most)


def test_turns_gateways_and_kinds_of_failure_are_added_up() -> None:
    two = [*turn(20, 1), *turn(22, 0, 2)]
    figures = judged(two, turn(30, 0))["figures"]
    assert (figures["requests"], figures["failed"], figures["look"]) == (72, 3, 2)
    assert (figures["others_requests"], figures["others_failed"], figures["pool_requests"]) == (1200, 0, 1272)


def test_servers_at_a_small_share_are_no_measure_for_others() -> None:
    also_new = ("gpu3-chat", 10, 40, 9, 0)
    figures = judged(turn(40, 2, others=also_new))["figures"]
    assert (figures["others_requests"], figures["others_failed"], figures["pool_requests"]) == (0, 0, 80)


@pytest.mark.parametrize(
    ("turns", "verdict", "goes_on", "said"),
    [
        ([turn(40, 0)], "pass", False, "40 live requests were seen; none failed."),
        ([turn(3, 0)], "pass", True, "Few live requests were seen: 3 of the 10 that are wanted; none failed; watching"),
        ([turn(40, 1)], "pass", True, "too few to tell it from chance; watching on."),
        ([turn(40, 1), turn(90, 0)], "pass", False, "130 live requests were seen; 1 of 130 failed, 1 % is allowed."),
        ([turn(1, 1)] + [turn(0, 0)] * 4, "pass", False, "tell it from chance; the time for the watch is over"),
        ([turn(3, 0)] * 3 + [turn(0, 0)] * 2, "pass", False, "9 of the 10 that are wanted"),
        ([turn(40, 9)], "fail", False, "9 of 40 failed, 1 % is allowed; by chance"),
        ([turn(0, 0, others=("gpu2-chat", 100, 0, 0, 0))], "pass", False, "The pool has no traffic"),
        ([turn(40, 4, others=("gpu2-chat", 100, 400, 40, 0))], "pass", False, "no worse than the others"),
        ([turn(40, 4, others=("gpu2-chat", 100, 400, 32, 0))], "pass", True, "tell it from the others; watching on"),
    ],
)  # fmt: skip
def test_what_follows(turns: list[Any], verdict: str, goes_on: bool, said: str) -> None:
    found = judged(*turns)
    assert found["verdict"]["verdict"] == verdict, found
    assert found["watch_on"] is goes_on
    assert said in found["told"], found["told"]
    assert found["verdict"]["reasons"][0]["status"] == verdict


def test_a_single_failure_is_watched_on_until_the_time_is_over_and_a_second_one_where_none_may_fail_ends_it() -> None:
    one = judged(turn(40, 1), limit=0.0)
    assert one["watch_on"] and one["verdict"]["verdict"] == "pass"
    assert not judged(*[turn(40, 1)], *[turn(40, 0)] * 4, limit=0.0)["watch_on"]
    two = judged(turn(40, 1), turn(40, 1), limit=0.0)
    assert two["verdict"]["verdict"] == "fail" and "The release must go back" in two["verdict"]["summary"]


def test_a_gateway_that_did_not_answer_adds_nothing() -> None:
    assert judged([*turn(12, 0), {"unreachable": True}])["figures"]["requests"] == 12
