#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module llm_metric_contract: does an engine show the metrics that the rules read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_metric_contract
short_description: See whether an engine shows every metric, label and bucket that the rules read
version_added: 0.1.0
description:
  - Reads C(/metrics) of a model server on its host, and holds it against what the rules of the filter
    P(local_llm.ops.slo_rules#filter) read for this instance - names, labels with their values, and buckets of
    histograms.
  - A metric that an engine version has renamed would leave a rule without a series, and no alert would ever come. Here
    it is a V(fail) that names the metric and, where that is known, what it is called now.
  - Of an engine version that C(slo_metrics.yml) does not know, the rules take the names of the newest known version.
    What is missing there proves nothing, and is V(inconclusive).
  - An engine without C(/metrics) (Ollama) is told as not measured by metrics, and passes.
  - Some series come with the first request only. Ask after the engine has answered some.
  - What the rules read is worked out on the controller. The verdict is a result; the module fails only when it cannot
    ask, unless O(fail_unless_pass) is set.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
  - local_llm.ops.llm_endpoint
options:
  instance:
    description:
      - The instance as in C(local_llm_instances). Read are C(name), C(engine), C(engine_version), C(model), C(pool),
        C(slo_tier) and C(config).
    type: dict
    required: true
  pools:
    description: C(local_llm_pools), for limits that a pool sets for itself.
    type: dict
    default: {}
  slo_tiers:
    description: C(local_llm_slo_tiers), the tiers of the site.
    type: dict
    default: {}
  settings:
    description: What holds for single pools, as the filter takes it.
    type: dict
    default: {}
  extra_groups:
    description: Rule groups of your own, as the filter takes them.
    type: list
    elements: dict
    default: []
  required_series:
    description:
      - What must be there, instead of what the rules read. Each item has C(metric), and if wanted C(labels) (name to
        value), C(label_names), C(buckets) (values of C(le)), C(rules) (who reads it) and C(also_called).
    type: list
    elements: dict
  unknown_version:
    description:
      - Engine and version, when nobody knows which metrics this version has. Worked out on the controller when it is
        left out.
    type: str
  timeout_seconds:
    description: Time for the page.
    type: float
    default: 10.0
  fail_unless_pass:
    description: Fail when the verdict is not V(pass).
    type: bool
    default: false
seealso:
  - plugin: local_llm.ops.slo_rules
    plugin_type: filter
  - module: local_llm.ops.llm_info
"""

EXAMPLES = r"""
---
- name: See whether the alerts can see this engine
  local_llm.ops.llm_metric_contract:
    url: http://127.0.0.1:8001
    instance: {name: chat, engine: vllm, engine_version: 0.33.0, model: chat-8b, pool: chat, slo_tier: enhanced}
    fail_unless_pass: true
"""

RETURN = r"""
verdict:
  description: The verdict, in the shape of M(local_llm.ops.rollout_verdict).
  returned: success
  type: dict
  sample:
    schema: 1
    verdict: fail
    reasons:
      - measure: metric vllm:kv_cache_usage_perc
        observed: missing; it is called vllm:gpu_cache_usage_perc there
        threshold: there, for a rule that reads a series that is not there never fires
        rule: "These rules go blind: local_llm:kv_cache_used."
        status: fail
    statistics: null
    summary: "Fail: the metrics lack what the rules read: vllm:kv_cache_usage_perc (missing; it is called ... there)."
findings:
  description: One finding for each series that must be there.
  returned: success
  type: list
  elements: dict
measured:
  description: Whether the engine has metrics at all.
  returned: success
  type: bool
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.02
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import (
    ENDPOINT_ARGS,
    EndpointError,
    endpoint_from_params,
)
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import request
from ansible_collections.local_llm.ops.plugins.module_utils._metric_contract import (
    contract_findings,
    contract_verdict,
    no_page_verdict,
    not_measured,
)

ARGUMENTS = {
    **ENDPOINT_ARGS,
    "instance": {"type": "dict", "required": True},
    "pools": {"type": "dict", "default": {}},
    "slo_tiers": {"type": "dict", "default": {}},
    "settings": {"type": "dict", "default": {}},
    "extra_groups": {"type": "list", "elements": "dict", "default": []},
    "required_series": {"type": "list", "elements": "dict"},
    "unknown_version": {"type": "str"},
    "timeout_seconds": {"type": "float", "default": 10.0},
    # no_log: false, since Ansible takes every name with "pass" in it for a secret.
    "fail_unless_pass": {"type": "bool", "default": False, "no_log": False},
}


def main() -> None:
    """Run the module."""
    began = time.monotonic()
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    required, unknown = params["required_series"], params["unknown_version"] or ""
    if required is None:
        module.fail_json(msg="required_series: it is missing; the controller works it out, so run this as a task")
    if params["timeout_seconds"] <= 0:
        module.fail_json(msg=f"timeout_seconds: {params['timeout_seconds']} leaves no time; use a number above 0")
    try:
        endpoint = endpoint_from_params(params)
    except EndpointError as exc:
        module.fail_json(msg=str(exc))
    if not required:
        findings = [not_measured(str(params["instance"].get("engine")))]
        verdict = contract_verdict(findings)
    else:
        answer = request(endpoint, "/metrics", params["timeout_seconds"])
        if answer.status == 200 and answer.error is None:
            findings = contract_findings(required, answer.body.decode("utf-8", "replace"), unknown)
            verdict = contract_verdict(findings, unknown)
        else:
            detail = answer.detail or f"status {answer.status}"
            # A server that is busy or has a fault now proves nothing; one that says that it has no such page does.
            refused = answer.error is None and answer.status in (401, 403, 404, 405, 501)
            findings, verdict = [], no_page_verdict(params["url"].rstrip("/"), detail, refused, unknown)
    result = {
        "changed": False,
        "verdict": verdict,
        "findings": findings,
        "measured": bool(required),
        "seconds": round(time.monotonic() - began, 3),
    }
    if params["fail_unless_pass"] and verdict["verdict"] != "pass":
        module.fail_json(msg=verdict["summary"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
