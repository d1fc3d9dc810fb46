# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""From benchmark reports to pairs: the same prompt, number by number, on the old release and on the new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import MIN_SAMPLES, percentile
from ansible_collections.local_llm.ops.plugins.module_utils._evidence import is_number
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import Tolerances, counts, usable

# measure -> (column of a row, floor of the tolerances, limit of the tier for one request)
COLUMNS: dict[str, tuple[int, str, str | None]] = {
    "ttft": (2, "ttft_floor_seconds", "ttft_p95_max_seconds"),
    "tpot": (3, "tpot_floor_seconds", None),
    "e2el": (4, "e2el_floor_seconds", "latency_p95_max_seconds"),
}
# Where more of the answers came in one piece than this, the time per token is not measured and is not judged: the time
# of the whole answer speaks for it.
ONE_PIECE_MAX = 0.2
# Errors that say nothing about the server.
_CLIENT_ERRORS = ("interrupted",)

# A round of the old release in which so many more requests were bad than in most of its rounds was disturbed. Nothing
# can get worse in it, so it would acquit any release; what was measured against it proves nothing.
DISTURBED = 0.1

Row = Sequence[Any]


class PairError(ValueError):
    """The reports cannot be paired; the message says why and what to do."""


@dataclass(frozen=True)
class Limits:
    """Above which time one request is bad, and where the number comes from, by measure."""

    seconds: dict[str, float]
    told: dict[str, str]


@dataclass(frozen=True)
class Round:
    """The pairs of one round in the order of their prompts: (old one bad, new one bad)."""

    pairs: tuple[tuple[bool, bool], ...]
    why: Counter[str] = field(default_factory=Counter)
    # What one pair counts by all that is known after this round: as a proof of harm, and of none. See _judge_groups.py.
    weights: tuple[float, float] = (1.0, 1.0)

    @property
    def differences(self) -> list[int]:
        """Return +1 where only the new one is bad, -1 where only the old one is, else 0."""
        return [int(new) - int(old) for old, new in self.pairs]

    @property
    def size(self) -> int:
        """Return how many pairs it has."""
        return len(self.pairs)

    @property
    def worse(self) -> int:
        """Return how many pairs got worse."""
        return sum(new and not old for old, new in self.pairs)

    @property
    def better(self) -> int:
        """Return how many pairs got better."""
        return sum(old and not new for old, new in self.pairs)


def rows_of(report: Mapping[str, Any]) -> dict[int, Row]:
    """Return the rows of a report by the number of their request. Raises PairError when there are none."""
    samples = report.get("samples")
    rows = samples.get("requests") if isinstance(samples, Mapping) else None
    if not isinstance(rows, list) or not rows:
        raise PairError(
            "the report has no single requests (samples.requests), so nothing can be paired; measure again with the "
            "llm_benchmark of this version"
        )
    found: dict[int, Row] = {}
    for row in rows:
        if not isinstance(row, (list, tuple)) or len(row) < 6 or not isinstance(row[0], int):
            raise PairError(f"samples.requests has a row that is none of llm_benchmark: {str(row)[:80]}")
        if row[1] is None and not is_number(row[2]):
            raise PairError(f"samples.requests has an answer without a time to its first token: {str(row)[:80]}")
        if row[1] not in _CLIENT_ERRORS:
            found[row[0]] = row
    return found


def load_of(report: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return what must be equal in two reports that are paired: the load, its prompts and the tool."""
    workload = report["workload"]
    return (workload["hash"], workload.get("seed"), report.get("engine_version_tool"))


def partners(
    new: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return (report of the old release, report of the new one) of each round that both have, in the new one's order.

    Reports that are not valid have no partner, but for rounds in which the new release itself failed.
    """
    left = [report for report in old if usable(report)]
    found = []
    for report in new:
        if not counts(report):
            continue
        partner = next((other for other in left if load_of(other) == load_of(report)), None)
        if partner is not None:
            left = [other for other in left if other is not partner]
            found.append((partner, report))
    return found


def same_load(old: Sequence[Mapping[str, Any]], like: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the reports of the old release under the load of one of them, whichever prompts it drew."""

    def load(report: Mapping[str, Any]) -> tuple[Any, Any]:
        workload = {key: value for key, value in report["workload"].items() if key not in ("hash", "seed")}
        return workload, report.get("engine_version_tool")

    return [report for report in old if usable(report) and load(report) == load(like)]


def limits_of(baselines: Sequence[Mapping[str, Any]], tolerances: Tolerances, tier: Mapping[str, Any]) -> Limits:
    """Return the limits of one request, from the baseline's own p95 and from the tier.

    The p95 is the median of the rounds' own, so that one disturbed round does not make the judge blind. Rounds that are
    too short for a p95 are put together. Raises PairError when all of them together are too short.
    """
    seconds: dict[str, float] = {}
    told: dict[str, str] = {}
    for measure, (column, floor_name, tier_key) in COLUMNS.items():
        rounds = [
            sorted(row[column] for row in rows_of(report).values() if row[1] is None and is_number(row[column]))
            for report in baselines
        ]
        if measure == "tpot" and _in_one_piece(rounds):
            continue
        value = _p95(rounds, measure)
        candidates = []
        if value is not None:
            limit = max(value * tolerances.ratio_max, value + getattr(tolerances, floor_name))
            candidates.append((limit, f"the old release's p95 of {value:.4g} s allows {limit:.4g} s"))
        agreed = tier.get(tier_key) if tier_key else None
        if is_number(agreed):
            candidates.append((float(agreed or 0), f"its tier allows {agreed:g} s"))
        if candidates:
            seconds[measure], told[measure] = min(candidates)
    return Limits(seconds, told)


def _in_one_piece(rounds: Sequence[Sequence[float]]) -> bool:
    values = [value for one in rounds for value in one]
    return sum(value <= 0 for value in values) > ONE_PIECE_MAX * len(values)


def _p95(rounds: Sequence[Sequence[float]], measure: str) -> float | None:
    total = sum(map(len, rounds))
    if not total and measure != "ttft":
        return None  # answers of one token have no time between tokens
    if total < MIN_SAMPLES["p95"]:
        raise PairError(
            f"the baseline has {total} answers with a {measure}, and a p95 needs {MIN_SAMPLES['p95']}; raise "
            "local_llm_benchmark.requests, or mend the old release"
        )
    if all(len(values) >= MIN_SAMPLES["p95"] for values in rounds):
        return median(percentile(values, 0.95) for values in rounds)
    return percentile(sorted(value for values in rounds for value in values), 0.95)


def badness(row: Row, limits: Limits) -> str | None:
    """Return why a request is bad: its error, or the measure that is over its limit; None when it is good."""
    if row[1] is not None:
        return str(row[1])
    for measure, limit in limits.seconds.items():
        value = row[COLUMNS[measure][0]]
        if is_number(value) and value > limit:
            return measure
    return None


def calm_rounds(baselines: Sequence[Mapping[str, Any]], limits: Limits) -> list[Mapping[str, Any]]:
    """Return the rounds of the old release that were not disturbed. The new release has no part in the choice."""
    shares = [
        sum(badness(row, limits) is not None for row in rows.values()) / max(1, len(rows))
        for rows in map(rows_of, baselines)
    ]
    most = median(shares) + DISTURBED
    return [report for report, share in zip(baselines, shares, strict=True) if share <= most]


def pair_round(old: Mapping[str, Any], new: Mapping[str, Any], limits: Limits) -> Round:
    """Return the pairs of two reports of the same load."""
    before, after = rows_of(old), rows_of(new)
    pairs = []
    why: Counter[str] = Counter()
    for index in sorted(before.keys() & after.keys()):
        reason = badness(after[index], limits)
        was_bad = badness(before[index], limits) is not None
        pairs.append((was_bad, reason is not None))
        if reason is not None and not was_bad:
            why[reason] += 1
    if not pairs:
        raise PairError("the two reports share no request number; measure both with the same load")
    return Round(tuple(pairs), why)
