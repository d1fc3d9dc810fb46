# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter capacity_plan: measured goodput and demand in, replicas, months and batch out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import is_number
from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity import (
    CapacityError,
    Demand,
    Supply,
    capacity_plan,
    goodput_of_reports,
    numbers,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._capacity_rates import RateError, rate_of, rates_of

DOCUMENTATION = r"""
name: capacity_plan
short_description: Replicas, months until the threshold and the largest safe batch, from measured goodput
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Goodput is the highest rate of requests that one replica answers within its SLO, measured.
  - Replicas are the peak rate after growth, divided by the goodput, with headroom, plus the larger of failures and
    batch.
  - Refuses a benchmark report that is not valid, or did not search for the highest rate within its SLO.
options:
  _input:
    description: Goodput in requests per second, a benchmark report, or a mapping of name to report, of which the
      smallest counts.
    type: raw
    required: true
  peak_requests_per_second:
    description: Highest rate of requests that the pool gets. A number, a benchmark report (the rate of its requests),
      or the whole answer of Prometheus to a query for one series, of which the highest value counts.
    type: raw
    required: true
  growth_percent_per_month:
    description: Growth of the peak.
    type: float
    default: 0
  weekly_peaks:
    description: Highest rate of each week, the oldest first. From four on the growth comes with an interval of 95 %.
      A list of numbers, or the whole answer of Prometheus to a range query for one series, one value per week.
    type: raw
  lead_months:
    description: Months that a new replica takes from the decision to the first request.
    type: float
    default: 0
  headroom_percent:
    description: Share that stays free at the peak.
    type: float
    default: 25
  failures:
    description: Replicas that may be broken at the peak.
    type: int
    default: 1
  rollout_batch:
    description: Replicas that a rollout takes at the same time.
    type: int
    default: 1
  replicas:
    description: Replicas that there are. Needed for utilisation, months, queues and the batch.
    type: int
  max_concurrency:
    description: Requests that one replica works on at the same time.
    type: int
  mean_seconds:
    description: Mean time of a whole answer, measured at the goodput.
    type: float
  queue_depth:
    description: Requests that wait at the gateway.
    type: float
  latency_p95_seconds:
    description: Time of an answer now, 95th percentile.
    type: float
  latency_p95_max_seconds:
    description: What the SLO allows.
    type: float
"""

EXAMPLES = r"""
# 10: seven for the peak, nine with a quarter of headroom, one to spare
replicas: "{{ (8 | local_llm.ops.capacity_plan(peak_requests_per_second=50)).replicas.needed }}"

# How many hosts may a rollout take now
batch: "{{ (report | local_llm.ops.capacity_plan(peak_requests_per_second=20, replicas=4)).rollout.largest_batch }}"

# The peak of the last week as Prometheus has it (uri: url http://prometheus:9090/api/v1/query?query=...)
replicas_of_last_week: "{{ (8 | local_llm.ops.capacity_plan(peak_requests_per_second=asked.json)).replicas.needed }}"
"""

RETURN = r"""
_value:
  description: The capacity plan, schema 1, as docs/reference_contracts.md has it.
  type: dict
"""

_DEMAND = tuple(field.name for field in fields(Demand))
_SUPPLY = tuple(field.name for field in fields(Supply) if not field.name.startswith("goodput"))


def plan_filter(goodput: Any, **options: Any) -> dict[str, Any]:
    """Return the capacity plan."""
    for name in options:
        if name not in (*_DEMAND, *_SUPPLY):
            near = nearest(name, (*_DEMAND, *_SUPPLY))
            raise AnsibleFilterError(f"capacity_plan: {name} is no option{f'; did you mean {near}?' if near else ''}")
    if "peak_requests_per_second" not in options:
        raise AnsibleFilterError(
            "capacity_plan: peak_requests_per_second is missing; give the highest rate of the pool"
        )
    given = {name: value for name, value in options.items() if value is not None}
    try:
        if is_number(goodput):
            value, source = float(goodput), "given"
        elif isinstance(goodput, Mapping):
            reports = {"report": goodput} if goodput.get("kind") == "benchmark" else goodput
            value, source = goodput_of_reports(reports)
        else:
            raise CapacityError(f"goodput: {goodput!r} is neither a number nor a benchmark report")
        given["peak_requests_per_second"] = rate_of(given.get("peak_requests_per_second"), "peak_requests_per_second")
        peaks = given.get("weekly_peaks")
        if peaks is not None:
            asked = rates_of(peaks, "weekly_peaks") if isinstance(peaks, Mapping) else peaks
            given["weekly_peaks"] = numbers(asked, "weekly_peaks")
        demand = Demand(**{name: given[name] for name in _DEMAND if name in given})
        supply = Supply(value, source, **{name: given[name] for name in _SUPPLY if name in given})
        return capacity_plan(demand, supply)
    except (CapacityError, RateError) as error:
        raise AnsibleFilterError(f"capacity_plan: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"capacity_plan": plan_filter}
