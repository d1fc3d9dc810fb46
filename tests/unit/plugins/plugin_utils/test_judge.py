# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary judge: what is a pair, what is bad, and which word follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge import compare
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_bets import acceptance_money, harm_money
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_decide import decide, money_worse
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_effects import median_interval, median_ratio
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_pairs import Round, limits_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_rounds import merge_rounds, without_rows

TIER = {"ttft_p95_max_seconds": 1.0, "latency_p95_max_seconds": 5.0}
SUMMARY = dict.fromkeys(("p50", "p90", "p95", "p99", "mean", "min", "max"), 0.05) | {"count": 150}


def report(
    ttft: float = 0.05, seed: int = 1, slow: int = 0, failed: int = 0, requests: int = 150, **changes: Any
) -> dict[str, Any]:
    """A report in which some requests, far apart, are slow or failed; TTFT of the others varies by a tenth."""
    rows: list[list[Any]] = []
    for index in range(requests):
        place = index * 67 % requests
        if place >= requests - failed:
            rows.append([index, "timeout", None, None, None, None])
            continue
        value = ttft * (1 + 0.001 * (index * 37 % 100)) + (0.5 if place >= requests - failed - slow else 0.0)
        rows.append([index, None, round(value, 6), 0.01, round(value + 0.15, 6), 16])
    good = requests - failed
    return {
        "schema": 1, "kind": "benchmark", "engine_version_tool": "builtin/1", "workload": {"hash": f"load {seed}"},
        "requests": {"issued": requests, "succeeded": good, "failed": failed, "timeouts": failed,
                     "errors": {"timeout": failed} if failed else {}},
        "duration_seconds": 10.0, "valid": True, "invalid_reasons": [], "requests_per_second": good / 10,
        "ttft_seconds": SUMMARY, "itl_seconds": SUMMARY, "tpot_seconds": SUMMARY, "e2el_seconds": SUMMARY,
        "output_tokens_per_second_per_request": SUMMARY, "samples": {"requests": rows}, **changes,
    }  # fmt: skip


OLD = [report(seed=seed) for seed in (1, 2, 3, 4)]


def judged(*new: dict[str, Any], old: list[dict[str, Any]] | None = None, **tolerances: Any) -> dict[str, Any]:
    return compare(list(new), OLD if old is None else old, TIER, Tolerances(**tolerances), 4)


def test_one_round_without_a_worse_pair_passes_and_says_with_which_certainty() -> None:
    found = judged(report())
    assert (found["decision"], found["pairs"], found["worse"], found["rounds"]) == ("pass", 150, 0, 1)
    assert found["rise"]["upper"] < 0.03
    assert found["sentence"] == (
        "With 95 % certainty at most 2.6 percentage points more requests are bad than before; 0 of 150 pairs are worse."
    )


def test_one_bad_round_alone_never_fails_and_a_second_one_does() -> None:
    once = judged(report(slow=140))
    assert once["decision"] == "inconclusive"
    assert once["more_pairs"] is None
    twice = judged(report(slow=140), report(seed=2, slow=140))
    assert twice["decision"] == "fail"
    assert twice["worse_by"] == {"ttft": 280}
    assert "280 of 300 pairs are worse, by time to first token" in twice["sentence"]
    assert twice["rise"]["lower"] > 0.3


def test_a_disturbed_round_is_outvoted_by_calm_ones() -> None:
    found = judged(report(slow=30), report(seed=2), report(seed=3), report(seed=4))
    assert found["decision"] != "fail"


def test_with_a_single_round_allowed_that_round_may_fail() -> None:
    assert compare([report(slow=140)], OLD[:1], TIER, Tolerances(), 1)["decision"] == "fail"


def test_a_few_worse_pairs_need_more_and_it_says_how_many() -> None:
    found = judged(report(slow=3))
    assert found["decision"] == "inconclusive"
    assert 50 <= found["more_pairs"] <= 400
    assert f"About {found['more_pairs']} more pairs would tell" in found["sentence"]
    assert judged(report(slow=3), report(seed=2), report(seed=3))["decision"] == "pass"


def test_errors_count_as_bad_without_any_latency() -> None:
    found = judged(report(failed=20), report(seed=2, failed=20))
    assert (found["decision"], found["worse_by"]) == ("fail", {"timeout": 40})


def test_what_was_bad_before_is_not_held_against_the_new_release() -> None:
    old = [report(seed=seed, slow=6) for seed in (1, 2, 3, 4)]
    found = judged(report(slow=6), old=old)
    assert (found["decision"], found["worse"]) == ("pass", 0)
    assert found["bad_share"]["baseline"] == found["bad_share"]["new"]


def test_a_release_that_is_slower_throughout_by_less_than_the_factor_is_good() -> None:
    assert judged(report(ttft=0.07), ttft_floor_seconds=0.0)["decision"] == "pass"
    slower = [report(ttft=0.1, seed=seed) for seed in (1, 2, 3, 4)]
    assert judged(*slower, ttft_floor_seconds=0.0)["decision"] == "fail"


def test_a_slowdown_below_the_floor_is_good_whatever_the_factor() -> None:
    assert judged(report(ttft=0.1))["decision"] == "pass"


def test_time_per_token_is_not_judged_where_answers_come_in_one_piece() -> None:
    def pieces(seed: int, tpot: float) -> dict[str, Any]:
        made = report(seed=seed)
        rows = [[*row[:3], tpot, *row[4:]] for row in made["samples"]["requests"]]
        return {**made, "samples": {"requests": rows}}

    whole, streamed = ([pieces(seed, tpot) for seed in (1, 2, 3, 4)] for tpot in (0.0, 0.02))
    assert judged(streamed[0], old=whole)["decision"] == "pass"
    assert judged(*streamed, old=OLD, tpot_floor_seconds=0.0)["worse_by"] == {"tpot": 300}


def test_a_release_whose_answers_come_in_one_piece_is_judged_all_the_same() -> None:
    whole = [report(seed=seed, ttft=2.0, valid=False, invalid_reasons=["one_piece: 96% of it"]) for seed in (1, 2)]
    assert judged(*whole)["decision"] == "fail"
    merged = merge_rounds(whole)
    assert merged is not None and merged["requests"]["issued"] == 300


def test_the_bounds_never_contradict_what_was_seen() -> None:
    found = judged(report(slow=140), report(seed=2, slow=9))
    assert found["rise"]["lower"] <= found["rise"]["estimate"] <= found["rise"]["upper"]


def test_leaving_the_tier_is_bad_even_where_the_baseline_allows_it() -> None:
    tier = {"ttft_p95_max_seconds": 0.04}
    found = compare([report(), report(seed=2)], [report(ttft=0.03), report(ttft=0.03, seed=2)], tier, Tolerances(), 4)
    assert found["decision"] == "fail"
    assert "its tier allows 0.04 s" in found["sentence"]


def test_one_disturbed_round_of_the_baseline_does_not_move_the_limits() -> None:
    calm, disturbed = (
        limits_of(reports, Tolerances(), {}).seconds["ttft"] for reports in (OLD, [*OLD[:3], report(ttft=3.0, seed=4)])
    )
    assert disturbed == pytest.approx(calm)


def test_a_disturbed_first_round_of_the_baseline_does_not_let_a_slow_release_pass() -> None:
    old = [report(ttft=3.0), *OLD[1:]]
    slow = [report(ttft=2.0, seed=seed) for seed in (1, 2, 3, 4)]
    words = [compare(slow[:count], old, {}, Tolerances(), 4)["decision"] for count in (1, 2, 3)]
    assert words == ["inconclusive", "inconclusive", "fail"]


def test_the_limits_are_the_same_at_every_look() -> None:
    looks = [judged(*[report(seed=seed) for seed in range(1, count + 1)]) for count in (1, 2, 3, 4)]
    assert len({str(look["limits_seconds"]) for look in looks}) == 1


def test_a_round_in_which_the_release_was_down_counts_against_it() -> None:
    down = report(seed=2, failed=150, valid=False, invalid_reasons=["all_failed: 150 x connection"])
    found = judged(report(slow=3), down, report(seed=3), report(seed=4))
    assert found["decision"] != "pass"
    assert found["worse_by"]["timeout"] == 150
    merged = merge_rounds([report(slow=3), down, report(seed=3)], with_failures=True)
    assert merged is not None
    assert (merged["requests"]["failed"], merged["valid"]) == (150, False)


def test_a_round_that_was_not_valid_does_not_spoil_the_others() -> None:
    foreign = report(seed=3, valid=False, invalid_reasons=["foreign_traffic: 7 requests"])
    merged = merge_rounds([report(), report(seed=2), foreign])
    assert merged is not None
    assert (merged["valid"], merged["invalid_reasons"], merged["requests"]["issued"]) == (True, [], 300)


@pytest.mark.parametrize(
    ("new", "old", "decision", "told"),
    [
        ([], OLD, "error", "there is none"),
        ([report()], [], "error", "there is none"),
        ([{"kind": "benchmark"}], OLD, "error", "cannot be read"),
        ([report(samples={})], OLD, "error", "nothing can be paired"),
        ([report(samples={"requests": [[1]]})], OLD, "error", "none of llm_benchmark"),
        ([report(ttft=float("nan"))], OLD, "error", "without a time to its first token"),
        ([report(samples={"requests": [[1, None, None, None, None, 1]]})], OLD, "error", "without a time to its first"),
        ([report(valid=False, invalid_reasons=["client_limited: x"])], OLD, "inconclusive", "client_limited: x"),
        ([report()], [report(valid=False)], "inconclusive", "old release is valid"),
        ([report(seed=9)], OLD, "inconclusive", "another load"),
        ([report(engine_version_tool="other/2")], OLD, "inconclusive", "another tool"),
        ([report(requests=50)], [report(requests=50)], "inconclusive", "a p95 needs 130"),
    ],
)
def test_no_data_is_never_a_pass(new: list[Any], old: list[Any], decision: str, told: str) -> None:
    found = compare(new, old, TIER, Tolerances(), 4)
    assert (found["decision"], found["pairs"], found["rise"]) == (decision, 0, None)
    assert told in found["sentence"]


def test_rounds_that_are_not_valid_are_left_out() -> None:
    found = judged(report(valid=False, slow=140), report(seed=2))
    assert (found["decision"], found["pairs"]) == ("pass", 150)


def test_statistics_have_the_same_keys_whether_anything_was_compared_or_not() -> None:
    assert set(judged(report())) == set(compare([], [], TIER, Tolerances(), 4))


def test_what_one_round_may_win_is_capped() -> None:
    terrible = Round(tuple((False, True) for _unused in range(150)))
    assert money_worse([terrible], 0.01, 4) ** 2 == pytest.approx(20)
    assert decide([terrible, terrible], Tolerances(), 4).word == "fail"


def test_money_is_never_more_than_what_is_enough_and_never_less_than_nothing() -> None:
    assert harm_money([1] * 50, 0.01, 20.0) == 20.0
    assert 0 < harm_money([-1] * 50, 0.01, 20.0) < 0.1
    assert acceptance_money(100_000, 0, 0.05) > 1e100
    assert 0 < acceptance_money(150, 150, 0.05) < 1


def test_median_interval_is_the_known_one() -> None:
    # Of 20 values, the 6th and the 15th: 95.9 % (tables of the sign test).
    assert median_interval(range(1, 21), 0.05) == (6, 10.5, 15)
    assert median_interval([1.0, 2.0], 0.05) is None
    assert median_interval(range(5000), 0.05) is not None


def test_median_ratio_holds_the_true_one() -> None:
    ratio = median_ratio([0.001 * n for n in range(1, 301)], [0.002 * n for n in range(1, 301)], 0.05)
    assert ratio is not None
    assert ratio["estimate"] == pytest.approx(2.0)
    assert ratio["lower"] < 2 < ratio["upper"] < 2.7
    assert median_ratio([], [1.0], 0.05) is None


def test_rounds_together_count_all_requests_and_make_percentiles_anew() -> None:
    merged = merge_rounds([report(failed=5), report(seed=2, slow=15), report(seed=3, valid=False)])
    assert merged is not None
    assert merged["requests"] == {
        "issued": 300, "succeeded": 295, "failed": 5, "timeouts": 5, "errors": {"timeout": 5}
    }  # fmt: skip
    assert merged["rounds"] == [150, 150]
    assert merged["ttft_seconds"]["count"] == 295
    assert merged["ttft_seconds"]["max"] > 0.5
    assert merged["requests_per_second"] == pytest.approx(14.75)
    assert [row[0] for row in merged["samples"]["requests"]] == list(range(300))
    assert "samples" not in (without_rows(merged) or {})


@pytest.mark.parametrize("reports", [[], [None], [report(), None], [report(), report(samples={})]])
def test_rounds_that_cannot_be_put_together_leave_the_last_one(reports: list[Any]) -> None:
    if reports:
        given = [item for item in reports if item is not None] or [{}]
        assert merge_rounds(given) == given[-1]
    else:
        assert merge_rounds(reports) is None
