#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_artifact
short_description: Bring the files of a model from a hub, an HTTP server or a directory, pinned by SHA-256
version_added: 0.1.0
description:
  - Makes the manifest of a model (path, size, SHA-256), brings files, and hashes files again.
  - A download goes on where an earlier run stopped. Files are hashed while they come. A file has its name only when it
    is right, so nothing is ever half there. M(local_llm.ops.model_directory) then publishes the whole model.
  - Before anything is written it refuses what does not pin its content, files that can run code (pickles, C(*.py),
    C(auto_map)), unknown formats, and models for which there is no room.
  - An action on the controller shows the progress of tasks that run there, and serves its files with
    O(source=controller).
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: It asks the source for names and sizes, and writes nothing.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: O(state=manifest) with O(paths) fetches the files each time; nobody knows their digests yet.
options:
  state:
    description:
      - V(manifest) makes the manifest. Large files of a hub are not fetched for it; the hub tells their SHA-256.
      - V(fetched) brings every file that is missing in O(directory).
      - V(verified) hashes the files of a published directory again and fails when one differs.
    type: str
    choices: [manifest, fetched, verified]
    required: true
  name:
    description: Name of the model, for messages.
    type: str
    required: true
  source:
    description:
      - V(hf) is a model hub or a mirror of one. V(http) is an HTTP server. V(directory) is a directory on this machine.
      - V(controller) is the controller itself, for the time of the play. Its cache is O(controller_directory), where
        V(fetched) with O(directory_layout=sha256) has put the files. Only with O(state=fetched).
    type: str
    choices: [hf, http, directory, controller]
  repo:
    description: Repository on the hub, as owner/name. For O(source=hf).
    type: str
  revision:
    description: Commit of the repository, 40 hex digits. Nothing else pins the content. For O(source=hf).
    type: str
  endpoint:
    description: Address of the hub or of a mirror. The variable E(HF_ENDPOINT) of the environment is the default.
    type: str
  token:
    description:
      - Token for the source, sent as bearer token to the server of the address only, not to where it redirects.
      - For O(source=hf) the variable E(HF_TOKEN) of the environment is the default.
    type: str
  url:
    description: Address below which the files lie. For O(source=http).
    type: str
  url_layout:
    description: Whether the files have their path below O(url), or their SHA-256.
    type: str
    choices: [path, sha256]
    default: path
  path:
    description: Directory on this machine. For O(source=directory).
    type: path
  paths:
    description:
      - Names of the files below O(url), to make a manifest of them. Each is fetched into O(directory).
      - Without O(paths) and O(files) the C(manifest.json) at O(url) is read, as published models have it.
    type: list
    elements: str
    default: []
  include:
    description:
      - Patterns of the files to take. For O(source=hf) and O(source=directory).
      - Empty means safetensors, GGUF, JSON, templates and tokenizer files.
    type: list
    elements: str
    default: []
  exclude:
    description: Patterns of files to leave out.
    type: list
    elements: str
    default: []
  allow:
    description:
      - Names of files that are taken although they can run code or have an unknown format. V(auto_map) allows
        configuration files that point at code of the repository.
    type: list
    elements: str
    default: []
  files:
    description: Path to SHA-256 of every file. Needed with O(state=fetched).
    type: dict
    default: {}
  sizes:
    description: Path to size in bytes. What is not here is asked from the source.
    type: dict
    default: {}
  manifest_sha256:
    description: Digest that the manifest must have.
    type: str
  manifest_directory:
    description:
      - Directory on the controller where manifests are kept by their digest. With O(manifest_sha256) the one that was
        made before is used and the source is not asked.
      - With O(state=fetched) the manifest that is kept there is forgotten when a file does not come as it says.
    type: path
  directory:
    description: Where the files are brought to; with O(state=verified) the published directory.
    type: path
  directory_layout:
    description: Whether the files have their path in O(directory), or their SHA-256 (a cache).
    type: str
    choices: [path, sha256]
    default: path
  controller_directory:
    description: Cache on the controller that is served to the host. For O(source=controller).
    type: path
  controller_manifest_directory:
    description:
      - Directory on the controller with the manifests that O(manifest_directory) kept there, for a task on a host.
      - The manifest is forgotten when a file does not come as it says, so that the next run asks the source anew.
    type: path
  controller_address:
    description:
      - Address of the controller at which hosts reach it. By default the one from which packets to the host leave.
    type: str
  controller_bytes_per_second:
    description: Most bytes per second that the controller sends, to all hosts together. V(0) means no limit.
    type: int
    default: 0
  allow_unreachable:
    description: Whether a source that nothing can connect to is told in RV(reachable) instead of failing.
    type: bool
    default: false
  reserve_bytes:
    description: Bytes that must stay free on the file system.
    type: int
    default: 1073741824
  quota_bytes:
    description: Most bytes that all files in O(directory) may have together. V(0) means no limit.
    type: int
    default: 0
  bytes_per_second:
    description: Most bytes per second to fetch or to hash. V(0) means no limit.
    type: int
    default: 0
  retries:
    description: How often a broken connection is made again, with growing waits.
    type: int
    default: 3
  timeout_seconds:
    description: How long the source may be silent.
    type: int
    default: 60
  use_proxy:
    description: Whether proxies of the environment are used.
    type: bool
    default: true
  ca_path:
    description: File with the certificates of the authorities that O(url) or O(endpoint) is checked with.
    type: path
  progress_path:
    description: File that holds the counts of a running download as JSON. Set by the action on the controller.
    type: path
notes:
  - O(source=hf) needs the Python library C(huggingface_hub) where the module runs, which is the controller. Hosts need
    nothing; they fetch from the controller, from a mirror, or over the connection of Ansible.
seealso:
  - module: local_llm.ops.model_directory
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Make the manifest of a model on a hub
  local_llm.ops.model_artifact:
    state: manifest
    name: chat-8b
    source: hf
    repo: org/chat-8b
    revision: 0123456789abcdef0123456789abcdef01234567
  delegate_to: localhost
  register: made

- name: Show what belongs into local_llm_models
  ansible.builtin.debug:
    var: made.definition

- name: Bring its files into a cache
  local_llm.ops.model_artifact:
    state: fetched
    name: chat-8b
    source: hf
    repo: org/chat-8b
    revision: 0123456789abcdef0123456789abcdef01234567
    files: "{{ made.files }}"
    sizes: "{{ made.sizes }}"
    directory: /srv/cache/blobs
    directory_layout: sha256
  delegate_to: localhost

- name: Hash a published model again, at 100 MB per second
  local_llm.ops.model_artifact:
    state: verified
    name: chat-8b
    directory: /var/lib/local_llm/models/chat-8b/r1
    bytes_per_second: 100000000
"""

RETURN = r"""
wrong_content: {description: Whether a whole file came and has another SHA-256., returned: failure, type: bool}
files:
  description: Path to SHA-256.
  returned: with O(state=manifest)
  type: dict
sizes:
  description: Path to size in bytes.
  returned: with O(state=manifest) and O(state=fetched)
  type: dict
total_bytes:
  description: Sum of the sizes.
  returned: with O(state=manifest)
  type: int
manifest_sha256:
  description: Digest of the manifest, SHA-256 over the canonical JSON of RV(files).
  returned: with O(state=manifest)
  type: str
left_out:
  description: Files of the source that O(include) and O(exclude) left out.
  returned: with O(state=manifest)
  type: list
  elements: str
definition:
  description: What belongs into C(local_llm_models) under the name of the model.
  returned: with O(state=manifest)
  type: dict
fetched_files:
  description: Files that came in this run.
  returned: with O(state=fetched)
  type: list
  elements: str
missing_files:
  description: Files that are still missing; in check mode those that would come.
  returned: with O(state=fetched)
  type: list
  elements: str
received_bytes:
  description: Bytes that came over the network in this run.
  returned: with O(state=fetched)
  type: int
resumed_bytes:
  description: Bytes of the fetched files that had come in an earlier run.
  returned: with O(state=fetched)
  type: int
reachable:
  description: Whether the source could be reached. V(false) only with O(allow_unreachable=true).
  returned: with O(state=fetched)
  type: bool
hashed_files:
  description: How many files were hashed.
  returned: with O(state=verified)
  type: int
hashed_bytes:
  description: How many bytes were hashed.
  returned: with O(state=verified)
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_fetch import Pace, WrongDigest
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_hub import LIBRARY, LibraryMissing
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import ArtifactError
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_steps import Params, fetch_files, make_manifest
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import (
    TreeError,
    find_changes,
    read_manifest,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["manifest", "fetched", "verified"], "required": True},
    "name": {"type": "str", "required": True},
    "source": {"type": "str", "choices": ["hf", "http", "directory", "controller"]},
    "repo": {"type": "str"},
    "revision": {"type": "str"},
    "endpoint": {"type": "str", "fallback": (env_fallback, ["HF_ENDPOINT"])},
    "token": {"type": "str", "no_log": True},
    "url": {"type": "str"},
    "url_layout": {"type": "str", "choices": ["path", "sha256"], "default": "path"},
    "path": {"type": "path"},
    "paths": {"type": "list", "elements": "str", "default": []},
    "include": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "allow": {"type": "list", "elements": "str", "default": []},
    "files": {"type": "dict", "default": {}},
    "sizes": {"type": "dict", "default": {}},
    "manifest_sha256": {"type": "str"},
    "manifest_directory": {"type": "path"},
    "directory": {"type": "path"},
    "directory_layout": {"type": "str", "choices": ["path", "sha256"], "default": "path"},
    "controller_directory": {"type": "path"},
    "controller_manifest_directory": {"type": "path"},
    "controller_address": {"type": "str"},
    "controller_bytes_per_second": {"type": "int", "default": 0},
    "allow_unreachable": {"type": "bool", "default": False},
    "reserve_bytes": {"type": "int", "default": 1073741824},
    "quota_bytes": {"type": "int", "default": 0},
    "bytes_per_second": {"type": "int", "default": 0},
    "retries": {"type": "int", "default": 3},
    "timeout_seconds": {"type": "int", "default": 60},
    "use_proxy": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "progress_path": {"type": "path"},
}


def verify(params: Params) -> dict[str, Any]:
    """Hash a published directory again; raise ArtifactError when it differs from its manifest."""
    root = params["directory"]
    if not os.path.isdir(root):
        raise ArtifactError(f"model {params['name']}: directory = {root} is not there. Name a published revision.")
    manifest = read_manifest(root)
    counted = 0
    pace = Pace(params["bytes_per_second"])

    def take(count: int) -> None:
        nonlocal counted
        counted += count
        pace.take(count)

    changes, hashed = find_changes(root, manifest, True, take)
    if changes:
        raise ArtifactError(
            f"model {params['name']}: {root} differs from its manifest: {'; '.join(changes[:5])}"
            f"{' and more' if len(changes) > 5 else ''}. Stop what uses it, move the directory away and bring it again."
        )
    return {"changed": False, "hashed_files": hashed, "hashed_bytes": counted}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[
            ("state", "manifest", ["source"]),
            ("state", "fetched", ["source", "directory"]),
            ("state", "verified", ["directory"]),
            ("source", "hf", ["repo", "revision"]),
            ("source", "http", ["url"]),
            ("source", "directory", ["path"]),
        ],
        supports_check_mode=True,
    )
    params: Params = dict(module.params)
    if params["source"] == "hf" and not params["token"]:
        params["token"] = os.environ.get("HF_TOKEN") or None
        module.no_log_values.update([params["token"]] if params["token"] else [])
    began = time.monotonic()
    try:
        if params["state"] == "manifest":
            result = make_manifest(params, module.log, module.check_mode)
        elif params["state"] == "fetched":
            result = fetch_files(params, module.log, module.check_mode)
        else:
            result = verify(params)
    except LibraryMissing as error:
        url = f"https://pypi.org/project/{LIBRARY}/"
        reason = "to ask a model hub. On the controller: python -m pip install huggingface_hub, for that Python"
        module.fail_json(msg=missing_required_lib(LIBRARY, reason=reason, url=url), exception=str(error))
    except (ArtifactError, TreeError) as error:
        module.fail_json(msg=str(error), wrong_content=isinstance(error, WrongDigest))
    except OSError as error:
        module.fail_json(msg=f"model {params['name']}: {error}. Mend the file system or the path and run again.")
    module.exit_json(seconds=round(time.monotonic() - began, 3), **result)


if __name__ == "__main__":
    main()
