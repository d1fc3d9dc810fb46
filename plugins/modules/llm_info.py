#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module llm_info: what a model server says about itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_info
short_description: Ask a model server what it runs and how it does
version_added: 0.1.0
description:
  - Asks the health, model, version and metrics pages of a model server and returns one shape for all engines.
  - It never hangs, and a server that does not answer is a result (V(dead)), not a failure.
author:
  - local_llm.ops contributors (@local-llm-ops)
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
  - local_llm.ops.llm_endpoint
options:
  engine:
    description: Engine that serves there. An unknown one is refused with the names of the known ones.
    type: str
    required: true
  timeout_seconds:
    description: Time for all pages together.
    type: float
    default: 5.0
seealso:
  - module: local_llm.ops.llm_benchmark
  - module: local_llm.ops.llm_quality
"""

EXAMPLES = r"""
---
- name: Wait until the model is loaded
  local_llm.ops.llm_info:
    url: http://127.0.0.1:8001
    engine: llamacpp
  register: info
  until: info.status == 'ready'
  retries: 60
  delay: 1
"""

RETURN = r"""
engine:
  description: The engine asked for.
  returned: success
  type: str
  sample: llamacpp
version:
  description: Version or build that runs, as the server says it, or null.
  returned: success
  type: str
  sample: b11669-Debian
status:
  description:
    - V(ready) when it serves, V(loading) when it has no model yet, V(dead) when it does not answer.
    - An engine that opens its port only when its model is loaded, as vLLM, is V(loading) while its process runs on
      this host.
  returned: success
  type: str
  sample: ready
detail:
  description: Why it is not ready, or which pages gave nothing. Empty when all is well.
  returned: success
  type: str
  sample: ""
served_models:
  description: Names under which models are served, aliases included.
  returned: success
  type: list
  elements: str
  sample: [chat]
queue_depth:
  description: Requests that wait, or null when the engine does not tell.
  returned: success
  type: int
  sample: 0
in_flight:
  description: Requests that run, or null when the engine does not tell.
  returned: success
  type: int
  sample: 2
metrics:
  description: The metrics page in names that are the same for all engines; null for what the engine does not tell.
  returned: success
  type: dict
  sample:
    requests_running: 2
    requests_waiting: 0
    requests_max: 4
    requests_finished_total: null
    prompt_tokens_total: 1920
    prompt_tokens_cached_total: 0
    prompt_seconds_total: 1.2
    generated_tokens_total: 1920
    generation_seconds_total: 2.5
    prompt_tokens_per_second: 1600.0
    generated_tokens_per_second: 768.0
    kv_cache_used_share: null
    preemptions_total: null
    ttft_seconds_sum: null
    ttft_seconds_count: null
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import (
    ENDPOINT_ARGS,
    EndpointError,
    endpoint_from_params,
)
from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import UnknownEngine, engine_info


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ENDPOINT_ARGS,
            "engine": {"type": "str", "required": True},
            "timeout_seconds": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    timeout = module.params["timeout_seconds"]
    if timeout <= 0:
        module.fail_json(msg=f"timeout_seconds: {timeout} leaves no time; use a number above 0")
    try:
        info = engine_info(module.params["engine"], endpoint_from_params(module.params), timeout)
    except (EndpointError, UnknownEngine) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, **info)


if __name__ == "__main__":
    main()
