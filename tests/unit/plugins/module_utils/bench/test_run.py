# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load plans carried out: who sends when, what ends a run, what is kept."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _run_loop
from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import coalesced_share
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import (
    Limits,
    RequestRecord,
    Run,
    closed_plan,
    lateness_of,
    open_plan,
    stage,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._run import run_load
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

WORK = Workload("openai_chat", "fake", prompt_tokens=8, output_tokens=4)


def run(
    fake: FakeStreamServer | str,
    plan: dict[str, Any],
    work: Workload = WORK,
    limits: Limits | None = None,
    stop: threading.Event | None = None,
    **more: Any,
) -> Run:
    url = fake if isinstance(fake, str) else fake.url
    return run_load(plan, work, parse_endpoint(url), limits or Limits(20.0, 5.0), stop or threading.Event(), **more)


def most_at_once(records: tuple[RequestRecord, ...]) -> int:
    changes = sorted([(each.started, 1) for each in records] + [(each.ended, -1) for each in records])
    level = most = 0
    for _at, change in changes:
        level += change
        most = max(most, level)
    return most


def test_every_request_is_sent_once_and_never_more_than_users_at_a_time() -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.002)) as fake:
        result = run(fake, closed_plan(4, requests=41))
        assert len({body["messages"][0]["content"] for body in fake.bodies}) == len(fake.bodies) == 41
        assert fake.connections == 4
    assert [record.index for record in result.records] == list(range(41))
    assert {record.error for record in result.records} == {None}
    assert {record.user for record in result.records} == {0, 1, 2, 3}
    assert all(record.scheduled is None and record.token_source == "usage" for record in result.records)
    assert all(record.output_tokens == record.token_events == 4 for record in result.records)
    assert most_at_once(result.records) == 4
    assert not (result.interrupted or result.out_of_time or result.gave_up)
    assert result.started_at.endswith("+00:00") and abs(result.clock_offset - time.time()) < 60
    assert result.seconds >= max(record.ended for record in result.records) and result.cpu_seconds > 0


def test_users_come_and_go_with_the_stages_and_no_request_is_cut() -> None:
    plan: dict[str, Any] = {
        "mode": "closed",
        "seed": 1,
        "stages": [
            stage(users=2, seconds=0.2),
            stage(users=6, requests=18),
            stage(users=0, seconds=0.1),
            stage(users=1, requests=3),
        ],
    }
    with FakeStreamServer(Behaviour(ttft_seconds=0.01, itl_seconds=0.005)) as fake:
        result = run(fake, plan)
    assert {record.error for record in result.records} == {None}
    by_stage = [[record for record in result.records if record.stage == number] for number in range(4)]
    assert len(by_stage[1]) == 18 and by_stage[2] == [] and len(by_stage[3]) == 3 and len(by_stage[0]) >= 2
    assert most_at_once(tuple(by_stage[0])) == 2 and most_at_once(tuple(by_stage[3])) == 1
    assert {record.user for record in by_stage[1]} == set(range(6))
    starts = result.stage_starts
    assert len(starts) == 4
    assert starts[1] - starts[0] == pytest.approx(0.2) and starts[3] - starts[2] == pytest.approx(0.1)
    assert all(record.started >= result.stage_starts[record.stage] for record in result.records)


def test_no_request_starts_after_the_time_is_over_and_those_under_way_end() -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.03)) as fake:
        result = run(fake, closed_plan(2), limits=Limits(0.1, 5.0))
    assert result.out_of_time and 2 <= len(result.records) <= 12
    assert all(record.started < 0.1 and record.error is None for record in result.records)


def test_it_gives_up_when_the_first_requests_all_fail() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    result = run(url, closed_plan(4, requests=1000), limits=Limits(20.0, 5.0, give_up_after=20))
    assert result.gave_up and 20 <= len(result.records) <= 24
    assert {record.error for record in result.records} == {"connection"}


def test_a_failing_user_waits_before_it_asks_again() -> None:
    with FakeStreamServer(Behaviour(fault="http_503")) as fake:
        result = run(fake, closed_plan(1), limits=Limits(0.3, 5.0))
    assert 2 <= len(result.records) <= 7


def test_errors_stand_beside_successes_and_each_is_counted() -> None:
    told: list[dict[str, Any]] = []
    with FakeStreamServer(Behaviour(fault="stream_error", fault_every=4)) as fake:
        result = run(fake, closed_plan(3, requests=40), on_progress=told.append)
    assert [record.error for record in result.records].count("stream_error") == 10
    assert [record.error for record in result.records].count(None) == 30


@pytest.mark.parametrize("plan", [closed_plan(2), open_plan(20.0, arrivals="constant")])
def test_an_interrupt_ends_what_is_under_way_and_keeps_all(plan: dict[str, Any]) -> None:
    stop = threading.Event()
    with FakeStreamServer(Behaviour(stall_after=2, stall_seconds=60.0)) as fake:
        watcher = threading.Thread(target=_set_when, args=(stop, lambda: fake.requests >= 2))
        watcher.start()
        began = time.monotonic()
        result = run(fake, plan, limits=Limits(60.0, 60.0), stop=stop)
        watcher.join()
    assert result.interrupted and time.monotonic() - began < 5
    assert len(result.records) >= 2 and {record.error for record in result.records} == {"interrupted"}
    assert any(record.token_events for record in result.records)


def _set_when(stop: threading.Event, condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    stop.set()


def test_an_open_loop_does_not_wait_for_answers_and_shows_the_latency_of_a_server_beyond_its_capacity() -> None:
    """Two slots of 50 ms make 40 requests a second. At 80 a second the last answers wait, and that is told."""
    behaviour = Behaviour(ttft_seconds=0.02, itl_seconds=0.01, slots=2)
    with FakeStreamServer(behaviour) as fake:
        result = run(fake, open_plan(80.0, requests=40, arrivals="constant"))
    records = result.records
    assert {record.error for record in records} == {None} and len(records) == 40
    assert [record.scheduled for record in records] == pytest.approx([number / 80 for number in range(40)])
    assert all(record.scheduled is not None and record.started >= record.scheduled for record in records)
    assert result.lateness_seconds == tuple(record.started - (record.scheduled or 0) for record in records)
    assert most_at_once(records) > 10
    scheduled = [(record.ttft_seconds or 0) + record.started - (record.scheduled or 0) for record in records]
    assert scheduled[-1] > 0.35 and scheduled[-1] > 4 * scheduled[0]
    assert records[-1].ended >= 1.0  # 40 requests at 40 a second


def test_more_than_may_be_under_way_is_refused_by_the_client_and_accounted_for() -> None:
    plan = open_plan(200.0, requests=20, arrivals="constant")
    with FakeStreamServer(Behaviour(ttft_seconds=0.6)) as fake:
        result = run(fake, plan, limits=Limits(20.0, 5.0, max_in_flight=5))
        assert fake.requests == 5
    errors = [record.error for record in result.records]
    assert errors.count("client_limit") == 15 and errors.count(None) == 5 and len(errors) == 20
    assert [record.index for record in result.records] == list(range(20))
    assert len(result.lateness_seconds) == 5


def test_the_same_seed_sends_the_same_prompts_at_the_same_times() -> None:
    seen = []
    for _unused in range(2):
        with FakeStreamServer() as fake:
            result = run(fake, open_plan(400.0, requests=20, seed=3))
            seen.append(
                (
                    [record.scheduled for record in result.records],
                    sorted(body["messages"][0]["content"] for body in fake.bodies),
                )
            )
    assert seen[0] == seen[1]


def test_warmup_and_measured_requests_share_no_prompt() -> None:
    with FakeStreamServer() as fake:
        run(fake, closed_plan(2, requests=5), phase="warmup")
        run(fake, closed_plan(2, requests=5))
        assert len({body["messages"][0]["content"] for body in fake.bodies}) == 10


def test_a_users_turns_follow_each_other_and_each_carries_the_one_before() -> None:
    work = Workload("openai_chat", "fake", prompt_tokens=4, output_tokens=4, shape="multi_turn", turns=3)
    with FakeStreamServer(Behaviour(ttft_seconds=0.002)) as fake:
        result = run(fake, closed_plan(2, requests=12), work)
        lengths = sorted(len(body["messages"]) for body in fake.bodies)
    assert lengths == sorted(2 * record.turn + 1 for record in result.records)
    for user in (0, 1):
        turns = [record.turn for record in result.records if record.user == user]
        assert turns == [number % 3 for number in range(len(turns))]


def test_long_prompts_beyond_the_prepared_ones_are_made_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_loop, "PREPARED_BYTES", 600)
    with FakeStreamServer() as fake:
        run(fake, closed_plan(2, requests=10))
        assert len({body["messages"][0]["content"] for body in fake.bodies}) == 10


def test_progress_is_told_with_its_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_loop, "PROGRESS_SECONDS", 0.05)
    told: list[dict[str, Any]] = []
    with FakeStreamServer(Behaviour(ttft_seconds=0.02)) as fake:
        run(fake, closed_plan(2, requests=30), on_progress=told.append)
    assert told and set(told[-1]) == {"issued", "done", "failed", "in_flight", "elapsed_seconds", "stage"}
    assert all(each["issued"] == each["done"] + each["in_flight"] for each in told)


@pytest.mark.parametrize("api", ["ollama", "ollama_generate", "openai_completions"])
def test_every_api_runs(api: str) -> None:
    work = Workload(api, "fake", prompt_tokens=4, output_tokens=4)
    with FakeStreamServer() as fake:
        result = run(fake, closed_plan(2, requests=6), work)
    assert {(record.error, record.output_tokens, record.prompt_tokens) for record in result.records} == {(None, 4, 7)}
    assert {record.load_seconds for record in result.records} == ({0.0025} if work.is_ollama else {None})


@pytest.mark.parametrize(
    ("plan", "work", "words"),
    [
        (open_plan(-1.0), WORK, "rate_per_second: -1.0"),
        (closed_plan(1, 1), Workload("openai_chat", "fake", shape="file"), "shape: file has no prompts"),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_is_sent(plan: dict[str, Any], work: Workload, words: str) -> None:
    with FakeStreamServer() as fake:
        with pytest.raises(ValueError, match=words):
            run(fake, plan, work)
        assert fake.connections == 0


def test_a_long_run_keeps_gaps_of_requests_from_all_of_its_time_and_counts_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_run_loop, "MAX_GAPS", 60)
    with FakeStreamServer() as fake:
        result = run(fake, closed_plan(4, requests=200))
    with_gaps = [record.index for record in result.records if record.gaps_seconds]
    assert 30 <= sum(len(record.gaps_seconds) for record in result.records) <= 60
    assert with_gaps == list(range(0, 200, with_gaps[1])) and all(record.token_events == 4 for record in result.records)
    share = coalesced_share(result.records)
    assert share == round(sum(record.coalesced_gaps for record in result.records) / 600, 4)


def test_a_client_is_late_by_its_own_doing_only() -> None:
    def record(started: float, ended: float, **more: Any) -> RequestRecord:
        values = {"index": 0, "stage": 0, "user": 1, "scheduled": None, "error": None, **more}
        return RequestRecord(started=started, ended=ended, **values)

    closed = [
        record(0.0, 1.0), record(1.25, 2.0),  # a quarter of a second after the answer
        record(1.0, 1.5, user=2),  # nobody waited before it
        record(5.0, 6.0, stage=1),  # users come and go with the stages
        record(2.0, 3.0, error="http_500"), record(3.05, 4.0),  # waits on purpose after a failure
    ]  # fmt: skip
    assert lateness_of(closed) == (0.25, 0.0)
    planned = [record(1.5, 2.0, scheduled=1.0), record(3.0, 3.0, scheduled=3.0, error="client_limit")]
    assert lateness_of(planned) == (0.5,)


def test_users_of_a_closed_loop_send_again_at_once() -> None:
    with FakeStreamServer(Behaviour(ttft_seconds=0.01)) as fake:
        result = run(fake, closed_plan(4, requests=40))
    assert len(result.lateness_seconds) == 36 and min(result.lateness_seconds) >= 0
