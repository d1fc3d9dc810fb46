# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other load tools behind one adapter: how they are started, what is refused, and their recorded results.

peer_results/ holds what vLLM 0.32.0, GuideLLM 0.8.1 and AIPerf 0.13.0 wrote about a real vLLM (closed, open) and about
a server that refused the key (refused). Texts are taken out.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _peers as peers
from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import ARGUMENTS, OptionError, check_options
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_common import PeerAsk, PeerError, error_kind
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_options import ARRIVALS, CLIENTS
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import Run, closed_plan, open_plan
from ansible_collections.local_llm.ops.plugins.module_utils._bench._report import build_report
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_compare import compare
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import WORK

RESULTS = Path(__file__).parent / "peer_results"
ENDINGS = {"vllm_bench": "json", "guidellm": "json", "aiperf": "jsonl"}


def ask(**given: Any) -> PeerAsk:
    if "rate_per_second" not in given:
        given.setdefault("users", 4)
    plain: dict[str, Any] = {
        "program": "/opt/tool", "tokenizer": "/models/a b", "directory": "/run/x", "url": "http://h:1/base",
        "api": "openai_chat", "model": "chat", "requests": 14, "extra_body": {"cache_prompt": False},
    }  # fmt: skip
    return PeerAsk(**{**plain, **given})


def recorded(client: str, name: str) -> str:
    return (RESULTS / f"{client}_{name}.{ENDINGS[client]}").read_text(encoding="utf-8")


def run_of(client: str, name: str) -> Run:
    asked = ask(rate_per_second=20.0) if name == "open" else ask()
    return peers.run_of(peers.PEERS[client].parse(recorded(client, name), asked), 1_800_000_000.0)


def report_of(client: str, name: str, version: str = "") -> dict[str, Any]:
    plan = open_plan(20.0, 14) if name == "open" else closed_plan(4, 14)
    report = build_report({**WORK, "requests": 14}, plan, run_of(client, name))
    return peers.as_peer(report, client, version or peers.PEERS[client].tested[0])


@pytest.mark.parametrize("client", peers.PEERS)
def test_the_key_is_in_the_environment_and_nowhere_else(client: str) -> None:
    start = peers.PEERS[client].command(ask(api_key="sk-1"))
    assert "sk-1" not in json.dumps([start.argv, dict(start.files)])
    assert [name for name, value in start.environment.items() if value == "sk-1"]
    without = peers.PEERS[client].command(ask())
    assert not [name for name in without.environment if "API_KEY" in name]
    assert "API_KEY" not in json.dumps(dict(without.files))


def test_vllm_gets_users_or_a_rate_and_the_fields_of_the_user() -> None:
    closed = peers.PEERS["vllm_bench"].command(ask()).argv
    text = " ".join(closed)
    assert "--max-concurrency 4" in text and "--request-rate" not in text and "--ignore-eos" in text
    assert closed[closed.index("--extra-body") + 1] == '{"cache_prompt": false}'
    assert "--num-warmups 0 --ready-check-timeout-sec 0" in text
    opened = " ".join(peers.PEERS["vllm_bench"].command(ask(rate_per_second=2.5, ignore_eos=False)).argv)
    assert "--request-rate 2.5 --burstiness 1.0" in opened
    assert "--max-concurrency" not in opened and "--ignore-eos" not in opened


def test_guidellm_gets_a_scenario_that_checks_certificates() -> None:
    spec = json.loads(peers.PEERS["guidellm"].command(ask()).files["scenario.json"])["spec"]
    assert spec["profile"] == {"kind": "concurrent", "streams": 4} and spec["backend"]["verify"] is True
    assert spec["backend"]["extras"] == {"body": {"temperature": 0, "cache_prompt": False}}
    constant = peers.PEERS["guidellm"].command(ask(rate_per_second=3.0, arrivals="constant"))
    profile = json.loads(constant.files["scenario.json"])["spec"]["profile"]
    assert profile == {"kind": "constant", "rate": 3.0}


def test_aiperf_counts_with_the_server_and_only_names_the_variable_of_the_key() -> None:
    config = json.loads(peers.PEERS["aiperf"].command(ask(api_key="sk-1")).files["aiperf.yaml"])["benchmark"]
    assert config["endpoint"]["use_server_token_count"] and config["endpoint"]["api_key"] == "${OPENAI_API_KEY}"
    assert config["profiling"] == {"type": "concurrency", "concurrency": 4, "requests": 14}
    # set to anything at all, it keeps AIPerf from loading a tokenizer from a directory
    assert peers.PEERS["aiperf"].command(ask()).environment["HF_HUB_OFFLINE"] == ""


@pytest.mark.parametrize("client", peers.PEERS)
def test_a_recorded_run_becomes_records_in_the_order_of_sending(client: str) -> None:
    run = run_of(client, "closed")
    assert len(run.records) == 14 and all(record.error is None for record in run.records)
    starts = [record.started for record in run.records]
    assert starts == sorted(starts) and starts[0] == 0.0
    for record in run.records:
        assert record.output_tokens == 8 and 16 <= (record.prompt_tokens or 0) <= 20
        assert 0 < (record.ttft_seconds or 0) <= (record.e2el_seconds or 0) <= record.ended - record.started + 1e-9


def test_figures_of_vllm_are_those_that_it_printed() -> None:
    told, found = json.loads(recorded("vllm_bench", "closed")), report_of("vllm_bench", "closed")
    assert found["ttft_seconds"]["p50"] == pytest.approx(told["median_ttft_ms"] / 1000, abs=1e-5)
    assert found["tpot_seconds"]["p50"] == pytest.approx(told["median_tpot_ms"] / 1000, abs=1e-5)
    assert found["e2el_seconds"]["mean"] == pytest.approx(told["mean_e2el_ms"] / 1000, abs=1e-5)
    assert found["itl_seconds"]["p50"] == pytest.approx(told["median_itl_ms"] / 1000, abs=1e-5)
    assert found["requests_per_second"] == pytest.approx(told["request_throughput"], rel=0.02)
    assert found["output_tokens_total"] == told["total_output_tokens"]


def test_figures_of_guidellm_are_those_that_it_told_by_request() -> None:
    entries = json.loads(recorded("guidellm", "closed"))["benchmarks"][0]["requests"]["successful"]
    found = report_of("guidellm", "closed")
    waits = median(entry["time_to_first_token_ms"] for entry in entries) / 1000
    assert found["ttft_seconds"]["p50"] == pytest.approx(waits, rel=0.05)
    # what it calls inter-token latency is our time per output token
    steps = median(entry["inter_token_latency_ms"] for entry in entries) / 1000
    assert found["tpot_seconds"]["p50"] == pytest.approx(steps, rel=0.05)
    assert found["itl_seconds"]["count"] == 0 and found["coalesced_share"] is None


def test_figures_of_aiperf_are_those_that_it_told_by_request() -> None:
    lines = [json.loads(line)["metrics"] for line in recorded("aiperf", "closed").splitlines()]
    found = report_of("aiperf", "closed")
    waits = median(line["time_to_first_token"]["value"] for line in lines) / 1000
    steps = median(line["inter_token_latency"]["value"] for line in lines) / 1000
    assert found["ttft_seconds"]["p50"] == pytest.approx(waits, abs=1e-5)
    assert found["tpot_seconds"]["p50"] == pytest.approx(steps, abs=1e-5)
    assert found["itl_seconds"]["count"] == 14 * 7


@pytest.mark.parametrize("client", ["guidellm", "aiperf"])
def test_an_open_loop_counts_from_when_the_tool_meant_to_send(client: str) -> None:
    found = report_of(client, "open")
    assert found["scheduled_latency_seconds"]["count"] == found["requests"]["issued"] >= 13
    assert found["scheduled_latency_seconds"]["p50"] >= found["e2el_seconds"]["p50"]
    statuses = {entry["check"]: entry["status"] for entry in found["validity"]["checks"]}
    assert statuses["client_lateness"] != "unknown"


def test_requests_that_a_tool_did_not_send_are_told() -> None:
    # asked for 14 at a constant rate, GuideLLM sent 13
    checks = {entry["check"]: entry for entry in report_of("guidellm", "open")["validity"]["checks"]}
    assert checks["all_sent"]["status"] == "warn" and checks["all_sent"]["observed"] == 13


@pytest.mark.parametrize(("client", "kind"), [("guidellm", "http_401"), ("aiperf", "http_401")])
def test_refusals_are_errors_by_kind_and_their_words_are_dropped(client: str, kind: str) -> None:
    found = report_of(client, "refused")
    assert not found["requests"]["succeeded"] and set(found["requests"]["errors"]) == {kind}
    assert not found["valid"] and "who are you" not in json.dumps(found)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Service Unavailable", "http_503"),
        ("Unauthorized", "http_401"),
        ("HTTPStatusError(\"Client error '429 Too Many Requests' for url\")", "http_429"),
        ("ReadTimeout('')", "timeout"),
        ("aiohttp.client_exceptions.ServerDisconnectedError: Server disconnected", "connection"),
        ("aiohttp.client_exceptions.ClientPayloadError: not all data", "truncated"),
        ("Never received a valid chunk to calculate TTFT.", "zero_tokens"),
        ("SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED", "tls"),
        ("a word that nobody knows", "unknown"),
    ],
)
def test_words_of_a_tool_become_our_kinds_of_errors(words: str, kind: str) -> None:
    assert error_kind(words) == kind


@pytest.mark.parametrize("client", peers.PEERS)
@pytest.mark.parametrize("text", ["{", "{}", '{"benchmarks": []}', '{"metadata": {}}'])
def test_a_result_of_another_shape_is_refused_with_the_versions_that_work(client: str, text: str) -> None:
    with pytest.raises(PeerError) as caught:
        peers.PEERS[client].parse(text, ask())
    assert str(caught.value).startswith(client)


def test_what_a_tool_does_not_tell_is_null_and_unknown() -> None:
    found = report_of("vllm_bench", "closed")
    assert found["client"] == {"cpu_seconds": None, "cpu_share_of_one_core": None}
    assert found["samples"]["requests"] == [] and len(found["samples"]["ttft_seconds"]) == 14
    checks = {entry["check"]: entry for entry in found["validity"]["checks"]}
    assert checks["client_cpu"]["status"] == checks["one_piece"]["status"] == "unknown"
    assert "vllm_bench" in checks["client_cpu"]["reason"] and checks["client_version"]["status"] == "ok"
    assert all("code" not in entry for entry in checks.values())


def test_a_version_that_was_not_tried_is_told_and_recorded() -> None:
    found = report_of("guidellm", "closed", "0.9.0")
    checks = {entry["check"]: entry for entry in found["validity"]["checks"]}
    assert checks["client_version"]["status"] == "warn" and "0.8.1" in checks["client_version"]["reason"]
    assert found["engine_version_tool"] == "guidellm/0.9.0"
    local = report_of("vllm_bench", "closed", "0.32.0+cpu")["validity"]["checks"]
    assert {entry["check"]: entry["status"] for entry in local}["client_version"] == "ok"


def test_reports_of_two_tools_are_not_compared() -> None:
    told = compare([report_of("vllm_bench", "closed")], [report_of("aiperf", "closed")])
    assert told["verdict"] == "not_comparable" and "measure differently" in json.dumps(told)


def options(**given: Any) -> dict[str, Any]:
    filled = {name: spec.get("default") for name, spec in ARGUMENTS.items()}
    needed = {"client_command": "/opt/tool", "client_tokenizer": "/models/tiny"}
    return {**filled, "url": "http://h:1", "model": "chat", "client": "guidellm", **needed, **given}


def load(mode: str, *stages: dict[str, Any]) -> dict[str, Any]:
    keys = ("users", "rate_per_second", "requests", "seconds", "arrivals")
    return {"mode": mode, "stages": [{**dict.fromkeys(keys), **stage} for stage in stages]}


CONSTANT = {"rate_per_second": 2.0, "requests": 9, "arrivals": "constant"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"client": "builtin"}, "client_command: client is builtin"),
        ({"client_command": None}, "client_command: client guidellm needs it"),
        ({"client_tokenizer": None}, "client_tokenizer: client guidellm needs it"),
        ({"api": "ollama"}, "api: client guidellm cannot do ollama"),
        ({"shape": "multi_turn"}, "shape: client guidellm cannot do it"),
        ({"prompts_path": "/p.jsonl"}, "prompts_path: client guidellm cannot do it"),
        ({"scenario": "peak"}, "scenario: client guidellm cannot do it"),
        ({"validate_certs": False}, "validate_certs: client guidellm cannot do it"),
        ({"start_at_unix_seconds": 1.0}, "start_at_unix_seconds: client guidellm cannot do it"),
        ({"ignore_eos": False}, "ignore_eos: client guidellm always sends it"),
        ({"client": "vllm_bench", "load": load("open", CONSTANT)}, "cannot do constant; use poisson"),
        ({"load": load("closed", {"users": 2, "requests": 9}, {"users": 4, "requests": 9})}, "one stage, not 2"),
        ({"load": load("closed", {"users": 2, "seconds": 9.0})}, "ends with its requests; give requests"),
    ],
)
def test_what_a_tool_cannot_do_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_options(options(**given))
    assert said in str(caught.value)


@pytest.mark.parametrize("client", peers.PEERS)
def test_a_plain_load_is_open_to_every_tool(client: str) -> None:
    check_options(options(client=client))
    check_options(options(client=client, load=load("open", {**CONSTANT, "arrivals": "poisson"})))


def test_every_tool_can_be_chosen_and_is_described() -> None:
    assert ["builtin", *peers.PEERS] == CLIENTS and list(ARRIVALS) == list(peers.PEERS)


def test_addresses_are_given_without_v1_and_with_brackets() -> None:
    assert peers.base_url(parse_endpoint("http://[::1]:8001/v1")) == "http://[::1]:8001"
    assert peers.base_url(parse_endpoint("https://h/x/v1")) == "https://h:443/x"


def answering(status: int, output: str = "", errors: str = "") -> Any:
    return lambda *_args, **_more: (status, output, errors)


def test_a_tool_that_takes_too_long_or_leaves_nothing_is_told_with_its_own_words(tmp_path: Path) -> None:
    asked = ask(directory=str(tmp_path))
    with pytest.raises(PeerError, match="not done after 7 s"):
        peers.run_peer("aiperf", asked, answering(124), 7.0, threading.Event())
    with pytest.raises(PeerError, match=r"exit status 1, 'OSError: no such model'\); check client_command"):
        peers.run_peer("aiperf", asked, answering(1, "", "x\nOSError: no such model\nbye"), 7.0, threading.Event())


def test_a_stop_from_outside_ends_the_tool(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    ended: list[int] = []

    def sleeping(_argv: list[str], before_communicate_callback: Any, **_more: Any) -> tuple[int, str, str]:
        process = subprocess.Popen(["sleep", "30"])
        before_communicate_callback(process)
        ended.append(process.wait(20))
        return ended[0], "", ""

    assert peers.run_peer("aiperf", ask(directory=str(tmp_path)), sleeping, 60.0, stop).interrupted
    assert ended[0] < 0


def test_a_program_that_tells_no_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="is no program on this host; install aiperf"):
        peers.version_of("aiperf", str(tmp_path), answering(0, "0.13.0"))
    with pytest.raises(PeerError, match="is it aiperf"):
        peers.version_of("aiperf", "/bin/sh", answering(2, "", "no such option"))
    assert peers.version_of("guidellm", "/bin/sh", answering(0, "guidellm version: 0.8.1\n")) == "0.8.1"
    with pytest.raises(PeerError, match=r"holds no tokenizer_config\.json"):
        peers.check_tokenizer(str(tmp_path))
