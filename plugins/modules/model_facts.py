#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_facts
short_description: Read what a model is from the headers of its files
version_added: 0.1.0
description:
  - Reads the header of a GGUF model (version 2 or 3, one file or several parts) or of a safetensors model
    (one file or several, with C(config.json)), and returns the size of the weights, the number of layers and heads,
    the longest context and more. Changes nothing.
  - It never reads the weights. Lists in the header, such as the vocabulary, are stepped over.
  - A header that does not fit the file is an error with the file and the place, so a truncated copy is noticed.
  - Also lists files that could run code when they are loaded.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  path:
    description: Directory of the model, or one file of it.
    type: path
    required: true
  entry:
    description:
      - File or directory inside O(path) that is the model, such as C(model.gguf).
      - Needed when the directory has several models. For a model in parts, name the first part.
    type: str
    default: ""
seealso:
  - module: local_llm.ops.model_directory
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Read what a published model is
  local_llm.ops.model_facts:
    path: /var/lib/local_llm/models/tiny/r1
    entry: model.gguf
  register: model

- name: Refuse a model that brings code of its own
  ansible.builtin.assert:
    that:
      - not model.facts.needs_remote_code
      - model.facts.unsafe_files | length == 0
"""

RETURN = r"""
facts:
  description: The facts. Every key is always there; null means that the files do not say it.
  returned: always
  type: dict
  contains:
    schema:
      description: Version of this set of keys.
      type: int
    format:
      description: V(gguf) or V(safetensors).
      type: str
    architecture:
      description: Family of the model, such as C(llama).
      type: str
    parameters:
      description: Number of weights; null for a quantised safetensors model that packs several into one number.
      type: int
    weights_bytes:
      description: Bytes of all tensors on the disk.
      type: int
    dtypes:
      description: Type of tensors to the bytes they have.
      type: dict
    quantisation:
      description: Name of the quantisation, such as C(Q4_K_M), C(fp8) or C(awq); null for none.
      type: str
    quantisation_scheme:
      description:
        - The form of a quantisation that has several, such as C(w8a8-fp8), C(w4a16-int) or C(modelopt); null where
          there is one form only, or it is not known. Several forms in one model stand with C(+) between them.
      type: str
    layers:
      description: Number of layers.
      type: int
    attention_heads:
      description: Number of heads of the attention.
      type: int
    kv_heads:
      description: Number of heads in the cache, or a list with one number per layer; null when it cannot be counted.
      type: raw
    head_dim:
      description: Numbers in a key of one head.
      type: int
    value_head_dim:
      description: Numbers in a value of one head.
      type: int
    hidden_size:
      description: Width of the model.
      type: int
    vocabulary_size:
      description: Number of tokens the model knows.
      type: int
    max_context_tokens:
      description: The longest context that the model was made for.
      type: int
    sliding_window_tokens:
      description: How far back the sliding layers look.
      type: int
    sliding_window_layers:
      description: How many layers slide.
      type: int
    mla:
      description: For a model with a compressed cache, C(kv_lora_rank) and C(rope_head_dim).
      type: dict
    experts:
      description: Number of experts.
      type: int
    tied_embeddings:
      description: Whether input and output share one matrix.
      type: bool
    needs_remote_code:
      description: Whether the configuration names code of the model's own (C(auto_map)).
      type: bool
    unsafe_files:
      description: Files in the directory that could run code when they are loaded.
      type: list
      elements: str
    unknown:
      description: Why the memory for the cache cannot be counted from these facts. Empty when it can.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import model_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "entry": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    try:
        facts = model_facts(module.params["path"], module.params["entry"])
    except HeaderError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, facts=facts)


if __name__ == "__main__":
    main()
