# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard to begin with: is anything down, and which pool suffers."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards.limits import alert
from ansible_collections.local_llm.ops.tools.dashboards.model import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Board,
    Limit,
    Panel,
    Query,
    Row,
)
from ansible_collections.local_llm.ops.tools.dashboards.parts import (
    BACKENDS,
    HOST,
    POOL,
    RUNNING_ROLLOUTS,
    alert_marker,
    backend_rate,
    by_pool,
    number,
    one,
    or_zero,
    rollout_markers,
    share,
    tier_limit,
)

UID = "local-llm-fleet"
HOSTS = 'host=~"$host"'
MEMBERS = f'pool=~"$pool",{HOSTS}'
FIRING = 'ALERTS{alertname=~"LocalLlm.*",alertstate="firing"'
UP_OR_DOWN = {0: ("down", RED), 1: ("up", GREEN)}


def board() -> Board:
    """Return the dashboard."""
    return Board(
        UID,
        "Local LLM: fleet",
        "Is anything down, and which pool suffers? Begin here at night. From left to right: what is wrong, for whom, "
        "on which host.",
        (POOL, HOST),
        (*rollout_markers(), alert_marker(False)),
        (
            Row("What is wrong now", _now()),
            Row("Pools", _pools()),
            Row("Hosts and GPUs", _hosts()),
            Row("What was done by itself", _remediation()),
            Row("Ollama", _ollama()),
        ),
        refresh="30s",
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            "Alerts that wake somebody",
            "Alerts of severity critical that fire now, on the whole fleet. More than 0 means that clients feel it "
            "or soon will.",
            "Read them in the table below. Each names a runbook.",
            "none",
            one(or_zero(f'count({FIRING},severity="critical"}})')),
            limits=(Limit(1, True, RED),),
            width=4,
            height=4,
        ),
        number(
            "Other alerts",
            "Alerts of lower severity that fire now. They can wait for the morning.",
            "Read them in the table below, in working hours.",
            "none",
            one(or_zero(f'count({FIRING},severity!="critical"}})')),
            limits=(Limit(1, True, ORANGE),),
            width=4,
            height=4,
        ),
        number(
            "Instances down",
            "Instances of the inventory that do not answer, or that Prometheus does not know.",
            "Open the engine dashboard. During a rollout one after the other is down for a short time; that is "
            "expected.",
            "none",
            one(
                f"count(local_llm:instance_expected{{{MEMBERS}}})"
                f" - (sum(local_llm:instance_up{{{MEMBERS}}} > bool 0) or vector(0))"
            ),
            alerts=(alert("LocalLlmInstanceDown").counted(), alert("LocalLlmInstanceNotWatched").only_named()),
            width=4,
            height=4,
        ),
        number(
            "Hosts down",
            "Hosts whose node exporter does not answer: down, cut off, or only the exporter stopped.",
            "Try SSH. When that works, start the exporter; else look at console and power.",
            "none",
            one(or_zero(f'count(up{{job="local_llm_node",{HOSTS}}} == 0)')),
            alerts=(alert("LocalLlmHostDown").counted(),),
            width=4,
            height=4,
        ),
        number(
            "Gateways down",
            "Gateways whose HAProxy does not answer. With one gateway, clients get nothing.",
            "systemctl status haproxy on the gateway; haproxy -c -f /etc/haproxy/haproxy.cfg checks its configuration.",
            "none",
            one(or_zero('count(up{job="local_llm_gateway"} == 0)')),
            alerts=(alert("LocalLlmGatewayDown").counted(),),
            width=4,
            height=4,
        ),
        number(
            "Rollouts that run",
            "Rollouts that have begun and not ended. What changes now, changes perhaps because of them.",
            "Open the rollout dashboard. A rollout that hangs here for hours has lost its controller: run upgrade "
            "again.",
            "none",
            one(RUNNING_ROLLOUTS),
            limits=(Limit(1, True, BLUE),),
            width=4,
            height=4,
        ),
        Panel(
            "Alerts that fire",
            "Every alert that fires now. Empty when all is well.",
            "Critical ones first. The runbook of each is in its notification and in docs/runbooks.",
            "none",
            one(f"{FIRING}}}"),
            kind="table",
            width=24,
            height=6,
            hidden_columns=("Time", "Value", "__name__", "alertstate", "job", "instance"),
        ),
    )


def _pools() -> tuple[Panel, ...]:
    answers = "haproxy_backend_http_responses_total"
    refused, from_servers = (
        backend_rate(metric, ',code="4xx"') for metric in (answers, "haproxy_server_http_responses_total")
    )
    turned_away = share(f"{refused} - {from_servers}", backend_rate("haproxy_backend_http_requests_total"))
    return (
        Panel(
            "Requests",
            "Requests that reach each pool, at all gateways. A sudden fall with no alert means that clients cannot "
            "reach the gateway.",
            "When it falls to nothing, send a request by hand from outside; look at the network in front of the "
            "gateway.",
            "reqps",
            one(backend_rate("haproxy_backend_http_requests_total"), "{{pool}}"),
        ),
        Panel(
            "Requests answered with an error",
            "Share of the requests that clients get back as 5xx. No line means no requests.",
            "Look at errors by instance on the engine dashboard, drain the one that fails, stop a rollout that runs.",
            "percentunit",
            one(share(backend_rate(answers, ',code="5xx"'), backend_rate(answers, ',code!="4xx"')), "{{pool}}"),
            alerts=(alert("LocalLlmErrorsHigh"),),
        ),
        Panel(
            "Requests turned away",
            "Share of the requests that the gateway refuses with 4xx before any engine sees them: too many wait, or "
            "the key is wrong.",
            "See whether an instance is down or drained. When all are up, add one, or limit the client that sends "
            "most.",
            "percentunit",
            one(f"clamp_min({turned_away}, 0)", "{{pool}}"),
            alerts=(alert("LocalLlmRequestsTurnedAway"),),
        ),
        Panel(
            "Requests that wait",
            "Requests in the queue of the gateway and in those of the engines. A short peak is a burst; a plateau is "
            "too little room.",
            "Compare with room in the pool. The line of the limit is queue_depth_max of the pool's tier.",
            "short",
            (
                Query(
                    f"{by_pool(f'haproxy_backend_current_queue{{{BACKENDS}}}')}"
                    ' + on (pool) (sum by (pool) (local_llm:requests_waiting{pool=~"$pool"})'
                    ' or sum by (pool) (local_llm:instance_expected{pool=~"$pool"}) * 0)',
                    "{{pool}}",
                ),
                tier_limit("queue_depth_max"),
            ),
            alerts=(alert("LocalLlmQueueBacklog"),),
        ),
        Panel(
            "Room in use",
            "Requests in work, against those that all instances of the pool take at the same time. At 100 % the next "
            "one waits.",
            "One host fewer must fit too. Run the playbook capacity, and order or move an instance.",
            "percentunit",
            one(
                'sum by (pool) (local_llm:requests_running{pool=~"$pool"})'
                ' / sum by (pool) (local_llm:instance_requests_max{pool=~"$pool"})',
                "{{pool}}",
            ),
            alerts=(alert("LocalLlmCapacityNearLimit"),),
            top=1,
        ),
        Panel(
            "Servers that can answer",
            "Servers that the gateway would send a request to, canaries among them. Drained and failed ones do not "
            "count. With several gateways, the one that sees fewest.",
            "At 0 every request to the pool is answered 503: look at its instances, at least one host at a time.",
            "short",
            one(
                f"min by (pool) ({by_pool(f'haproxy_backend_active_servers{{{BACKENDS}}}', also='host, ')})",
                "{{pool}}",
            ),
            alerts=(alert("LocalLlmPoolDown"),),
            decimals=0,
        ),
        Panel(
            "Tokens written",
            "Tokens that each pool writes in a second. Ollama does not count them.",
            "When it falls while requests stay, an engine hangs or a GPU is slow: look at tokens for one request on "
            "the engine dashboard.",
            "suffix: tok/s",
            one('sum by (pool) (local_llm:generated_tokens:rate5m{pool=~"$pool"})', "{{pool}}"),
        ),
        Panel(
            "Clients that give up",
            "Share of the requests that the client ended. They waited too long, or somebody closed the page. No other "
            "figure shows them.",
            "Compare with requests that wait and with time to first token. When those are well, ask who sets a short "
            "timeout.",
            "percentunit",
            one(
                share(
                    backend_rate("haproxy_backend_client_aborts_total"),
                    backend_rate("haproxy_backend_http_requests_total"),
                ),
                "{{pool}}",
            ),
            alerts=(alert("LocalLlmClientsGiveUp"),),
        ),
        Panel(
            "Time until the engine begins to answer",
            "Average over the last 1024 answers, as the gateway sees it. It keeps its value while nobody asks.",
            "When it grows, compare with requests that wait and with room in use.",
            "s",
            one(by_pool(f"haproxy_backend_response_time_average_seconds{{{BACKENDS}}}", "max"), "{{pool}}"),
        ),
    )


def _hosts() -> tuple[Panel, ...]:
    return (
        Panel(
            "Instances",
            "Which instance answered when. Red is down; a gap is an instance that Prometheus did not know.",
            "A short red piece during a rollout is its restart. Red on one host only: look at that host. Red "
            "everywhere: look at the network.",
            "none",
            one(f"max by (server) (local_llm:instance_up{{{MEMBERS}}})", "{{server}}"),
            kind="timeline",
            alerts=(alert("LocalLlmInstanceDown"),),
            words=UP_OR_DOWN,
            width=12,
        ),
        Panel(
            "Hosts",
            "Which host's node exporter answered when.",
            "Red on all hosts at the same time is the network of the monitoring host, or Prometheus itself.",
            "none",
            one(f'max by (host) (up{{job="local_llm_node",{HOSTS}}})', "{{host}}"),
            kind="timeline",
            alerts=(alert("LocalLlmHostDown"),),
            words=UP_OR_DOWN,
            width=12,
        ),
        Panel(
            "GPU use",
            "Share of the time in which the GPUs of a host worked, on average. One host far below the others gets no "
            "requests or is broken.",
            "Look at the state of its servers on the engine dashboard, then at the host's GPUs.",
            "percentunit",
            one(f"avg by (host) (local_llm_gpu_utilization_ratio{{{HOSTS}}})", "{{host}}"),
            alerts=(alert("LocalLlmGpuSaturated"), alert("LocalLlmGpuIdle")),
            top=1,
        ),
        Panel(
            "Hottest GPU",
            "Temperature of the hottest GPU of each host.",
            "Above the second line drain the host now, then look at the cooling.",
            "celsius",
            one(f"max by (host) (local_llm_gpu_temperature_celsius{{{HOSTS}}})", "{{host}}"),
            alerts=(alert("LocalLlmGpuHot"), alert("LocalLlmGpuVeryHot")),
        ),
        Panel(
            "Power of the GPUs",
            "What the GPUs of each host draw together. The rest of the host comes on top.",
            "A host that falls to idle power under load has lost its work: look at its instances.",
            "watt",
            one(f"sum by (host) (local_llm_gpu_power_watts{{{HOSTS}}})", "{{host}}"),
            stacked=True,
        ),
    )


def _remediation() -> tuple[Panel, ...]:
    return (
        Panel(
            "Actions in an hour",
            "What remediation did by itself on the hosts, by rule. Now and then is what it is for.",
            "The same rule on the same host again and again: find the cause, the action only hides it.",
            "short",
            one(
                f"sum by (host, rule, action) (increase(local_llm_remediation_actions_total{{{HOSTS}}}[1h]))",
                "{{host}} {{rule}} {{action}}",
            ),
            decimals=0,
        ),
        Panel(
            "Rules that gave up",
            "1 where a rule has reached its limit. Nothing more is done by itself there: it waits for a person.",
            "Look at the journal of remediation on the host, mend the cause, then let the rule begin anew.",
            "none",
            one(f"max by (server, rule) (local_llm_remediation_gave_up{{{HOSTS}}})", "{{server}} {{rule}}"),
            decimals=0,
            alerts=(alert("LocalLlmRemediationGaveUp").only_named(),),
        ),
        Panel(
            "Servers that remediation keeps out",
            "1 while a server gets no requests because remediation took it out.",
            "It comes back when it is well. Out for hours: look at its host, and whether the pool has room without it.",
            "none",
            one(f"max by (server) (local_llm_remediation_out_of_service{{{HOSTS}}})", "{{server}}"),
            decimals=0,
            alerts=(alert("LocalLlmRemediationKeepsOut").only_named(),),
        ),
        Panel(
            "Since remediation last looked",
            "How long ago the timer of remediation last ran on each host.",
            "Minutes mean that the timer has stopped there: nothing is mended by itself. Start it again.",
            "s",
            one(f"time() - max by (host) (local_llm_remediation_last_run_timestamp_seconds{{{HOSTS}}})", "{{host}}"),
            decimals=0,
            alerts=(alert("LocalLlmRemediationStopped"),),
        ),
    )


def _ollama() -> tuple[Panel, ...]:
    return (
        Panel(
            "Ollama answers",
            "1 where the Ollama of an instance answers its timer, 0 where it does not.",
            "0: look at the unit of the instance on its host.",
            "none",
            one(f"min by (server) (local_llm_ollama_up{{{HOSTS}}})", "{{server}}"),
            decimals=0,
            alerts=(alert("LocalLlmOllamaNotAnswering").only_named(),),
        ),
        Panel(
            "Part of each model outside the GPUs",
            "The share of a loaded model that lies in the memory of the host, where it is slow.",
            "Above zero: the model does not fit beside what else is loaded. Load fewer, or a smaller one.",
            "percentunit",
            one(f"max by (server, model) (local_llm_ollama_model_spill_ratio{{{HOSTS}}})", "{{server}} {{model}}"),
            alerts=(alert("LocalLlmOllamaSpill"),),
        ),
    )
