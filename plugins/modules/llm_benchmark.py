#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module llm_benchmark: measure a model server under a fixed load."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_benchmark
short_description: Measure a model server under a fixed load of streaming requests
version_added: 0.1.0
description:
  - Sends streaming completions from a number of users, each with one request at a time (closed loop), and reports time
    to first token (TTFT), time per output token (TPOT), gaps between tokens (ITL), total latency (E2EL), tokens per
    second, errors and timeouts. The definitions are those of vLLM's benchmark.
  - Prompts are made from O(seed) and differ in every request, and warm-up has prompts of its own, so that a prefix
    cache
    has nothing to share but the chat template.
  - Percentiles without samples enough are null (p50 needs 11, p90 64, p95 130, p99 662).
  - Ends at O(requests) or O(max_seconds), whichever comes first, and early when the first requests all fail.
    Requests that are under way at the end may still finish, each within O(request_timeout_seconds).
  - Needs nothing but Python. Texts of prompts and answers are in no report.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.llm_endpoint
attributes:
  check_mode:
    support: partial
    details: The options are checked, no request is sent, and RV(report) is null.
  diff_mode:
    support: none
    details: It changes nothing but the file in O(result_path), which is a record of the run.
  idempotent:
    support: full
options:
  api:
    description: Which API to send to.
    type: str
    choices: [openai_chat, openai_completions]
    default: openai_chat
  model:
    description: Served name of the model.
    type: str
    required: true
  users:
    description:
      - Users that send at the same time, 1 to 500.
      - Above 200 one Python process is likely to be the limit; the report then says so and is not valid.
    type: int
    default: 4
  requests:
    description: Requests to measure. The default is enough for a p95.
    type: int
    default: 150
  max_seconds:
    description: No measured request starts later than this after the first. The warm-up has the same limit of its own.
    type: float
    default: 120.0
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
    description: Requests sent before, which are not measured. The larger of O(users) and 4 when left out.
    type: int
  request_timeout_seconds:
    description: Time for one request from connecting to its last byte.
    type: float
    default: 30.0
  seed:
    description: Number the prompts are made from.
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

- name: Say what it found
  ansible.builtin.debug:
    msg: "TTFT p95 {{ baseline.report.ttft_seconds.p95 }} s, {{ baseline.report.output_tokens_per_second }} tokens/s"
"""

RETURN = r"""
seconds:
  description: How long it measured, warm-up included.
  returned: success
  type: float
  sample: 4.2
report:
  description:
    - The benchmark report, schema 1. Also returned when the module fails after it has sent requests; null in check
      mode.
    - C(ttft_seconds), C(itl_seconds), C(tpot_seconds), C(e2el_seconds) and C(output_tokens_per_second_per_request)
      (output
      tokens / E2EL) each have p50, p90, p95, p99, mean, min, max and count, of successful requests.
    - C(coalesced_share) is the share of token gaps inside one socket read; where it is not near 0, ITL means little.
    - C(valid) is false, with C(invalid_reasons), when the numbers must not be judged, for instance because the
      client was
      the limit (C(client_limited)) or nothing succeeded (C(all_failed)).
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

import signal
import threading
import time
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._benchmark import measure
from ansible_collections.local_llm.ops.plugins.module_utils._benchmark_report import build_report, error_sentence
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import (
    ENDPOINT_ARGS,
    EndpointError,
    endpoint_from_params,
)
from ansible_collections.local_llm.ops.plugins.module_utils._workload import API_PATHS, Workload

MAX_USERS = 500
# option -> (smallest, largest)
RANGES = {
    "users": (1, MAX_USERS),
    "requests": (1, 1_000_000),
    "max_seconds": (0.1, 86_400),
    "prompt_tokens": (4, 1_000_000),
    "output_tokens": (1, 1_000_000),
    "warmup_requests": (0, 1_000_000),
    "request_timeout_seconds": (0.1, 3600),
    "max_error_share": (0, 1),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    **ENDPOINT_ARGS,
    "api": {"type": "str", "choices": list(API_PATHS), "default": "openai_chat"},
    "model": {"type": "str", "required": True},
    "users": {"type": "int", "default": 4},
    "requests": {"type": "int", "default": 150},
    "max_seconds": {"type": "float", "default": 120.0},
    "prompt_tokens": {"type": "int", "default": 32, "no_log": False},
    "output_tokens": {"type": "int", "default": 32, "no_log": False},
    "warmup_requests": {"type": "int"},
    "request_timeout_seconds": {"type": "float", "default": 30.0},
    "seed": {"type": "int", "default": 1},
    "ignore_eos": {"type": "bool", "default": True},
    "extra_body": {"type": "dict", "default": {"cache_prompt": False}},
    "max_error_share": {"type": "float", "default": 1.0},
    "result_path": {"type": "path"},
}


def _workload(module: AnsibleModule) -> Workload:
    params = module.params
    for name, (low, high) in RANGES.items():
        value = params[name]
        if value is not None and not low <= value <= high:
            module.fail_json(msg=f"{name}: {value} is outside {low} to {high}; use a value between")
    warmup = params["warmup_requests"]
    return Workload(
        warmup_requests=max(params["users"], 4) if warmup is None else warmup,
        **{
            name: params[name]
            for name in (
                "api",
                "model",
                "users",
                "requests",
                "prompt_tokens",
                "output_tokens",
                "seed",
                "ignore_eos",
                "extra_body",
            )
        },
    )


def main() -> None:
    """Run the module."""
    began = time.monotonic()
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    workload = _workload(module)
    try:
        endpoint = endpoint_from_params(params)
    except EndpointError as exc:
        module.fail_json(msg=str(exc))
    if module.check_mode:
        module.exit_json(changed=False, report=None)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    run = measure(workload, endpoint, params["max_seconds"], params["request_timeout_seconds"], stop)
    report = build_report(workload, run, started_at)
    path = params["result_path"]
    if path:
        try:
            write_json_atomic(path, report, 0o640)
        except OSError as exc:
            module.fail_json(
                msg=f"result_path: {path} cannot be written ({exc}); make its directory or name another", report=report
            )
    requests = report["requests"]
    if run.interrupted:
        kept = f"what was measured is in {path}" if path else "give result_path to keep what was measured"
        module.fail_json(
            msg=f"interrupted after {requests['issued']} of {workload.requests} requests; {kept}", report=report
        )
    share = requests["failed"] / requests["issued"] if requests["issued"] else 1.0
    if not requests["succeeded"] or share > params["max_error_share"]:
        which = "every one" if not requests["succeeded"] else requests["failed"]
        told = error_sentence(requests["errors"])
        module.fail_json(msg=f"{params['url']}: {which} of {requests['issued']} requests failed: {told}", report=report)
    module.exit_json(changed=False, report=report, seconds=round(time.monotonic() - began, 3))


if __name__ == "__main__":
    main()
