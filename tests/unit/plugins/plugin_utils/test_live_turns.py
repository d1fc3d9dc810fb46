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
RUN = {"active_state": "active", "restarts": 0, "invocation": "a1"}


def result(*rows: Row, retries: int = 0, state: str = "up") -> dict[str, Any]:
    """Return an answer of gateway_info: (server, share, requests, 5xx, errors). retries and state are of SERVER."""
    deltas = [
        {"pool": "chat", "server": name, "requests": requests, "http_5xx": failed, "errors": errors,
         "retries": retries if name == SERVER else 0}
        for name, _share, requests, failed, errors in rows
    ]  # fmt: skip
    servers = [
        {"server": row[0], "share_percent": row[1], "operational_state": state if row[0] == SERVER else "up"}
        for row in rows
    ]
    return {"servers": servers, "deltas": deltas}


def turn(
    requests: int, failed: int, errors: int = 0, others: Row = ("gpu2-chat", 100, 400, 0, 0), **more: Any
) -> list[Any]:
    return [result((SERVER, 10, requests, failed, errors), others, **more)]


def judged(*turns: list[Any], limit: float = 1.0, least: int = 10, most: int = 5, **more: Any) -> dict[str, Any]:
    return judge_turns(turns, SERVER, limit, least, most, **more)


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
    assert [reason["measure"] for reason in found["verdict"]["reasons"][1:]] == ["state at the gateways"]


def test_a_single_failure_is_watched_on_until_the_time_is_over_and_a_second_one_where_none_may_fail_ends_it() -> None:
    one = judged(turn(40, 1), limit=0.0)
    assert one["watch_on"] and one["verdict"]["verdict"] == "pass"
    assert not judged(*[turn(40, 1)], *[turn(40, 0)] * 4, limit=0.0)["watch_on"]
    two = judged(turn(40, 1), turn(40, 1), limit=0.0)
    assert two["verdict"]["verdict"] == "fail" and "The release must go back" in two["verdict"]["summary"]


@pytest.mark.parametrize(
    ("turns", "service", "verdict", "said"),
    [
        ([turn(20, 0, retries=1)], None, "pass", "too few to tell it from chance (tries sent again: 1)"),
        ([turn(20, 0, retries=3)], None, "fail", "3 of 20 failed"),
        ([turn(1, 0, 1, state="down")], None, "fail", "a gateway found it down at the end of a turn"),
        ([turn(1, 0, state="starting")], None, "fail", "a gateway found it starting"),
        # It came back, and the counters say nothing: still it was out.
        ([turn(1, 1, state="down"), turn(30, 0)], None, "fail", "found it down"),
        ([[*turn(20, 0), *turn(0, 0, state="down")]], None, "fail", "found it down"),
        ([turn(20, 0)], (RUN, RUN), "pass", "none failed"),
        ([turn(1, 1)], (RUN, {**RUN, "restarts": 1, "invocation": "b2"}), "fail", "restarts by the service manager: 1"),
        ([turn(20, 0)], (RUN, {**RUN, "invocation": "b2"}), "fail", "was started again"),
        ([turn(20, 0)], ({**RUN, "restarts": 2}, {**RUN, "restarts": 0, "invocation": "b2"}), "fail", "started again"),
        ([turn(0, 0)], (RUN, {**RUN, "active_state": "activating"}), "fail", "the service is activating"),
        ([turn(20, 0)], (RUN, {}), "fail", "the service is unknown"),
    ],
    ids=["a retry", "retries only", "down at the end", "not up yet", "down between", "down at a second gateway",
         "the same run", "restarted", "started anew", "its count began anew", "waits for its restart", "nothing known"],
)  # fmt: skip
def test_a_crash_is_no_pass_although_the_gateways_hid_it_from_the_clients(
    turns: list[Any], service: Any, verdict: str, said: str
) -> None:
    found = judged(*turns, service=service)
    assert found["verdict"]["verdict"] == verdict, found
    assert said in found["told"], found["told"]
    assert verdict == "pass" or (said in found["verdict"]["summary"] and not found["watch_on"])
    assert any(reason["status"] == verdict for reason in found["verdict"]["reasons"])


def test_what_the_others_might_explain_halts_for_a_person_once_the_time_is_over() -> None:
    others = ("gpu2-chat", 100, 400, 32, 0)
    early = judged(turn(40, 4, others=others), most=2)
    assert early["verdict"]["verdict"] == "pass" and early["watch_on"]
    late = judged(*[turn(40, 4, others=others)] * 2, most=2)
    assert late["verdict"]["verdict"] == "inconclusive" and not late["watch_on"]
    assert late["verdict"]["reasons"][0]["status"] == "inconclusive"
    assert "tell it from the others. The time for the watch is over, a person decides." in late["told"]
    assert late["verdict"]["summary"].startswith("Inconclusive: gpu1-chat: ")


def test_a_server_that_has_the_release_already_excuses_nobody() -> None:
    promoted = ("gpu2-chat", 100, 400, 40, 0)
    bad = turn(40, 4, others=promoted)
    assert judged(bad)["verdict"]["verdict"] == "pass", "the counts alone would excuse it"
    found = judged(bad, unchanged={"gpu3-chat"})
    assert found["verdict"]["verdict"] == "fail"
    assert (found["figures"]["others_requests"], found["figures"]["others_failed"]) == (0, 0)
    assert found["figures"]["pool_requests"] == 440, "they are clients of the pool all the same"
    assert judged(bad, unchanged={"gpu2-chat"})["verdict"]["verdict"] == "pass"


def test_a_gateway_that_did_not_answer_adds_nothing() -> None:
    assert judged([*turn(12, 0), {"unreachable": True}])["figures"]["requests"] == 12
