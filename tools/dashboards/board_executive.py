# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For those who pay and those who promised: objectives, work, GPU hours, energy and what is left."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards.limits import alert, burn_alerts
from ansible_collections.local_llm.ops.tools.dashboards.model import Board, Panel, Query, Row, Variable
from ansible_collections.local_llm.ops.tools.dashboards.parts import (
    BACKENDS,
    POOL,
    RANGE,
    alert_marker,
    by_pool,
    number,
    one,
    or_zero,
    rollout_markers,
    tier_limit,
)

UID = "local-llm-executive"
PRICE = Variable(
    "price_per_kwh",
    "Price of a kWh",
    default="0.30",
    description="In your currency, with a point. Costs on this page are in the same currency.",
)
POOLS = 'pool=~"$pool"'
BUSY = (
    f"sum by (pool) (local_llm:requests_running{{{POOLS}}})"
    f" / sum by (pool) (local_llm:instance_requests_max{{{POOLS}}})"
)
JOULES_PER_KWH = "3.6e6"
ENERGY = f"sum(increase(local_llm_gpu_energy_joules_total[$__range])) / {JOULES_PER_KWH}"
# Rates are kept for 5 minutes each: added up and multiplied by 300 s they are a count again.
TOKENS = "sum(sum_over_time(sum by (pool) (local_llm:generated_tokens:rate5m{WHERE})[$__range:5m])) * 300"
ALL_TOKENS = TOKENS.replace("{WHERE}", "")
USED_HOURS = "sum(sum_over_time(local_llm_gpu_utilization_ratio[$__range:5m])) / 12"
ALL_HOURS = "sum(count_over_time(local_llm_gpu_utilization_ratio[$__range:5m])) / 12"


def board() -> Board:
    """Return the dashboard."""
    return Board(
        UID,
        "Local LLM: service, cost and capacity",
        "What was promised and what was kept, how much work was done, what it cost in GPU hours and energy, and how "
        "much room is "
        "left. Figures without a date are for the time chosen at the top. Energy is that of the GPUs, not of the "
        "whole hosts.",
        (POOL, PRICE),
        (*rollout_markers(), alert_marker(False)),
        (
            Row("What was promised", _promise()),
            Row("How fast", _speed()),
            Row("Work", _work()),
            Row("GPU hours", _gpus()),
            Row("Energy", _energy()),
            Row("Room that is left", _capacity()),
        ),
        since="now-7d",
        refresh="5m",
    )


def _promise() -> tuple[Panel, ...]:
    return (
        number(
            "Availability, 30 days",
            "Share of the requests of 30 days that were not answered with an error. The promise stands beside it.",
            "Below the promise: hold back changes that are not a mend until the budget is back.",
            "percentunit",
            one(f'1 - local_llm:slo_error:ratio_30d{{slo="availability",{POOLS}}}', "{{pool}}"),
            decimals=3,
        ),
        number(
            "Availability that was promised",
            "The objective of each pool's tier.",
            "Nothing. To promise something else, give the pool another tier.",
            "percentunit",
            one(f'local_llm:slo_objective:ratio{{slo="availability",{POOLS}}}', "{{pool}}"),
            decimals=3,
        ),
        number(
            "Error budget left",
            "Of the failures that the availability objective allows in 30 days, this share is left. Below 0 the "
            "promise is broken.",
            "At 0: only mends until it is back. Find what used it: the line below shows when it fell.",
            "percentunit",
            one(f'local_llm:slo_budget_remaining:ratio{{slo="availability",{POOLS}}}', "{{pool}}"),
            alerts=(alert("LocalLlmErrorBudgetSpent"),),
            decimals=1,
        ),
        number(
            "How fast the budget burns",
            "Over 6 hours, in multiples of the rate that the objective allows. 1 uses up exactly the budget in 30 "
            "days.",
            "Red: somebody is already woken. Orange: find the cause in working hours, before the next rollout.",
            "suffix:x",
            one(
                f'local_llm:slo_error:ratio_6h{{slo="availability",{POOLS}}}'
                f' / (1 - local_llm:slo_objective:ratio{{slo="availability",{POOLS}}})',
                "{{pool}}",
            ),
            alerts=burn_alerts(),
            decimals=2,
        ),
        Panel(
            "Error budgets",
            "What is left of each budget over time: availability, errors of engines, first token in time, answers in "
            "time.",
            "A step down is an incident: look at the fleet at that time. A slope is a fault that nobody mends.",
            "percentunit",
            one(f"local_llm:slo_budget_remaining:ratio{{{POOLS}}}", "{{pool}} {{slo}} {{engine}}"),
            alerts=(alert("LocalLlmErrorBudgetSpent"),),
            width=12,
        ),
        Panel(
            "Availability by day",
            "Over the 24 hours before each point, with the promise.",
            "A day far below the others had an incident: look for its report.",
            "percentunit",
            (
                Query(f'1 - local_llm:slo_error:ratio_1d{{slo="availability",{POOLS}}}', "{{pool}}"),
                Query(f'local_llm:slo_objective:ratio{{slo="availability",{POOLS}}}', "{{pool}} promised"),
            ),
            width=12,
            decimals=3,
        ),
    )


def _speed() -> tuple[Panel, ...]:
    return (
        Panel(
            "First tokens and answers in time",
            "Share of the requests of 24 hours whose first token (ttft) or whole answer (latency) came in time, with "
            "the promise.",
            "Below the promise: the pool is too small or too slow. Compare with the room that is left.",
            "percentunit",
            (
                Query(f'1 - local_llm:slo_error:ratio_1d{{slo=~"ttft|latency",{POOLS}}}', "{{pool}} {{slo}}"),
                Query(f'local_llm:slo_objective:ratio{{slo=~"ttft|latency",{POOLS}}}', "{{pool}} {{slo}} promised"),
            ),
        ),
        Panel(
            "Time to first token",
            "All but 5 % of the requests have their first token within this time, and half of them within the lower "
            "line. vLLM only.",
            "Compare with the line of the limit, which is that of the pool's tier for p95. It grows when prompts grow "
            "or the pool gets full.",
            "s",
            (
                *(
                    Query(
                        f"histogram_quantile({part:g}, sum by (pool, le) (rate(vllm:time_to_first_token_seconds_bucket"
                        f'{{job="local_llm_engine",{POOLS}}}{RANGE})))',
                        f"{{{{pool}}}} {name}",
                    )
                    for part, name in ((0.95, "p95"), (0.5, "p50"))
                ),
                tier_limit("ttft_p95_max_seconds"),
            ),
            alerts=(alert("LocalLlmTtftMedianHigh"),),
        ),
        Panel(
            "Time of answers at the gateway",
            "Average over the last 1024 answers, for every engine: until the answer begins, and until it is complete.",
            "Compare with the limits of the pool's tier. Longer answers take longer; that is not a fault.",
            "s",
            (
                Query(
                    by_pool(f"haproxy_backend_response_time_average_seconds{{{BACKENDS}}}", "max"), "{{pool}} begins"
                ),
                Query(by_pool(f"haproxy_backend_total_time_average_seconds{{{BACKENDS}}}", "max"), "{{pool}} complete"),
            ),
            alerts=(alert("LocalLlmAnswersSlow"),),
        ),
    )


def _work() -> tuple[Panel, ...]:
    requests, answers = "haproxy_backend_http_requests_total", "haproxy_backend_http_responses_total"
    return (
        number(
            "Tokens written",
            "In the time chosen at the top. Ollama does not count its tokens.",
            "Nothing; for reports.",
            "short",
            one(TOKENS.replace("{WHERE}", f"{{{POOLS}}}")),
            width=6,
        ),
        Panel(
            "Tokens by day",
            "Tokens written in the 24 hours before each bar's time. The first day has only the part that was measured.",
            "When it grows for weeks, ask the playbook capacity when the room ends.",
            "short",
            one(
                f"sum_over_time(sum by (pool) (local_llm:generated_tokens:rate5m{{{POOLS}}})[1d:5m]) * 300",
                "{{pool}}",
            ),
            kind="bars",
            width=9,
        ),
        Panel(
            "Requests by day",
            "Requests in the 24 hours before each bar's time, failed ones too.",
            "Half as many as the day before, and no holiday: ask the clients.",
            "short",
            (
                Query(by_pool(f"increase({requests}{{{BACKENDS}}}[1d])"), "{{pool}}"),
                Query(by_pool(f'increase({answers}{{{BACKENDS},code="5xx"}}[1d])'), "{{pool}} failed"),
            ),
            kind="bars",
            width=9,
        ),
    )


def _gpus() -> tuple[Panel, ...]:
    return (
        number(
            "GPU hours used",
            "Hours in which GPUs worked, added up over all GPUs, in the time chosen at the top.",
            "Nothing; for reports.",
            "h",
            one(USED_HOURS),
            decimals=1,
        ),
        number(
            "GPU hours idle",
            "Hours in which GPUs were there and did not work. Some idleness is the room for the busiest hour.",
            "Much of it, also in the busiest hour: ask the playbook capacity whether the pools need this many "
            "instances.",
            "h",
            one(f"{ALL_HOURS} - {USED_HOURS}"),
            decimals=1,
        ),
        number(
            "GPUs that were idle for an hour",
            "GPUs that worked less than the limit of the alert in the last hour.",
            "At night this is expected. By day: use them, or switch an instance off.",
            "none",
            one(
                or_zero(
                    f"count(avg_over_time(local_llm_gpu_utilization_ratio[1h]) < {_limit('LocalLlmGpuIdle'):g})",
                )
            ),
            alerts=(alert("LocalLlmGpuIdle").counted(),),
        ),
        number(
            "Tokens for a GPU hour",
            "Tokens of the whole fleet for each hour in which a GPU was there, used or idle. The figure to compare "
            "engines and "
            "models by.",
            "When it falls over weeks: more idle hours, or slower answers. The rollouts in the graphs show since when.",
            "short",
            one(f"({ALL_TOKENS}) / ({ALL_HOURS} > 0)"),
            decimals=0,
        ),
        Panel(
            "GPU hours by day",
            "Used and idle in the 24 hours before each bar's time.",
            "Growing used hours with little idle left: order before the room ends.",
            "h",
            (
                Query("sum(sum_over_time(local_llm_gpu_utilization_ratio[1d:5m])) / 12", "used"),
                Query("sum(sum_over_time((1 - local_llm_gpu_utilization_ratio)[1d:5m])) / 12", "idle"),
            ),
            kind="bars",
            width=24,
        ),
    )


def _energy() -> tuple[Panel, ...]:
    return (
        number(
            "Energy of the GPUs",
            "In the time chosen at the top, as the GPUs count it themselves. Hosts and cooling come on top.",
            "Nothing; for reports.",
            "kwatth",
            one(ENERGY),
            decimals=2,
        ),
        number(
            "Cost of the energy",
            "Energy of the GPUs, times the price of a kWh at the top of the page, in the currency of that price.",
            "Put your price in at the top; with your cooling's factor in it, if you know that.",
            "short",
            one(f"{ENERGY} * $price_per_kwh"),
            decimals=2,
        ),
        number(
            "Cost of a million tokens",
            "Cost of the GPUs' energy for a million tokens written. Idle hours are paid by those who ask.",
            "When it grows: fewer tokens for the same hours. Compare with tokens for a GPU hour.",
            "short",
            one(f"1e6 * {ENERGY} * $price_per_kwh / ({ALL_TOKENS} > 0)"),
            decimals=3,
        ),
        number(
            "Tokens for a kWh",
            "Tokens written for each kWh of the GPUs.",
            "The figure to compare GPUs by, at the same model and load.",
            "short",
            one(f"({ALL_TOKENS}) / ({ENERGY} > 0)"),
            decimals=0,
        ),
        Panel(
            "Energy by day",
            "Energy of the GPUs of each host in the 24 hours before each bar's time.",
            "A host that needs much more than its like: heat, or a power limit that was lost.",
            "kwatth",
            one(f"sum by (host) (increase(local_llm_gpu_energy_joules_total[1d])) / {JOULES_PER_KWH}", "{{host}}"),
            kind="bars",
            width=24,
        ),
    )


def _capacity() -> tuple[Panel, ...]:
    near = alert("LocalLlmCapacityNearLimit").complement()
    return (
        number(
            "Room left now",
            "Share of the requests that each pool could take at the same time and does not.",
            "Below the limit for an hour there is an alert. Order or move an instance before it.",
            "percentunit",
            one(f"1 - {BUSY}", "{{pool}}"),
            alerts=(near,),
            width=6,
        ),
        number(
            "Room left in busy times",
            "Room that was there for 95 % of the time chosen at the top. The busiest hour counts, not the average.",
            "Below the limit: the next growth or the next host that fails makes the pool too small.",
            "percentunit",
            one(f"1 - quantile_over_time(0.95, ({BUSY})[$__range:5m])", "{{pool}}"),
            alerts=(near,),
            width=6,
        ),
        Panel(
            "Room left over time",
            "As the first figure of this row, over time.",
            "Read the trend over weeks. The playbook capacity computes when it ends.",
            "percentunit",
            one(f"1 - {BUSY}", "{{pool}}"),
            alerts=(near,),
            width=12,
            top=1,
        ),
    )


def _limit(name: str) -> float:
    limit = alert(name).limit
    if limit is None:
        raise ValueError(f"alert {name} has no fixed limit; show another panel")
    return limit.value
