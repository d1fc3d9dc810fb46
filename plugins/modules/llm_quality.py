#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module llm_quality: ask golden prompts and compare the answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_quality
short_description: Ask golden prompts and compare the answers with what is expected
version_added: 0.1.0
description:
  - Asks each prompt of a suite once, greedily (temperature 0, fixed seed, no prompt cache), one after the other.
  - An item with O(suite[].expected) or O(suite[].pattern) is judged by those. An item with neither is judged by the
    answer that was recorded in O(golden_path).
  - Results carry hashes and similarities, never texts. The file in O(golden_path) holds texts and is for root only.
  - A suite that is not passed is a result (RV(report.ok) is V(false)), not a failure, unless O(fail_unless_ok) is set.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.llm_endpoint
attributes:
  check_mode:
    support: full
    details: The prompts are asked in check mode too; nothing is recorded.
  diff_mode:
    support: full
    details: Shows which recorded answers change, as hashes.
  idempotent:
    support: partial
    details: Recording changes the file when the answers changed; a model that is not deterministic records anew each
      time.
options:
  model:
    description: Served name of the model.
    type: str
    required: true
  suite:
    description: The prompts.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Name of the item, used once.
        type: str
        required: true
      prompt:
        description: What to ask, as one user message.
        type: str
        required: true
      max_tokens:
        description: Longest answer.
        type: int
        default: 32
      expected:
        description: Text that the answer must equal, or resemble by O(min_similarity).
        type: str
      pattern:
        description: Regular expression (Python) that must be found in the answer.
        type: str
  golden_path:
    description:
      - File with recorded answers on the host where the module runs. Its directory must exist.
      - Needed by items with neither O(suite[].expected) nor O(suite[].pattern).
    type: path
  record:
    description:
      - Write the answers to O(golden_path) (mode 0600, replaced in one step) instead of comparing with it.
      - Nothing is written when any item has no answer or misses its own O(suite[].expected) or O(suite[].pattern).
      - Do this once against a release that you trust.
    type: bool
    default: false
  min_similarity:
    description:
      - Smallest similarity that counts as right, 0 to 1. V(1) means equal.
      - It is twice the characters that match in order (Python's difflib) over all characters; what differs in a long
        answer is compared by whole words.
    type: float
    default: 1.0
  min_pass_share:
    description: Smallest share of items that must pass for RV(report.ok), 0 to 1. Items with an error do not pass.
    type: float
    default: 1.0
  request_timeout_seconds:
    description: Time for one answer.
    type: float
    default: 30.0
  fail_unless_ok:
    description: Whether the module fails when RV(report.ok) is V(false).
    type: bool
    default: false
seealso:
  - module: local_llm.ops.llm_benchmark
  - module: local_llm.ops.rollout_verdict
"""

EXAMPLES = r"""
---
- name: Record what the trusted release answers
  local_llm.ops.llm_quality:
    url: http://127.0.0.1:8001
    model: chat
    suite: "{{ golden_prompts }}"
    golden_path: /var/lib/local_llm/instances/chat/evidence/golden.json
    record: true

- name: Ask the new release the same
  local_llm.ops.llm_quality:
    url: http://127.0.0.1:8001
    model: chat
    suite:
      - {id: capital, prompt: "What is the capital of France? One word.", pattern: "(?i)paris"}
      - {id: invoice, prompt: "Total of 3 items at 4 euro each, as a number.", max_tokens: 8}
    golden_path: /var/lib/local_llm/instances/chat/evidence/golden.json
  register: quality
"""

RETURN = r"""
seconds:
  description: How long it measured, warm-up included.
  returned: success
  type: float
  sample: 4.2
report:
  description:
    - The quality report, schema 1. Its C(items) have C(id), C(status) (pass, fail or error), C(match) (exact,
      similar or
      none), C(similarity) (0 to 1, null when there is no text to compare with), C(sha256), C(expected_sha256) and
      C(detail).
  returned: always, once the suite was read
  type: dict
  contains:
    suite_sha256:
      description: Digest of the suite. Reports with the same digest asked the same.
      type: str
    passed:
      description: How many prompts were passed.
      type: int
    failed:
      description: How many prompts had another answer than expected.
      type: int
    errors:
      description: How many prompts had no answer.
      type: int
    pass_share:
      description: Share of the prompts that were passed, 0 to 1.
      type: float
    min_pass_share:
      description: The share that was asked for in O(min_pass_share).
      type: float
    ok:
      description: Whether enough prompts were passed.
      type: bool
  sample:
    schema: 1
    kind: quality
    suite_sha256: 3f5a0c9e6d1b42d0a6a6b8f5d7c7e0a1b2c3d4e5f60718293a4b5c6d7e8f9012
    passed: 2
    failed: 0
    errors: 0
    pass_share: 1.0
    min_pass_share: 1.0
    ok: true
golden_path:
  description: The file that was compared with or written, or null.
  returned: success
  type: str
  sample: /var/lib/local_llm/instances/chat/evidence/golden.json
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils import _golden, _quality
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import (
    ENDPOINT_ARGS,
    Endpoint,
    EndpointError,
    endpoint_from_params,
)
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer, request

ARGUMENTS: dict[str, dict[str, Any]] = {
    **ENDPOINT_ARGS,
    "model": {"type": "str", "required": True},
    "suite": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "prompt": {"type": "str", "required": True},
            "max_tokens": {"type": "int", "default": 32, "no_log": False},
            "expected": {"type": "str"},
            "pattern": {"type": "str"},
        },
    },
    "golden_path": {"type": "path"},
    "record": {"type": "bool", "default": False},
    "min_similarity": {"type": "float", "default": 1.0},
    "min_pass_share": {"type": "float", "default": 1.0, "no_log": False},
    "request_timeout_seconds": {"type": "float", "default": 30.0},
    "fail_unless_ok": {"type": "bool", "default": False},
}


def _record(
    module: AnsibleModule, items: list[_quality.Item], replies: dict[str, _quality.Reply], old: dict[str, Any] | None
) -> None:
    """Write the golden file from the answers and leave the module."""
    params = module.params
    answers = {item.id: (item.prompt_sha256, replies[item.id].text or "") for item in items}
    new = _golden.make_golden(params["model"], _quality.suite_sha256(items), answers)
    results = [_quality.judge_item(item, replies[item.id], new, params["min_similarity"]) for item in items]
    report = _quality.build_report(items, results, params["min_pass_share"])
    bad = [f"{result['id']}: {result['detail']}" for result in results if result["status"] != "pass"]
    if bad:
        module.fail_json(
            msg=f"nothing was recorded, because not every answer can be trusted: {'; '.join(bad)}", report=report
        )
    changed = new != old
    if changed and not module.check_mode:
        try:
            _golden.save_golden(params["golden_path"], new)
        except OSError as exc:
            module.fail_json(
                msg=f"golden_path: {params['golden_path']} cannot be written ({exc}); make its directory", report=report
            )
    before, after = (json.dumps(_golden.hashes_of(golden), indent=1, sort_keys=True) + "\n" for golden in (old, new))
    module.exit_json(
        changed=changed, report=report, golden_path=params["golden_path"], diff={"before": before, "after": after}
    )


def _post(endpoint: Endpoint, timeout: float) -> _quality.Post:
    def post(payload: dict[str, Any]) -> Answer:
        return request(endpoint, _quality.URL_PATH, timeout, payload)

    return post


def main() -> None:
    """Run the module."""
    began = time.monotonic()
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("record", True, ["golden_path"])], supports_check_mode=True
    )
    params = module.params
    for name in ("min_similarity", "min_pass_share"):
        if not 0 <= params[name] <= 1:
            module.fail_json(msg=f"{name}: {params[name]} is outside 0 to 1; write a share, such as 0.9 for 90 %")
    if params["request_timeout_seconds"] <= 0:
        module.fail_json(
            msg=f"request_timeout_seconds: {params['request_timeout_seconds']} leaves no time; use a number above 0"
        )
    try:
        items = _quality.parse_suite(params["suite"])
        endpoint = endpoint_from_params(params)
        # A damaged file must not stop the recording that mends it.
        golden = _golden.load_golden(params["golden_path"]) if params["golden_path"] and not params["record"] else None
    except (_quality.SuiteError, EndpointError, _golden.GoldenError) as exc:
        module.fail_json(msg=str(exc))
    replies = _quality.ask(items, params["model"], _post(endpoint, params["request_timeout_seconds"]))
    if params["record"]:
        try:
            golden = _golden.load_golden(params["golden_path"])
        except _golden.GoldenError as exc:
            module.warn(str(exc))
        _record(module, items, replies, golden)
    results = [_quality.judge_item(item, replies[item.id], golden, params["min_similarity"]) for item in items]
    report = _quality.build_report(items, results, params["min_pass_share"])
    if params["fail_unless_ok"] and not report["ok"]:
        bad = [f"{result['id']}: {result['detail']}" for result in results if result["status"] != "pass"]
        module.fail_json(
            msg=f"{report['passed']} of {len(items)} golden prompts passed: {'; '.join(bad)}", report=report
        )
    seconds = round(time.monotonic() - began, 3)
    module.exit_json(changed=False, report=report, golden_path=params["golden_path"], seconds=seconds)


if __name__ == "__main__":
    main()
