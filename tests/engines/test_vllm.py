# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM on processors: from a bare host through good and bad releases, and to another engine and back.

On demand: make engine-tests ENGINES=vllm. It loads about 1 GB the first time, and every start takes a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from engine_fleet import KEEP, LAB, PATTERNS, VLLM, EngineFleet
from fleet import CHECKOUT, Client
from rollouts import journal
from waiting import wait_for

from ansible_collections.local_llm.ops.plugins.module_utils._engines._vllm import ENGINE
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import model_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit import fit

pytestmark = pytest.mark.slow

BUILD = CHECKOUT / "tests/lab/artefacts/vllm_cpu.py"
# Two engines of this size share two cores with everything else here.
SLOW = (
    "-e", "local_llm_ready_timeout_seconds=600", "-e", "local_llm_commit_timeout_seconds=1800",
    "-e", '{"local_llm_pools": {"chat": {"max_queue": 200, "queue_timeout_seconds": 60}}}',
    "-e", '{"local_llm_benchmark": {"users": 1, "requests": 40, "prompt_tokens": 16, "output_tokens": 8}}',
)  # fmt: skip
CACHE_LINE = re.compile(
    r"KV cache size: ([\d,]+) tokens.*?Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x"
)


class VllmFleet(EngineFleet):
    """Two hosts that have the engine in a layer below their disk."""

    client_rate = 2

    def playbook_command(self, playbook: str, *extra: str) -> list[str]:
        """Return the command line of a playbook, with time for slow starts."""
        return super().playbook_command(playbook, *SLOW, *extra)

    def logged(self, host: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the last match in the journal of the instance."""
        text = " ".join(self.shell(host, "journalctl -u local-llm@chat -o cat --no-pager").split())
        return next(reversed(list(pattern.finditer(text))), None)


@pytest.fixture(scope="module")
def fleet() -> Iterator[VllmFleet]:
    """One gateway and two hosts with vLLM at hand."""
    checked = subprocess.run([sys.executable, str(BUILD), "--check"], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        pytest.skip(checked.stdout.strip())
    subprocess.run([sys.executable, str(BUILD)], check=True)
    it = VllmFleet(f"{LAB}v")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_LLM_LAB_LAYERS", str(VLLM / "layer"))
        it.up(["gw1=bookworm", "gpu1=bookworm", "gpu2=bookworm"])
    yield it
    if not KEEP:
        it.lab_command("down")


@pytest.fixture
def serving(fleet: VllmFleet) -> VllmFleet:
    """The fleet, with one of the good releases of vLLM."""
    fleet.begin("vllm")
    return fleet


def test_a_bare_host_serves_and_prints_the_cache_that_was_foretold(serving: VllmFleet) -> None:
    answer = serving.complete()
    assert answer["usage"]["completion_tokens"] == 12 and answer["choices"][0]["message"]["content"]
    release = "vllm" if serving.description("gpu1")["model"] == "tiny-llama" else "vllm_next"
    again = serving.site(release)
    assert (again.code, again.changed) == (0, 0), again.output[-4000:]

    config = serving.description("gpu1")["config"]
    facts = model_facts(str(VLLM / "models" / "tiny-llama"), "config.json")
    foretold = fit(facts, "vllm", config, [], None, 16 << 30)
    for host in serving.hosts:
        line = wait_for("vLLM's line about its cache", partial(serving.logged, host, CACHE_LINE), 10)
        tokens, each = (int(line[number].replace(",", "")) for number in (1, 2))
        assert each == config["max_model_len"]
        assert tokens == (config["cpu_kv_cache_gibibytes"] << 30) // foretold["kv_bytes_per_token"]
        assert float(line[3]) == foretold["concurrent_requests"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("vllm_too_long",), ("max_model_len = 16384", "Set max_model_len to 8192")),
        (("vllm_next", "-e", "host_stop_timeout_seconds=70"), ("shutdown_timeout_seconds", "of at least 75", "= 70")),
    ],
)
def test_what_cannot_work_is_refused_with_the_setting_that_does(
    serving: VllmFleet, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    before, rollouts = serving.releases(), serving.rollout_directories()
    done = serving.move(*arguments, *PATTERNS)
    assert done.code != 0
    for word in words:
        assert word in done.output, done.output[-4000:]
    assert serving.releases() == before
    assert serving.rollout_directories() == rollouts, "nothing may have begun"


def test_other_weights_and_another_configuration_cost_no_request(
    serving: VllmFleet, client: Client, settled: Callable[[], None]
) -> None:
    release = "vllm_next" if serving.description("gpu1")["model"] == "tiny-llama" else "vllm"
    done = serving.move(release, *PATTERNS)
    assert done.code == 0, done.output[-6000:]
    assert done.outcome == "completed"
    models = {serving.description(host)["model"] for host in serving.hosts}
    assert models == {"tiny-llama-next" if release == "vllm_next" else "tiny-llama"}
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_an_engine_that_dies_at_its_start_goes_back_and_the_error_names_the_cause(
    serving: VllmFleet, client: Client, settled: Callable[[], None]
) -> None:
    before = serving.releases()
    done = serving.move("vllm_crashes", *PATTERNS)
    assert done.code != 0
    assert done.outcome == "rolled_back_verified", done.output[-6000:]
    (failed,) = [line for line in journal(done.made_rollout) if line["event"] == "failed"]
    cause = ENGINE.failure_cause(["invalid tool call parser: no_such_parser (chose from { x })"])
    assert cause and cause in failed["detail"], failed
    assert cause in " ".join(done.output.split()), "the person who runs it must see the cause"
    after = serving.releases()
    assert {host: x["current"] for host, x in after.items()} == {host: x["current"] for host, x in before.items()}
    settled()
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_an_instance_goes_to_llamacpp_and_back_without_a_failed_request(
    serving: VllmFleet, client: Client, settled: Callable[[], None]
) -> None:
    for release in ("llamacpp", "vllm"):
        done = serving.move(release, *PATTERNS)
        assert done.code == 0, done.output[-6000:]
        assert done.outcome == "completed"
        assert {serving.description(host)["engine"] for host in serving.hosts} == {release}
        settled()
        assert serving.complete()["choices"][0]["message"]["content"]
    traffic = client.finish()
    assert traffic.failed == 0, traffic
