# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout while it runs and afterwards: what moved where, and whether the new release is as good as the old one."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards.board_engine import STATES, states
from ansible_collections.local_llm.ops.tools.dashboards.limits import alert, burn_alerts
from ansible_collections.local_llm.ops.tools.dashboards.model import BLUE, GREEN, RED, Board, Limit, Panel, Query, Row
from ansible_collections.local_llm.ops.tools.dashboards.parts import (
    BACKENDS,
    ENDED,
    ENGINE,
    ENGINE_JOB,
    POOL,
    POOL_HOST,
    RANGE,
    RUNNING_ROLLOUTS,
    SERVER,
    STARTED,
    alert_marker,
    backend_rate,
    histogram,
    number,
    one,
    rollout_markers,
    server_rate,
    share,
)

UID = "local-llm-rollout"
# A host remembers its last rollout only; Prometheus remembers the others.
STARTED_LATELY, ENDED_LATELY = f"max_over_time({STARTED}[$__range])", f"max_over_time({ENDED}[$__range])"
CANARIES = 'job="local_llm_gateway",proxy=~"canary_($pool)",server=~"$server",server!~"fallback[.].*"'


def board() -> Board:
    """Return the dashboard."""
    return Board(
        UID,
        "Local LLM: rollouts",
        "Vertical lines show where rollouts began (blue) and ended (purple). Lines by release show old and new side "
        "by side. "
        "The report of a rollout has the verdict; this shows what clients and engines saw meanwhile.",
        (POOL, POOL_HOST, SERVER),
        (*rollout_markers(), alert_marker(True)),
        (Row("Rollouts", _rollouts()), Row("What clients see", _clients()), Row("Old and new release", _releases())),
        since="now-3h",
        refresh="30s",
    )


def _rollouts() -> tuple[Panel, ...]:
    return (
        number(
            "Rollouts that run now",
            "Rollouts that have begun and not ended.",
            "Leave it alone while it works. One that hangs for hours has lost its controller: run upgrade again, it "
            "resumes.",
            "none",
            one(RUNNING_ROLLOUTS),
            limits=(Limit(1, True, BLUE),),
            width=4,
            height=4,
        ),
        number(
            "Last one began",
            "When the newest rollout of these pools began.",
            "Trouble that began just then: think of the rollout first, and of going back.",
            "dateTimeFromNow",
            one(f"max({STARTED}) * 1000"),
            width=4,
            height=4,
        ),
        Panel(
            "Rollouts",
            "Rollouts that were known in the time chosen at the top, with their outcomes. No outcome: it runs, or it "
            "was "
            "broken off.",
            "halted and rollback_failed need a person: read the rollout's report and docs/runbook_upgrade.md.",
            "none",
            (
                Query(f"max by (rollout_id, pool, playbook) ({STARTED_LATELY}) * 1000"),
                Query(f"max by (rollout_id, outcome) ({ENDED_LATELY}) * 1000 and on (rollout_id) {STARTED_LATELY}"),
            ),
            kind="table",
            width=16,
            height=8,
            join="rollout_id",
            hidden_columns=("Time", "Time 1", "Time 2"),
            column_names={"Value #A": "began", "Value #B": "ended"},
            column_units={"began": "dateTimeAsIso", "ended": "dateTimeAsIso"},
        ),
        Panel(
            "Instances of each release",
            "How many instances answer with which release. At the end of a rollout one line is left.",
            "Two releases with no rollout under way: one was halted. Run upgrade again, or rollback.",
            "short",
            one(f"count by (pool, release) (local_llm:instance_up{{{ENGINE}}} == 1)", "{{pool}} {{release}}"),
            width=8,
            decimals=0,
            stacked=True,
        ),
        Panel(
            "Releases and restarts",
            "Which instance answered with which release, and when it was down.",
            "Down much longer than its cold start: the release does not become ready. It goes back by itself at its "
            "deadline.",
            "none",
            one(f"max by (server, release) (local_llm:instance_up{{{ENGINE}}})", "{{server}} {{release}}"),
            kind="timeline",
            alerts=(alert("LocalLlmInstanceDown"),),
            words={0: ("down", RED), 1: ("up", GREEN)},
            width=16,
        ),
        Panel(
            "Full members at the gateway",
            "State of each server in its pool. A canary is drained here while it has a small share.",
            "Drained after the rollout has ended: gateway_info tells who holds it.",
            "none",
            one(states("pool_($pool)"), "{{server}} at {{host}}"),
            kind="timeline",
            words=STATES,
            width=12,
        ),
        Panel(
            "Share of canaries at the gateway",
            "How much of the pool's requests each server gets as a canary, at each gateway. 0 for all others.",
            "Above 0 with no rollout under way: the share was not taken back; gateway_info tells.",
            "percent",
            one(
                f"max by (host, server) (haproxy_server_weight{{{CANARIES}}})"
                f' * max by (host, server) (haproxy_server_status{{{CANARIES},state="UP"}})',
                "{{server}} at {{host}}",
            ),
            width=12,
        ),
    )


def _clients() -> tuple[Panel, ...]:
    answers = "haproxy_backend_http_responses_total"
    return (
        Panel(
            "Requests to pool and canary",
            "How the gateway divides the requests. The canary's part should be the share that the rollout set.",
            "A canary that gets nothing cannot be judged: the rollout ends as inconclusive. Send it load, or wait.",
            "reqps",
            one(f"sum by (proxy) (rate(haproxy_backend_http_requests_total{{{BACKENDS}}}{RANGE}))", "{{proxy}}"),
            stacked=True,
        ),
        Panel(
            "Errors that clients see",
            "Share of the requests answered with 5xx. A rollout must not raise it at all.",
            "When it rises with a rollout: stop the rollout and run rollback.",
            "percentunit",
            one(share(backend_rate(answers, ',code="5xx"'), backend_rate(answers, ',code!="4xx"')), "{{pool}}"),
            alerts=(alert("LocalLlmErrorsHigh"),),
        ),
        Panel(
            "Errors by server",
            "Share of each server's answers that were 5xx. Only the new ones: the release is at fault.",
            "Drain the server. The rollout's own watch should have stopped it; when it did not, tell who keeps the "
            "limits.",
            "percentunit",
            one(
                share(
                    server_rate("haproxy_server_http_responses_total", ',code="5xx"'),
                    server_rate("haproxy_server_http_responses_total", ',code!="4xx"'),
                ),
                "{{to}}",
            ),
            alerts=(alert("LocalLlmEngineErrors"),),
        ),
        Panel(
            "How fast budgets burn",
            "Over 6 hours, in multiples of the rate that the objective allows. Above 1 the budget does not last its "
            "30 days.",
            "Above the upper line no rollout should go on: find what burns it. The alerts are the same for other "
            "objectives.",
            "suffix:x",
            one(
                'local_llm:slo_error:ratio_6h{pool=~"$pool"} / (1 - local_llm:slo_objective:ratio{pool=~"$pool"})',
                "{{pool}} {{slo}} {{engine}}",
            ),
            alerts=burn_alerts(),
            width=12,
        ),
        Panel(
            "Bad requests in 5 minutes",
            "Share of the requests that missed an objective in the last minutes.",
            "A step at the line of a rollout is the rollout. Compare with the same hour of yesterday before you "
            "blame it.",
            "percentunit",
            one('local_llm:slo_error:ratio_5m{pool=~"$pool"}', "{{pool}} {{slo}} {{engine}}"),
            width=12,
        ),
    )


def _releases() -> tuple[Panel, ...]:
    by = "{{pool}} {{release}}"
    return (
        Panel(
            "Tokens for one request, by release",
            "Tokens a second that one request gets. The new release should not be below the old one.",
            "Lower under the same load: let the rollout's verdict decide; do not push it through by hand.",
            "suffix: tok/s",
            one(
                share(
                    f"sum by (pool, release) (local_llm:generation_tokens_timed:rate5m{{{ENGINE}}})",
                    f"sum by (pool, release) (local_llm:generation_seconds:rate5m{{{ENGINE}}})",
                ),
                by,
            ),
            alerts=(alert("LocalLlmTokensSlow"),),
        ),
        Panel(
            "vLLM: time to first token, by release",
            "All but 5 % of the requests have their first token within this time.",
            "Higher with the new release at the same load: the release, or its empty cache in the first minutes.",
            "s",
            one(histogram("vllm:time_to_first_token_seconds", 0.95, "pool, release"), by),
        ),
        Panel(
            "vLLM: errors by release",
            "Share of the requests that the engine says it failed, also in the middle of an answer.",
            "Any that only the new release has: go back.",
            "percentunit",
            one(
                share(
                    "sum by (pool, release) (rate(vllm:request_success_total"
                    f'{{{ENGINE_JOB},finished_reason="error"}}{RANGE}))',
                    f"sum by (pool, release) (rate(vllm:request_success_total{{{ENGINE_JOB}}}{RANGE}))",
                ),
                by,
            ),
        ),
        Panel(
            "Requests that wait, by release",
            "Requests in the queues of the engines.",
            "Longer with the new release: it computes fewer at the same time; compare the two configurations.",
            "short",
            one(f"sum by (pool, release) (local_llm:requests_waiting{{{ENGINE}}})", by),
            alerts=(alert("LocalLlmEngineQueue").only_named(),),
            width=12,
        ),
        Panel(
            "Requests in work, by release",
            "Requests that are computed now. Old instances take more while others restart.",
            "When the old ones are full during a rollout, the pool is too small for rollouts at this hour.",
            "short",
            one(f"sum by (pool, release) (local_llm:requests_running{{{ENGINE}}})", by),
            width=12,
            stacked=True,
        ),
    )
