# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Model servers: what they have to do, how fast they do it, and how the gateway sees them."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards.limits import alert
from ansible_collections.local_llm.ops.tools.dashboards.model import GREEN, ORANGE, RED, Board, Panel, Query, Row
from ansible_collections.local_llm.ops.tools.dashboards.parts import (
    ENGINE,
    ENGINE_JOB,
    POOL,
    POOL_HOST,
    RANGE,
    SERVER,
    SERVERS,
    alert_marker,
    by_server,
    histogram,
    one,
    rollout_markers,
    server_rate,
    share,
    tier_limit,
)

UID = "local-llm-engine"
# What the gateway's states are drawn as. A server with a share of requests is drained in pool_ and ready in canary_.
STATES = {0: ("down", RED), 1: ("ready", GREEN), 2: ("drained", ORANGE), 3: ("in maintenance", "purple")}
AT, TO = "{{server}}", "{{to}}"


MEMBERS = 'job="local_llm_gateway",proxy=~"pool_($pool)",server=~"$server"'


def board() -> Board:
    """Return the dashboard."""
    return Board(
        UID,
        "Local LLM: engines",
        "What each model server has to do and how fast it does it. Panels with the name of an engine in the title "
        "are for that "
        "engine only: llama.cpp has no histograms, and Ollama has no metrics of its own, so the gateway tells about "
        "it.",
        (POOL, POOL_HOST, SERVER),
        (*rollout_markers(), alert_marker(False)),
        (
            Row("Work", _work()),
            Row("Speed", _speed()),
            Row("vLLM", _vllm()),
            Row("Memory of the engine", _memory()),
            Row("As the gateway sees it", _gateway()),
        ),
    )


def states(proxies: str) -> str:
    """Return the number of a server's state at each gateway, see STATES."""
    where = f'job="local_llm_gateway",proxy=~"{proxies}",server=~"$server"'
    by = "max by (host, proxy, server)"
    return (
        f'{by} (haproxy_server_status{{{where},state="UP"}})'
        f' + 2 * {by} (haproxy_server_status{{{where},state="DRAIN"}})'
        f' + 3 * {by} (haproxy_server_status{{{where},state="MAINT"}})'
    )


def _work() -> tuple[Panel, ...]:
    return (
        Panel(
            "Requests in work",
            "Against those that the instance takes at the same time. At 100 % the next one waits.",
            "One instance full and the others not: look at the gateway's weights. All full: add an instance.",
            "percentunit",
            one(
                f"sum by (server) (local_llm:requests_running{{{ENGINE}}})"
                f" / sum by (server) (local_llm:instance_requests_max{{{ENGINE}}})",
                AT,
            ),
            alerts=(alert("LocalLlmInFlightHigh"),),
            top=1,
        ),
        Panel(
            "Requests that wait in the engine",
            "They have left the gateway's queue, which could have sent them elsewhere. Time to first token grows.",
            "Lower max_connections_per_server of the pool to what the engine computes at the same time, or add an "
            "instance.",
            "short",
            one(f"sum by (server) (local_llm:requests_waiting{{{ENGINE}}})", AT),
            alerts=(alert("LocalLlmEngineQueue"),),
        ),
        Panel(
            "Tokens written",
            "Tokens a second of each instance. At 0 with requests in work, the engine hangs.",
            "When it hangs: look for XIDs with the playbook health, then restart the instance. Keep its journal.",
            "suffix: tok/s",
            one(f"sum by (server) (local_llm:generated_tokens:rate5m{{{ENGINE}}})", AT),
            alerts=(alert("LocalLlmEngineStuck").only_named(),),
        ),
        Panel(
            "Tokens read",
            "Tokens of prompts a second. Long prompts make time to first token grow although nothing is broken.",
            "When it has grown: ask who sends longer prompts, and compare with the lengths below.",
            "suffix: tok/s",
            one(
                f"sum by (server) (rate(vllm:prompt_tokens_total{{{ENGINE_JOB}}}{RANGE}))"
                f" or sum by (server) (rate(llamacpp:prompt_tokens_total{{{ENGINE_JOB}}}{RANGE}))",
                AT,
            ),
        ),
        Panel(
            "Errors by instance",
            "Share of its answers that were 5xx, as the gateway saw them.",
            "When the others of the pool are well, drain this one; then look at the engine's journal.",
            "percentunit",
            one(
                share(
                    server_rate("haproxy_server_http_responses_total", ',code="5xx"'),
                    server_rate("haproxy_server_http_responses_total", ',code!="4xx"'),
                ),
                TO,
            ),
            alerts=(alert("LocalLlmEngineErrors"),),
        ),
        Panel(
            "Answers broken off",
            "Answers a second that the engine ended in the middle. Clients see half an answer.",
            "Look in the engine's journal for a crash at the same time, and on the host dashboard for memory.",
            "cps",
            one(server_rate("haproxy_server_server_aborts_total"), TO),
        ),
    )


def _speed() -> tuple[Panel, ...]:
    return (
        Panel(
            "Tokens for one request",
            "Tokens a second that one request gets, on average. This is how fast the text appears before the reader.",
            "Slow on one host: lowered clocks, a slow GPU. Slow everywhere: batches are fuller than measured.",
            "suffix: tok/s",
            one(
                share(
                    f"sum by (server) (local_llm:generation_tokens_timed:rate5m{{{ENGINE}}})",
                    f"sum by (server) (local_llm:generation_seconds:rate5m{{{ENGINE}}})",
                ),
                AT,
            ),
            alerts=(alert("LocalLlmTokensSlow"),),
        ),
        Panel(
            "Time until it begins to answer",
            "Average over the last 1024 answers, as the gateway sees it, for every engine. It keeps its value while "
            "nobody asks.",
            "When only one instance is slow, drain it and look at its host.",
            "s",
            one(by_server(f"haproxy_server_response_time_average_seconds{{{SERVERS}}}", "max"), TO),
        ),
        Panel(
            "Time of whole answers",
            "Average over the last 1024 answers. Long answers take long on a healthy pool too.",
            "Compare with tokens for one request. When that is well, answers have grown longer.",
            "s",
            one(by_server(f"haproxy_server_total_time_average_seconds{{{SERVERS}}}", "max"), TO),
            alerts=(alert("LocalLlmAnswersSlow"),),
        ),
    )


def _vllm() -> tuple[Panel, ...]:
    return (
        Panel(
            "vLLM: time to first token",
            "How long half of the requests, and all but 5 % of them, wait for their first token.",
            "Compare with requests that wait and with tokens read. The line of the limit is that of the pool's tier, "
            "for p95.",
            "s",
            (
                Query(histogram("vllm:time_to_first_token_seconds", 0.5, "server"), "{{server}} p50"),
                Query(histogram("vllm:time_to_first_token_seconds", 0.95, "server"), "{{server}} p95"),
                tier_limit("ttft_p95_max_seconds"),
            ),
            alerts=(alert("LocalLlmTtftMedianHigh"),),
        ),
        Panel(
            "vLLM: time between tokens",
            "How long half of the tokens, and all but 5 % of them, let the reader wait.",
            "When it grows with the requests in work, batches are too full: lower max_num_seqs or add an instance.",
            "s",
            (
                Query(histogram("vllm:inter_token_latency_seconds", 0.5, "server"), "{{server}} p50"),
                Query(histogram("vllm:inter_token_latency_seconds", 0.95, "server"), "{{server}} p95"),
            ),
        ),
        Panel(
            "vLLM: whole answers",
            "All but 5 % of the answers are done within this time. It depends on how long the answers are.",
            "Compare with the lengths below before you look for a fault.",
            "s",
            (
                Query(histogram("vllm:e2e_request_latency_seconds", 0.95, "server"), "{{server}} p95"),
                tier_limit("latency_p95_max_seconds"),
            ),
        ),
        Panel(
            "vLLM: time in the queue",
            "All but 5 % of the requests leave the engine's own queue within this time.",
            "Above some tenths of a second the engine gets more than it computes: lower max_connections_per_server "
            "of the pool.",
            "s",
            one(histogram("vllm:request_queue_time_seconds", 0.95, "server"), "{{server}} p95"),
        ),
        Panel(
            "vLLM: how requests ended",
            "Requests a second by reason: stop and length are good, abort is a client that went away, error is a "
            "fault.",
            "Many of error: the engine's journal. Many of abort: compare with time to first token.",
            "reqps",
            one(
                f"sum by (finished_reason) (rate(vllm:request_success_total{{{ENGINE_JOB}}}{RANGE}))",
                "{{finished_reason}}",
            ),
        ),
        Panel(
            "vLLM: lengths",
            "Tokens of an average prompt and of an average answer.",
            "When they have grown, limits that were measured with shorter ones no longer hold: measure again.",
            "suffix: tok",
            (
                Query(_mean("vllm:request_prompt_tokens"), "{{server}} prompt"),
                Query(_mean("vllm:request_generation_tokens"), "{{server}} answer"),
            ),
        ),
    )


def _memory() -> tuple[Panel, ...]:
    return (
        Panel(
            "vLLM: KV cache in use",
            "Share of the cache for running requests. Full, and with requests pushed out, it is vLLM's shortage of "
            "memory.",
            "Lower max_num_seqs or max_model_len, give the cache more memory, or add an instance.",
            "percentunit",
            one(f"max by (server) (local_llm:kv_cache_used{{{ENGINE}}})", AT),
            alerts=(alert("LocalLlmKvCacheFull"),),
            top=1,
        ),
        Panel(
            "vLLM: requests pushed out of the cache",
            "Requests a second that are computed again from the beginning, because the cache was full.",
            "More than now and then: as for a full cache.",
            "cps",
            one(f"sum by (server) (local_llm:preemptions:rate5m{{{ENGINE}}})", AT),
            alerts=(alert("LocalLlmKvCacheFull").only_named(),),
        ),
        Panel(
            "Prompts found in the cache",
            "Share of the tokens of prompts that need not be computed again. A fall makes time to first token grow.",
            "After a restart the cache is empty and fills up. When it stays low, clients have changed the beginning "
            "of their prompts.",
            "percentunit",
            one(
                share(
                    f"sum by (server) (rate(vllm:prefix_cache_hits_total{{{ENGINE_JOB}}}{RANGE}))",
                    f"sum by (server) (rate(vllm:prefix_cache_queries_total{{{ENGINE_JOB}}}{RANGE}))",
                )
                + " or "
                + share(
                    f"sum by (server) (rate(llamacpp:prompt_tokens_cached_total{{{ENGINE_JOB}}}{RANGE}))",
                    f"(sum by (server) (rate(llamacpp:prompt_tokens_cached_total{{{ENGINE_JOB}}}{RANGE}))"
                    f" + sum by (server) (rate(llamacpp:prompt_tokens_total{{{ENGINE_JOB}}}{RANGE})))",
                ),
                AT,
            ),
            top=1,
        ),
        Panel(
            "llama.cpp: slots busy in each step",
            "Requests that are computed together, on average since the start. Near 1 under load, requests come one "
            "by one.",
            "Compare with parallel_requests of the instance; when the queue is long and this is low, look at the "
            "gateway.",
            "short",
            one(f"max by (server) (llamacpp:n_busy_slots_per_decode{{{ENGINE_JOB}}})", AT),
        ),
    )


def _gateway() -> tuple[Panel, ...]:
    return (
        Panel(
            "State at the gateway",
            "What each gateway thinks of each server. Drained: it gets no new requests, or only its share during a "
            "rollout.",
            "Down although the engine answers on its host: the firewall, or the health check. Drained with no "
            "rollout: somebody "
            "drained it by hand, or a rollout ended badly; gateway_info tells.",
            "none",
            one(states("pool_($pool)"), "{{server}} at {{host}}"),
            kind="timeline",
            words=STATES,
            width=12,
        ),
        Panel(
            "Requests by instance",
            "Answers a second of each instance. Instances of one pool should get about the same.",
            "One that gets none is drained, down, or has weight 0.",
            "reqps",
            one(server_rate("haproxy_server_http_responses_total"), TO),
            width=12,
            stacked=True,
        ),
        Panel(
            "Connections to each instance",
            "Requests that the gateway holds open to each instance.",
            "Far above what the engine computes at the same time: lower max_connections_per_server of the pool.",
            "short",
            one(by_server(f"haproxy_server_current_sessions{{{SERVERS}}}"), TO),
            width=12,
        ),
        Panel(
            "Failed health checks",
            "Health checks a second that failed. Some during a restart are normal.",
            "On a server that should be up: is the port open, does /health answer on the host itself?",
            "cps",
            # Servers that only follow another one's checks have NaN here, so those of the pool are asked.
            one(f"sum by (server) (rate(haproxy_server_check_failures_total{{{MEMBERS}}}{RANGE}))", AT),
            width=12,
        ),
    )


def _mean(metric: str) -> str:
    """Return the mean of a histogram of vLLM by instance."""
    return share(
        f"sum by (server) (rate({metric}_sum{{{ENGINE_JOB}}}{RANGE}))",
        f"sum by (server) (rate({metric}_count{{{ENGINE_JOB}}}{RANGE}))",
    )
