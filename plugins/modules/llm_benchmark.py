#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module llm_benchmark: measure a model server under a fixed load."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_benchmark
short_description: Measure a model server under load with streaming requests
version_added: 0.1.0
description:
  - Sends streaming completions and reports time to first token (TTFT), time per output token (TPOT), gaps between
    tokens (ITL), total latency (E2EL), tokens per second, errors and timeouts. The definitions are those of vLLM's
    benchmark.
  - The load is a number of users with one request at a time each (closed loop), a rate (open loop), stages of either, a
    sweep, a scenario, or a search for the highest rate within limits.
  - Prompts are made from O(seed) and differ in every request, and warm-up has prompts of its own, so that a prefix
    cache has nothing to share but the chat template.
  - Percentiles without samples enough are null (p50 needs 11, p90 64, p95 130, p99 662).
  - The run says for itself whether it may be believed. When the client was the limit, or others used the server
    meanwhile, C(valid) is false.
  - One look at the server comes first, so that a wrong address, key, certificate or model is refused at once.
    Ends early when the first requests all fail. Requests that are under way at the end may still finish, each within
    O(request_timeout_seconds).
  - Needs nothing but Python. Texts of prompts and answers are in no report.
  - Another load tool that is installed on the host can do the measuring when O(client) names it. It reports in the same
    shape; what it does not tell is null. Reports of different tools are never compared.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.llm_endpoint
  - local_llm.ops.llm_load
attributes:
  check_mode:
    support: partial
    details: The options are checked, no request is sent, and RV(report) is null.
  diff_mode:
    support: none
    details: It changes nothing but the files in O(result_path) and O(samples_path), which are records of the run.
  idempotent:
    support: full
    details: With O(cold_start.restart) it restarts the service every time, which is told as a change.
options:
  api:
    description: Which API to send to. V(ollama) is its native chat, V(ollama_generate) its native completion.
    type: str
    choices: [openai_chat, openai_completions, ollama, ollama_generate]
    default: openai_chat
  model:
    description: Served name of the model.
    type: str
    required: true
  users:
    description: Users that send at the same time, 1 to 500.
    type: int
    default: 4
  requests:
    description: Requests to measure. The default is enough for a p95.
    type: int
    default: 150
  max_seconds:
    description:
      - No measured request starts later than this after the first. The warm-up has a limit of its own.
      - When left out it is 120 for O(users) and O(requests), and what the stages need for a load in stages.
    type: float
  prompt_tokens:
    description: Words of a prompt. They are common words, so about as many tokens; the report has the server's own
      count.
    type: int
    default: 32
  output_tokens:
    description: Tokens to generate per request.
    type: int
    default: 32
  warmup_requests:
    description: Requests sent before, which are in no figure. The larger of O(users) and 4 when left out.
    type: int
  request_timeout_seconds:
    description: Time for one request from connecting to its last byte.
    type: float
    default: 30.0
  seed:
    description: Number the prompts and the arrivals are made from.
    type: int
    default: 1
  ignore_eos:
    description:
      - Send C(ignore_eos), which llama.cpp and vLLM know, so that every answer has the full O(output_tokens).
      - Set to V(false) for a server that refuses unknown fields.
    type: bool
    default: true
  extra_body:
    description:
      - More fields of every request. The default keeps llama.cpp from answering out of its prompt cache.
      - Give V({}) for a server that refuses unknown fields.
    type: dict
    default:
      cache_prompt: false
  max_error_share:
    description:
      - The module fails when a larger share of requests failed, 0 to 1.
      - When every request failed it fails in any case.
    type: float
    default: 1.0
  result_path:
    description:
      - File to write the report to as JSON (mode 0640), replaced in one step. Its directory must exist.
      - It is written when the module fails or is interrupted, too.
    type: path
seealso:
  - module: local_llm.ops.benchmark_report
  - module: local_llm.ops.benchmark_compare
  - module: local_llm.ops.llm_quality
  - module: local_llm.ops.rollout_verdict
"""

EXAMPLES = r"""
---
- name: Measure the release that serves now
  local_llm.ops.llm_benchmark:
    url: http://127.0.0.1:8001
    model: chat
    result_path: /var/lib/local_llm/instances/chat/evidence/baseline.json
  register: baseline

- name: Measure at 20 requests per second for a minute, and hold the server's own counters against it
  local_llm.ops.llm_benchmark:
    url: http://127.0.0.1:8001
    model: chat
    engine: vllm
    instance: chat
    load:
      mode: open
      stages: [{rate_per_second: 20, seconds: 60}]

- name: Find the highest rate within the limits of a tier
  local_llm.ops.llm_benchmark:
    url: http://127.0.0.1:8001
    model: chat
    slo_tier: enhanced
    search: {start_rate: 2}

- name: Ask another load tool
  local_llm.ops.llm_benchmark:
    url: http://127.0.0.1:8001
    model: chat
    engine: vllm
    client: guidellm
    client_command: /opt/guidellm/bin/guidellm
    client_tokenizer: /var/lib/local_llm/models/chat/r1/files

- name: Rehearse the eight hours of the soak in a minute
  local_llm.ops.llm_benchmark:
    url: http://127.0.0.1:8001
    model: chat
    scenario: soak
    time_scale: 0.002

- name: Say what it found
  ansible.builtin.debug:
    msg: "TTFT p95 {{ baseline.report.ttft_seconds.p95 }} s, {{ baseline.report.output_tokens_per_second }} tokens/s"
"""

RETURN = r"""
seconds:
  description: How long it took, warm-up included.
  returned: success
  type: float
  sample: 4.2
would_measure: {description: "What a real run would send, in words.", returned: in check mode, type: str}
report:
  description:
    - The benchmark report, schema 1. Also returned when the module fails after it has sent requests; null in check
      mode.
    - C(ttft_seconds), C(itl_seconds), C(tpot_seconds), C(e2el_seconds), C(normalised_latency_seconds) and
      C(output_tokens_per_second_per_request) (output tokens / E2EL) each have p50, p90, p95, p99, mean, min, max and
      count, of successful requests; in an open loop C(scheduled_ttft_seconds) and C(scheduled_latency_seconds) count
      from when a request was due. C(intervals) has their confidence intervals.
    - C(attainment) is the share of all issued requests that kept O(slo), C(goodput_requests_per_second) their rate.
    - C(coalesced_share) is the share of token gaps inside one socket read; where it is not near 0, ITL means little.
    - C(valid) is false, with C(invalid_reasons), when the numbers must not be judged, for instance because the
      client was the limit (C(client_limited)) or nothing succeeded (C(all_failed)). C(validity.checks) has every check.
  returned: always, once requests were sent
  type: dict
  sample:
    schema: 1
    kind: benchmark
    engine_version_tool: builtin/1
    requests: {issued: 150, succeeded: 150, failed: 0, timeouts: 0, errors: {}}
    ttft_seconds: {p50: 0.031, p90: 0.044, p95: 0.052, p99: null, mean: 0.033, min: 0.02, max: 0.06, count: 150}
    token_source: usage
    valid: true
    invalid_reasons: []
"""

import os
import signal
import threading
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload, workload_problem
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_probe import probe
from ansible_collections.local_llm.ops.plugins.module_utils._bench._cold_start import (
    ColdStartError,
    Hands,
    measure_idle,
    measure_start,
    port_is_open,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._job import Job, Outcome, measure, one_request
from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import (
    ARGUMENTS,
    OptionError,
    check_options,
    expected_seconds,
    plan_of,
    warmup_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_common import PeerError
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_options import BUILTIN
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peers import measure_with
from ansible_collections.local_llm.ops.plugins.module_utils._bench._progress import Teller
from ansible_collections.local_llm.ops.plugins.module_utils._bench._prompts import (
    GivenPrompt,
    PromptsError,
    read_prompts,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._samples import write_samples
from ansible_collections.local_llm.ops.plugins.module_utils._bench._surroundings import (
    engine_endpoint,
    surroundings,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import error_sentence
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import (
    Endpoint,
    EndpointError,
    endpoint_from_params,
)
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import request
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Systemd

HEALTH_PATHS = {"ollama": "/api/version"}


def _job(params: dict[str, Any]) -> Job:
    """Return what to measure. Raises OptionError, PromptsError and OSError."""
    check_options(params)
    if params["scenario"] and not params["load"]:
        raise OptionError(f"scenario: {params['scenario']!r} is resolved on the controller; use it in a task")
    prompts: tuple[GivenPrompt, ...] = ()
    if params["prompts_path"]:
        with open(params["prompts_path"], encoding="utf-8") as stream:
            prompts = read_prompts(stream.read(), "prompts_path")
    workload = Workload(
        prompts=prompts,
        shape="file" if prompts else params["shape"],
        **{
            name: params[name]
            for name in ("api", "model", "prompt_tokens", "output_tokens", "seed", "ignore_eos", "extra_body")
        },
        **{name: params[name] for name in ("prefix_tokens", "prefix_groups", "turns")},
    )
    problem = workload_problem(workload)
    if problem:
        raise OptionError(problem)
    plan = plan_of(params)
    return Job(params, workload, plan, warmup_of(params, plan))


def _cold_start(module: AnsibleModule, job: Job, endpoint: Endpoint, stop: threading.Event) -> dict[str, Any] | None:
    """Return what was asked for of a cold start; fails the module when the service does not come up."""
    wanted = job.params["cold_start"]
    if not wanted:
        return None
    systemd, instance = Systemd(module.run_command), str(job.params["instance"])
    health = HEALTH_PATHS.get(job.params["engine"] or "", "/health")
    hands = Hands(
        restart=lambda: systemd.begin_restart(instance),
        port_open=lambda: port_is_open(endpoint.host, endpoint.port),
        ready=lambda: request(endpoint, health, 2.0).status == 200,
        request=lambda number: one_request(job, endpoint, stop, number),
        stopped=stop.is_set,
    )
    found: dict[str, Any] = {"start": None, "idle": None}
    try:
        if wanted["restart"]:
            if systemd.timer_active(instance):
                module.fail_json(
                    msg=f"cold_start.restart: {instance} waits for its commit (its dead-man runs); "
                    "end the rollout first, then measure"
                )
            found["start"] = measure_start(hands, wanted["ready_timeout_seconds"])
        if wanted["idle_seconds"]:
            found["idle"] = measure_idle(hands, wanted["idle_seconds"])
    except (ColdStartError, ReleaseError) as exc:
        module.fail_json(msg=f"cold_start: {exc}")
    return found


def _write(module: AnsibleModule, outcome: Outcome) -> None:
    """Write the report and the raw samples."""
    params = module.params
    try:
        option = "result_path"
        if params[option]:
            write_json_atomic(params[option], outcome.report, 0o640)
        option = "samples_path"
        if params[option]:
            write_samples(params[option], outcome.report, outcome.run)
    except OSError as exc:
        module.fail_json(
            msg=f"{option}: {params[option]} cannot be written ({exc}); make its directory or name another",
            report=outcome.report,
        )


def _refusal(job: Job, endpoint: Endpoint, restarts: bool) -> str | None:
    """Return why this cannot be measured, or None: a mistake must cost neither a restart nor the hours of a run."""
    for option in ("result_path", "samples_path"):
        path = job.params[option]
        directory = os.path.dirname(os.path.abspath(path or "x"))
        if path and (os.path.isdir(path) or not os.access(directory, os.W_OK)):
            return f"{option}: {path} cannot be written; make its directory ({directory}), or name another file"
    try:
        engine_endpoint(job.params, endpoint)
    except EndpointError as exc:
        return f"engine_url: {exc}"
    # A service that is down is no mistake when it is to be restarted.
    if restarts and not port_is_open(endpoint.host, endpoint.port):
        return None
    return probe(endpoint, job.workload)


def main() -> None:
    """Run the module."""
    began = time.monotonic()
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        job = _job(params)
        endpoint = endpoint_from_params(params)
    except (OptionError, PromptsError, EndpointError) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"prompts_path: {params['prompts_path']} cannot be read ({exc.strerror}); name a file")
    if module.check_mode:
        module.exit_json(changed=False, report=None)
    restarts = bool(params["cold_start"] and params["cold_start"]["restart"])
    teller = Teller(params["progress_path"])
    refused = _refusal(job, endpoint, restarts)
    if refused:
        teller.done()  # whoever watches the file is told at once
        module.fail_json(msg=refused)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        cold = _cold_start(module, job, endpoint, stop)
        around = surroundings(params, endpoint, module.run_command, expected_seconds(job.plan) or 60.0)
        if params["client"] == BUILTIN:
            outcome = measure(job, endpoint, stop, around, teller, cold)
        else:
            outcome = measure_with(job, endpoint, stop, around, teller, module.run_command, module.tmpdir)
    except EndpointError as exc:
        module.fail_json(msg=f"engine_url: {exc}")
    except PeerError as exc:
        module.fail_json(msg=str(exc))
    finally:
        teller.done()
    _write(module, outcome)
    _end(module, outcome, restarts, time.monotonic() - began)


def _end(module: AnsibleModule, outcome: Outcome, changed: bool, seconds: float) -> None:
    params, report = module.params, outcome.report
    requests, path = report["requests"], params["result_path"]
    if outcome.run.interrupted:
        kept = f"what was measured is in {path}" if path else "give result_path to keep what was measured"
        wanted = report["workload"]["requests"]
        of = f" of {wanted}" if wanted else ""
        module.fail_json(msg=f"interrupted after {requests['issued']}{of} requests; {kept}", report=report)
    share = requests["failed"] / requests["issued"] if requests["issued"] else 1.0
    if not requests["succeeded"] or share > params["max_error_share"]:
        which = "every one" if not requests["succeeded"] else requests["failed"]
        told = error_sentence(requests["errors"])
        module.fail_json(msg=f"{params['url']}: {which} of {requests['issued']} requests failed: {told}", report=report)
    module.exit_json(changed=changed, report=report, seconds=round(seconds, 3))


if __name__ == "__main__":
    main()
