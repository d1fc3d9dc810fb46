# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway promises, tried on a running one with fake model servers behind it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

KEY = "sk-alice-0123456789"
BOB = "sk-bob-0123456789-old"


def ask(host: Any, **order: Any) -> list[dict[str, Any]]:
    """Send requests from the gateway host to the gateway."""
    order.setdefault("key", KEY)
    answer = host.run(f"python3 /root/gateway_client.py {shlex.quote(json.dumps(order))}")
    assert answer.rc == 0, answer.stderr
    return list(json.loads(answer.stdout))


def begin(host: Any, name: str, **order: Any) -> None:
    """Send requests in the background; finish() brings the answers."""
    order.setdefault("key", KEY)
    command = f"python3 /root/gateway_client.py {shlex.quote(json.dumps(order))} > /root/{name}.json"
    unit = f"systemd-run --quiet --collect --unit {name} sh -c {shlex.quote(command)}"
    begun = host.run(f"rm -f /root/{name}.json; {unit}")
    assert begun.rc == 0, begun.stderr


def finish(host: Any, name: str) -> list[dict[str, Any]]:
    """Return the answers to begin()."""
    until(lambda: host.run(f"systemctl is-active {name}").rc != 0, 60)
    return list(json.loads(host.file(f"/root/{name}.json").content_string))


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for a condition; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come true"
        time.sleep(0.1)


def module(host: Any, name: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run a module of the collection on the gateway."""
    return dict(host.ansible(f"local_llm.ops.{name}", json.dumps(arguments), check=check))


def tool(host: Any, **order: Any) -> dict[str, Any]:
    """Set or read a server of the pool chat by the library on the gateway; quicker than a module."""
    answer = host.run(f"python3 /root/gateway_tool.py {shlex.quote(json.dumps(order))}")
    assert answer.rc == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def backend(host: Any, server: str, state: str, **arguments: Any) -> dict[str, Any]:
    """Set a server of the pool chat."""
    return tool(host, server=server, state=state, **arguments)


def seen(host: Any, server: str) -> dict[str, Any]:
    """Return how a server of the pool chat is."""
    return tool(host, server=server)


def lab(command: str, host: Any) -> None:
    """Cut the power of the machine, or switch it on."""
    program = Path(__file__).parents[3] / "tests" / "lab" / "lab.py"
    subprocess.run(
        [sys.executable, str(program), command, "--lab", "mgateway", host.backend.get_hostname()],
        check=True,
        capture_output=True,
    )


def statuses(answers: list[dict[str, Any]]) -> Counter[int]:
    """Return how often each status came."""
    return Counter(answer["status"] for answer in answers)


@pytest.fixture(autouse=True)
def all_members(host: Any) -> Iterator[None]:
    """Give each test a gateway whose servers are all up and full members, and leave it so."""
    reset = shlex.quote(json.dumps({"reset": True}))
    done = host.run(f"systemctl start haproxy fake@9001 fake@9002 fake@9003 && python3 /root/gateway_tool.py {reset}")
    assert done.rc == 0, done.stderr
    yield


def test_service_runs_now_and_at_boot(host: Any) -> None:
    for unit in ("haproxy", "local-llm-gateway-lease.path"):
        assert host.service(unit).is_running, unit
        assert host.service(unit).is_enabled, unit


def test_secrets_are_for_root_only(host: Any) -> None:
    for name in ("keys.map", "pepper.map", "limits.map"):
        assert host.file(f"/etc/haproxy/local_llm/{name}").mode == 0o600, name
    assert host.run(f"grep -rF {KEY} /etc/haproxy /var/lib/local_llm").rc == 1
    assert host.run("stat -c %a /run/haproxy/admin.sock").stdout.strip() == "600"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer unknown"},
        {"Authorization": "Bearer sk-alice-012345678"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"X-Api-Key": KEY},
    ],
    ids=["none", "empty", "no-key", "unknown", "shorter", "no-bearer", "basic", "other-header"],
)
def test_requests_without_a_known_key_are_refused(host: Any, headers: dict[str, str]) -> None:
    (answer,) = ask(host, key=None, headers=headers)
    assert answer["status"] == 401
    assert answer["server"] is None


def test_a_known_key_is_let_in_and_does_not_reach_the_engine(host: Any) -> None:
    (answer,) = ask(host)
    assert answer["status"] == 200
    assert answer["headers"]["x-fake-authorization"] == "absent"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/chat/completions", 200),
        ("POST", "/v1/completions?x=1", 200),
        ("POST", "/v1/embeddings", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/metrics", 404),
        ("POST", "/invocations", 404),
        ("POST", "/tokenize", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "/v1/models/../../metrics", 404),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/v1/%63hat/completions", 404),
        ("GET", "/v1/chat/completions", 403),
        ("DELETE", "/v1/models", 403),
    ],
)
def test_only_allowed_paths_and_methods_pass(host: Any, method: str, path: str, status: int) -> None:
    (answer,) = ask(host, method=method, path=path)
    assert answer["status"] == status


def test_the_gateways_own_health_needs_no_key(host: Any) -> None:
    (answer,) = ask(host, key=None, method="GET", path="/health")
    assert answer["status"] == 200
    assert answer["server"] is None


@pytest.mark.parametrize(
    ("order", "servers"),
    [
        ({}, {"9001", "9002"}),
        ({"port": 8090}, {"9003"}),
        ({"path": "/code/v1/chat/completions"}, {"9003"}),
        ({"path": "/chat/v1/chat/completions"}, {"9001", "9002"}),
        ({"headers": {"Host": "chat.example.com:8080"}}, {"9001", "9002"}),
    ],
    ids=["default", "port", "prefix", "prefix-of-default", "host-name"],
)
def test_the_pool_is_chosen(host: Any, order: dict[str, Any], servers: set[str]) -> None:
    answers = ask(host, count=6, **order)
    assert {answer["server"] for answer in answers} == servers
    assert {answer["headers"]["x-fake-path"] for answer in answers} == {"/v1/chat/completions"}


def test_a_prefix_does_not_leave_the_pool_of_a_port(host: Any) -> None:
    (answer,) = ask(host, port=8090, path="/chat/v1/chat/completions")
    assert answer["status"] == 404


def test_a_share_of_30_percent_gives_about_30_of_100(host: Any) -> None:
    result = module(host, "gateway_backend", pool="chat", server="fake1-chat", state="ready", share_percent=30)
    assert result["before"] == {"state": "ready", "share_percent": 100}
    assert result["after"]["share_percent"] == 30
    answers = ask(host, count=400, parallel=2)
    assert statuses(answers) == {200: 400}
    # 30 percent of 400 with four standard deviations to each side.
    assert 83 <= sum(answer["server"] == "9001" for answer in answers) <= 157


def test_setting_the_same_again_changes_nothing(host: Any) -> None:
    assert backend(host, "fake1-chat", "ready", share_percent=30)["changed"]
    again = module(host, "gateway_backend", pool="chat", server="fake1-chat", state="ready", share_percent=30)
    assert not again["changed"]
    assert again["orders"] == []


def test_check_mode_predicts_and_changes_nothing(host: Any) -> None:
    result = module(host, "gateway_backend", check=True, pool="chat", server="fake1-chat", state="drain")
    assert result["changed"]
    assert result["after"]["state"] == "drain"
    assert seen(host, "fake1-chat")["state"] == "ready"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pool": "chat", "server": "nobody"}, ["nobody", "fake1-chat", "fake2-chat"]),
        ({"pool": "nopool", "server": "fake1-chat"}, ["nopool", "chat", "code"]),
        ({"pool": "chat", "server": "fake1-chat", "socket_path": "/run/no.sock"}, ["/run/no.sock", "systemctl"]),
    ],
    ids=["server", "pool", "socket"],
)
def test_what_cannot_work_fails_and_names_the_fix(host: Any, arguments: dict[str, Any], words: list[str]) -> None:
    result = module(host, "gateway_backend", state="drain", **arguments)
    for word in words:
        assert word in result["msg"]


def test_drain_keeps_a_five_second_stream(host: Any) -> None:
    backend(host, "fake2-chat", "drain")
    begin(host, "stream", body={"stream": True, "words": 50, "pace": 0.1})
    until(lambda: seen(host, "fake1-chat")["in_flight"] == 1)
    backend(host, "fake2-chat", "ready")
    drained = backend(host, "fake1-chat", "drain", wait_idle_seconds=20)
    assert drained["in_flight"] == 0
    assert drained["seconds"] > 1
    (answer,) = finish(host, "stream")
    assert answer["status"] == 200
    assert answer["server"] == "9001"
    assert answer["text"].count("data: {") == 50
    assert answer["text"].endswith("data: [DONE]\n\n")
    assert {other["server"] for other in ask(host, count=10)} == {"9002"}


def test_waiting_for_idle_tells_how_many_requests_remain(host: Any) -> None:
    begin(host, "stream", body={"stream": True, "words": 90, "pace": 0.1})
    until(lambda: sum(seen(host, name)["in_flight"] for name in ("fake1-chat", "fake2-chat")) == 1)
    busy = next(name for name in ("fake1-chat", "fake2-chat") if seen(host, name)["in_flight"])
    result = module(host, "gateway_backend", pool="chat", server=busy, state="drain", wait_idle_seconds=1)
    assert seen(host, busy)["state"] == "drain"
    assert "1 request" in result["msg"]
    assert finish(host, "stream")[0]["text"].endswith("data: [DONE]\n\n")


def test_a_stream_that_outlives_a_reload_still_counts_as_in_flight(host: Any) -> None:
    backend(host, "fake2-chat", "drain")
    begin(host, "stream", body={"stream": True, "words": 50, "pace": 0.1})
    until(lambda: seen(host, "fake1-chat")["in_flight"] == 1)
    assert host.run("systemctl reload haproxy").rc == 0
    assert seen(host, "fake1-chat")["in_flight"] == 1
    assert backend(host, "fake1-chat", "drain", wait_idle_seconds=20)["seconds"] > 1
    assert finish(host, "stream")[0]["text"].endswith("data: [DONE]\n\n")


def test_a_full_queue_is_429_and_a_long_wait_is_503_both_with_retry_after(host: Any) -> None:
    # Two servers with two places each, four in the queue for two seconds, the others refused.
    answers = ask(host, count=12, parallel=12, body={"delay": 4})
    assert statuses(answers) == {200: 4, 503: 4, 429: 4}
    for answer in answers:
        if answer["status"] != 200:
            assert answer["headers"]["retry-after"] == "5"
            assert json.loads(answer["text"])["error"]["type"] == "overloaded"
        if answer["status"] == 429:
            assert answer["seconds"] < 1.5
        if answer["status"] == 503:
            assert 1.5 < answer["seconds"] < 3.5


def test_without_a_server_clients_get_503_with_retry_after_at_once(host: Any) -> None:
    for server in ("fake1-chat", "fake2-chat"):
        backend(host, server, "drain")
    (answer,) = ask(host)
    assert answer["status"] == 503
    assert answer["headers"]["retry-after"] == "5"
    assert answer["seconds"] < 1


def test_a_key_over_its_rate_is_429_with_retry_after(host: Any) -> None:
    answers = ask(host, key=BOB, count=8)
    assert statuses(answers)[429] >= 3
    assert answers[-1]["status"] == 429
    assert "retry-after" in answers[-1]["headers"]
    assert ask(host)[0]["status"] == 200


def test_a_server_that_dies_is_no_error_for_clients(host: Any) -> None:
    begin(host, "load", count=300, parallel=3)
    host.run("systemctl kill --signal=KILL fake@9001")
    answers = finish(host, "load")
    assert statuses(answers) == {200: 300}


def test_a_canary_that_dies_is_no_error_for_clients(host: Any) -> None:
    backend(host, "fake1-chat", "ready", share_percent=50)
    host.run("systemctl kill --signal=KILL fake@9001")
    answers = ask(host, count=100, parallel=2)
    assert statuses(answers) == {200: 100}
    assert {answer["server"] for answer in answers} == {"9002"}


def test_a_server_that_fails_its_health_check_gets_no_requests(host: Any) -> None:
    host.run('python3 /root/gateway_client.py \'{"port": 9001, "path": "/fake/health?status=503"}\'')
    until(lambda: seen(host, "fake1-chat")["operational_state"] == "down")
    assert {answer["server"] for answer in ask(host, count=10)} == {"9002"}
    host.run('python3 /root/gateway_client.py \'{"port": 9001, "path": "/fake/health?status=200"}\'')


@pytest.mark.parametrize(
    "command",
    ["systemctl reload haproxy", "systemctl restart haproxy", "power-cut"],
    ids=["reload", "restart", "power-cut"],
)
def test_states_and_shares_survive(host: Any, command: str) -> None:
    backend(host, "fake1-chat", "ready", share_percent=25)
    backend(host, "fake2-chat", "maint")
    if command == "power-cut":
        lab("power-cut", host)
        lab("boot", host)
        host.run("systemctl start fake@9001")
    else:
        assert host.run(command).rc == 0
    until(lambda: host.run("systemctl is-active haproxy && test -S /run/haproxy/admin.sock").rc == 0)
    first, second = seen(host, "fake1-chat"), seen(host, "fake2-chat")
    assert (first["state"], first["share_percent"], first["mapped"]) == ("ready", 25, "25")
    assert (second["state"], second["share_percent"]) == ("maint", 0)
    # One server with a share and no full member: it answers all, rather than nobody.
    until(lambda: seen(host, "fake1-chat")["operational_state"] == "up")
    assert {answer["server"] for answer in ask(host, count=6)} == {"9001"}


def test_a_lease_that_runs_out_gives_back_what_was_before(host: Any) -> None:
    backend(host, "fake1-chat", "ready", share_percent=40)
    leased = backend(host, "fake1-chat", "drain", lease_seconds=2)
    assert leased["before"] == {"state": "ready", "share_percent": 40}
    renewed = backend(host, "fake1-chat", "maint", lease_seconds=3)
    assert renewed["before"] == {"state": "ready", "share_percent": 40}
    until(lambda: seen(host, "fake1-chat")["lease"] is False)
    restored = seen(host, "fake1-chat")
    assert (restored["state"], restored["share_percent"]) == ("ready", 40)
    assert host.file("/etc/haproxy/local_llm/shares.map").content_string.splitlines() == ["chat 40"]
    journal = host.run("journalctl --unit local-llm-gateway-lease.service --output cat --no-pager").stdout
    assert "lease expired: pool chat server fake1-chat went from maint (0 %) back to ready (40 %)" in journal
    until(lambda: host.run("systemctl is-active local-llm-gateway-lease.service").rc != 0)


def test_a_lease_that_runs_out_during_a_power_cut_gives_back_what_was_before(host: Any) -> None:
    backend(host, "fake1-chat", "drain", lease_seconds=1)
    lab("power-cut", host)
    lab("boot", host)
    until(lambda: host.run("test -S /run/haproxy/admin.sock").rc == 0)
    until(lambda: seen(host, "fake1-chat")["state"] == "ready")


def test_a_lease_holds_while_haproxy_is_away(host: Any) -> None:
    backend(host, "fake1-chat", "drain", lease_seconds=2)
    host.run("systemctl stop haproxy")
    until(lambda: "cannot be restored yet" in host.run("journalctl -u local-llm-gateway-lease -o cat -n 3").stdout)
    host.run("systemctl start haproxy")
    until(lambda: seen(host, "fake1-chat")["state"] == "ready")


def test_a_call_without_lease_ends_the_lease(host: Any) -> None:
    backend(host, "fake1-chat", "drain", lease_seconds=60)
    ended = backend(host, "fake1-chat", "drain")
    assert ended["changed"]
    assert ended["before"] == {"state": "ready", "share_percent": 100}
    assert seen(host, "fake1-chat")["lease"] is False


def test_the_access_log_is_json_without_keys_queries_and_bodies(host: Any) -> None:
    (answer,) = ask(host, path="/v1/completions?secret=query", body={"prompt": "secret-prompt"})
    (refused,) = ask(host, key="secret-unknown-key")
    assert (answer["status"], refused["status"]) == (200, 401)

    def lines() -> list[dict[str, Any]]:
        text = host.run("journalctl --unit haproxy --output cat --no-pager --lines 40").stdout
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    until(lambda: len(lines()) > 1 and lines()[-1]["status"] == 401)
    served, unknown = lines()[-2:]
    assert (served["path"], served["pool"], served["status"]) == ("/v1/completions", "chat", 200)
    assert len(served["client"]) == 16
    keys = host.file("/etc/haproxy/local_llm/keys.map").content_string
    assert f"{served['client']}" in keys
    assert unknown["client"] not in keys
    everything = host.run("journalctl --unit haproxy --output cat --no-pager").stdout
    for secret in (KEY, BOB, "secret"):
        assert secret not in everything


def test_the_metrics_are_on_their_own_address_only(host: Any) -> None:
    (answer,) = ask(host, key=None, port=8405, method="GET", path="/metrics")
    assert answer["status"] == 200
    assert 'haproxy_server_status{proxy="pool_chat",server="fake1-chat"' in answer["text"]
    assert host.socket("tcp://127.0.0.1:8405").is_listening
    assert not host.socket("tcp://0.0.0.0:8405").is_listening


def test_watching_returns_early_when_errors_appear(host: Any) -> None:
    begin(host, "errors", count=40, parallel=1, body={"status": 500, "delay": 0.2})
    result = module(host, "gateway_info", pool="chat", watch_seconds=20)
    assert result["errors_seen"]
    assert result["watched_seconds"] < 10
    assert sum(delta["http_5xx"] for delta in result["deltas"]) >= 1
    finish(host, "errors")
