#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ollama_model: a model on a running Ollama server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_model
short_description: Keep a model on a running Ollama server, by tag and digest
version_added: 0.1.0
description:
  - Fetches, checks, loads and removes a model of a server whose models change in place, such as one that people try
    models on. An instance of this collection does not need it. Its releases bring their model as verified files, and
    its store refuses changes.
  - Ollama fetches by tag only, and a tag can be moved. So the module compares the digest after the fetch, and lets the
    name go back to what it was when the digest is another one.
  - Before a fetch that moves a name, the old content is copied to C(<model>:prev-<first 12 digits of its digest>).
    Without the copy, Ollama deletes the old layers at once.
  - An error that the server writes into a stream with status 200 is an error.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.llm_endpoint
attributes:
  check_mode:
    support: full
    details: The server is asked and nothing is changed. What the registry would send is not known.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - Without O(digest), a name that is there is left as it is, whatever the registry has by now.
options:
  name:
    description:
      - Name of the model as Ollama writes it, such as V(llama3.2:1b) or V(registry.example.com/team/chat:v2).
      - Without a tag it means C(latest).
    type: str
    required: true
    aliases: [model]
  state:
    description:
      - V(present) fetches the model when it is missing, has another digest, or has damaged files.
      - V(absent) removes the name. With O(digest), only when it has that digest.
    type: str
    choices: [present, absent]
    default: present
  digest:
    description:
      - Digest that the model must have, 64 hex digits as C(/api/tags) shows it, with or without C(sha256:) in front. It
        is the SHA-256 of the manifest, so it stands for every file of the model.
      - When a content with this digest is kept on the server under another name, it is taken from there, without the
        registry.
    type: str
  keep_rollback:
    description: Whether the old content stays under its rollback name after a fetch that moved the name.
    type: bool
    default: true
  remove_rollback:
    description: With O(state=absent), whether the rollback names of the model are removed, too.
    type: bool
    default: false
  models_directory:
    description:
      - The server's C(OLLAMA_MODELS) on the host where the module runs. When given, every file of the model is hashed
        in each run, and a damaged one is fetched again. The server itself does not look at a file that it has.
    type: path
  preload:
    description: Whether to bring the model into memory and keep it there for O(keep_alive_seconds).
    type: bool
    default: false
  keep_alive_seconds:
    description: How long a loaded model stays in memory without a request. V(-1) is for ever.
    type: int
    default: -1
  insecure:
    description: Whether the server may fetch from a registry without TLS.
    type: bool
    default: false
  timeout_seconds:
    description: Longest time for a fetch.
    type: float
    default: 7200.0
  silence_seconds:
    description: Longest silence of the server during a fetch.
    type: float
    default: 180.0
  request_timeout_seconds:
    description: Longest time for a short request.
    type: float
    default: 30.0
  load_timeout_seconds:
    description: Longest time for bringing the model into memory.
    type: float
    default: 600.0
notes:
  - A loaded model of which a part does not fit into GPU memory is a warning that begins with C(spill).
seealso:
  - module: local_llm.ops.llm_info
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Have a model, exactly this content, in memory for ever
  local_llm.ops.ollama_model:
    url: http://127.0.0.1:11434
    name: llama3.2:1b
    digest: 4ea2f131f0490311d9df9cfcad3b9347989a673e1d1058f45772b9ec3a2bdbf2
    preload: true

- name: Look at its files, too
  local_llm.ops.ollama_model:
    url: http://127.0.0.1:11434
    name: llama3.2:1b
    models_directory: /usr/share/ollama/.ollama/models

- name: Remove it with its old contents
  local_llm.ops.ollama_model:
    url: http://127.0.0.1:11434
    name: llama3.2:1b
    state: absent
    remove_rollback: true
"""

RETURN = r"""
name:
  description: Name of the model with its tag, as the server lists it.
  returned: always
  type: str
  sample: llama3.2:1b
digest:
  description: Digest of the name now, or as predicted in check mode. Null when the name is not there.
  returned: success
  type: str
rollback_name:
  description: Name that keeps the old content, when the name was moved.
  returned: success
  type: str
  sample: llama3.2:prev-4ea2f131f049
removed:
  description: Names that were removed, or would be.
  returned: success
  type: list
  elements: str
verified_blobs:
  description: How many files of the model were hashed.
  returned: success
  type: int
loaded:
  description: What the server says about the model in memory; null unless O(preload=true).
  returned: success
  type: dict
  sample: {size: 3435668, size_vram: 3435668, expires_at: "2312-02-03T02:32:23Z", context_length: 4096}
spill:
  description: Which part of the loaded model is not in GPU memory; empty when all of it is, or without O(preload).
  returned: success
  type: str
progress:
  description: The last state of each step of the fetch, at most 50.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import (
    ENDPOINT_ARGS,
    EndpointError,
    endpoint_from_params,
)
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_client import HttpClient, OllamaError
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_model import absent, present, read_wish
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import (
    OllamaStoreError,
    parse_digest,
    parse_name,
)

TIMES = {
    "timeout_seconds": 7200.0,
    "silence_seconds": 180.0,
    "request_timeout_seconds": 30.0,
    "load_timeout_seconds": 600.0,
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the options ask for; return the module's result."""
    params = module.params
    for name in TIMES:
        if params[name] <= 0:
            raise OllamaStoreError(f"{name} = {params[name]}: leaves no time; use a number above 0.")
    wish = read_wish(parse_name, params, parse_digest(params["digest"]) if params["digest"] is not None else None)
    client = HttpClient(
        endpoint=endpoint_from_params(params),
        url=params["url"].rstrip("/"),
        insecure=params["insecure"],
        **{name: params[name] for name in TIMES},
    )
    step = present if params["state"] == "present" else absent
    outcome = step(client, wish, module.check_mode)
    for text in outcome.warnings:
        module.warn(text)
    header = f"model {wish.name.short}"
    return {
        "changed": outcome.changed,
        "name": wish.name.short,
        "digest": outcome.after.get("digest"),
        "rollback_name": outcome.rollback,
        "removed": outcome.removed,
        "verified_blobs": outcome.verified_blobs,
        "loaded": outcome.loaded,
        "spill": outcome.spill,
        "progress": outcome.progress,
        "diff": {
            "before": outcome.before,
            "after": outcome.after,
            "before_header": header,
            "after_header": header,
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ENDPOINT_ARGS,
            "name": {"type": "str", "required": True, "aliases": ["model"]},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "digest": {"type": "str"},
            "keep_rollback": {"type": "bool", "default": True},
            "remove_rollback": {"type": "bool", "default": False},
            "models_directory": {"type": "path"},
            "preload": {"type": "bool", "default": False},
            "keep_alive_seconds": {"type": "int", "default": -1},
            "insecure": {"type": "bool", "default": False},
            **{name: {"type": "float", "default": seconds} for name, seconds in TIMES.items()},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (EndpointError, OllamaStoreError, OllamaError) as error:
        module.fail_json(msg=str(error), name=module.params["name"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
