#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_store
short_description: List the models on a host, archive them, bring them back, delete them by policy
version_added: 0.1.0
description:
  - Tells which model revisions lie on a host, in which state they are, which releases need them, and what the policy
    says about each. With the other states it carries that out, one revision at a time.
  - A revision is C(active) when a current release or the inventory needs it, C(standby) when it lies there ready,
    C(archive) when it is packed with zstd.
  - What any release on this host needs is never archived and never deleted, whatever the options say.
  - Nothing is ever half published. The archive is written beside, every file is read back and compared with the SHA-256
    of the manifest, then the archive appears in one rename, and only then the plain files go. A restore compares before
    it publishes. A run that is cut is finished by the next one, which goes on with the first file that is not done.
  - Memory stays below 100 MB whatever the size of a model. Progress stands in the system journal of the host.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: In check mode an archive is not read, so damage inside it is not seen.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - the program C(zstd) on the host, except for O(state=listed), O(state=deleted) and O(state=tidied)
options:
  state:
    description:
      - V(listed) reads the host and plans. It changes nothing.
      - V(archived) moves a published revision into the archive.
      - V(restored) publishes a revision from the archive; the archive of it goes afterwards. Without an archive of this
        revision nothing happens.
      - V(deleted) deletes a revision from the archive. Published files stay.
      - V(tidied) deletes O(path), a leftover of a cut run.
    type: str
    choices: [listed, archived, restored, deleted, tidied]
    default: listed
  name:
    description: Name of the model. Needed with V(archived), V(restored) and V(deleted).
    type: str
  revision:
    description: Revision of the model. Needed with V(archived), V(restored) and V(deleted).
    type: str
  files:
    description: With V(restored), path to SHA-256 of every file that the archived revision must have. Empty, any.
    type: dict
    default: {}
  manifest_sha256:
    description: With V(restored), the digest that its manifest must have.
    type: str
  best_effort:
    description:
      - With V(restored), warn instead of failing when the archive cannot be used, so that the model can be brought from
        its source. An archive with other files than wanted is a failure all the same.
    type: bool
    default: false
  last_used_at:
    description: With V(archived), when the revision was last used, as V(listed) told it. It is kept in the archive.
    type: str
  path:
    description: With V(tidied), the leftover, as V(listed) told it.
    type: path
  used:
    description: With V(listed), instance to model, of the instances that the inventory wants on this host.
    type: dict
    default: {}
  listed:
    description:
      - With V(listed), the models of the inventory, C(local_llm_models). Of each model C(revision) counts, and
        C(state), which is C(active), C(standby), C(archive) or not there. Other keys are not looked at.
    type: dict
    default: {}
  engines_used:
    description: With V(listed), the engine versions that the inventory wants on this host, as C(engine/version).
    type: list
    elements: str
    default: []
  retention:
    description:
      - The policy. C(standby_keep) revisions per model name are kept ready, C(archive_keep) are kept in the archive for
        C(archive_days) days. What is left out keeps its default, which is 1, 2 and 90.
    type: dict
    default: {}
  models_directory:
    description: Directory of all models.
    type: path
    default: /var/lib/local_llm/models
  archive_directory:
    description: Directory of the archive. The default is C(.archive) in O(models_directory).
    type: path
  instances_directory:
    description: Directory of all instances; their releases say which revisions are needed.
    type: path
    default: /var/lib/local_llm/instances
  engines_directory:
    description: Directory of all engines.
    type: path
    default: /opt/local_llm/engines
  ollama_stores:
    description: Stores of Ollama servers that are not run by this collection; their models are listed.
    type: list
    elements: path
    default: [/usr/share/ollama/.ollama/models, /var/lib/ollama/models, /root/.ollama/models]
  reserve_bytes:
    description: Bytes that must stay free on the file system.
    type: int
    default: 1073741824
  quota_bytes:
    description:
      - With V(restored), most bytes that all models together may have in O(models_directory). V(0) means no limit.
    type: int
    default: 0
  bytes_per_second:
    description:
      - Most bytes per second that are packed or unpacked, to spare the disk of a host that serves. V(0) means no limit.
    type: int
    default: 0
seealso:
  - module: local_llm.ops.model_directory
  - module: local_llm.ops.models_report
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: What lies where, and what does the policy say
  local_llm.ops.model_store:
    used: {chat: chat-8b}
    listed:
      chat-8b: {revision: r2, state: standby}
  register: models

- name: Archive a revision that nothing needs
  local_llm.ops.model_store:
    state: archived
    name: chat-8b
    revision: r1

- name: Bring it back
  local_llm.ops.model_store:
    state: restored
    name: chat-8b
    revision: r1
"""

RETURN = r"""
models:
  description: >-
    One entry per revision, with C(name), C(revision), C(state), C(published), C(archived), C(bytes), C(archive_bytes),
    C(manifest_sha256), C(published_at), C(archived_at), C(last_used_at), C(releases), C(needed_by), C(listed),
    C(wanted), C(action), C(reason) and C(problem).
  returned: with O(state=listed)
  type: list
  elements: dict
leftovers:
  description: What cut runs left, with C(path), C(name), C(revision), C(bytes), C(action) and C(reason).
  returned: with O(state=listed)
  type: list
  elements: dict
engines:
  description: Engine versions, with C(engine), C(version), C(bytes) and C(needed_by).
  returned: with O(state=listed)
  type: list
  elements: dict
ollama_models:
  description: Models in O(ollama_stores), with C(store), C(name), C(bytes) and C(kept_for_rollback).
  returned: with O(state=listed)
  type: list
  elements: dict
free_bytes:
  description: Free bytes on the file system of the models.
  returned: with O(state=listed)
  type: int
zstd:
  description: Whether the program zstd is there.
  returned: with O(state=listed)
  type: bool
published:
  description: Whether the revision lies published on the host now.
  returned: with the other states, except O(state=tidied)
  type: bool
archived:
  description: Whether the revision lies in the archive now.
  returned: with the other states, except O(state=tidied)
  type: bool
path:
  description: Directory of the revision, or the leftover.
  returned: unless O(state=listed)
  type: str
problem:
  description: Why the archive could not be used, an empty text when it could.
  returned: with O(state=restored)
  type: str
bytes:
  description: Bytes of the plain files.
  returned: when something was packed or unpacked
  type: int
archive_bytes:
  description: Bytes of the archive.
  returned: when something was packed
  type: int
"""

import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_fetch import Pace
from ansible_collections.local_llm.ops.plugins.module_utils._model_archive import Place, Work, WrongArchive
from ansible_collections.local_llm.ops.plugins.module_utils._model_store import (
    change,
    list_host,
    needed_here,
    refuse_archive_place,
    tidy,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import locked

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOCK_SECONDS = 60.0


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the state asks for; return the module's result."""
    params = module.params
    params["archive_directory"] = params["archive_directory"] or os.path.join(params["models_directory"], ".archive")
    refuse_archive_place(params["models_directory"], params["archive_directory"])
    if params["state"] == "listed":
        return {**list_host(params), "zstd": bool(module.get_bin_path("zstd"))}
    if module.check_mode or (params["state"] == "restored" and not _is_archived(params)):
        # Nothing will be touched, so a long run over other models is not waited for.
        return act(module)
    lock = os.path.join(os.path.dirname(params["instances_directory"]), "locks", "models.lock")
    # Of two runs the second waits for the first, which may be one whose controller was killed.
    try:
        with locked(lock, _LOCK_SECONDS):
            return act(module)
    except ReleaseError as error:
        raise TreeError(
            f"{lock}: another run packs or unpacks models on this host for {_LOCK_SECONDS:.0f} s already. Wait for its "
            f"end (fuser -v {lock} names it; its progress is in the system journal), then run again."
        ) from error


def _is_archived(params: dict[str, Any]) -> bool:
    return os.path.isdir(os.path.join(params["archive_directory"], params["name"], params["revision"]))


def act(module: AnsibleModule) -> dict[str, Any]:
    """Carry out every state that may change something."""
    params = module.params
    if params["state"] == "tidied":
        return tidy(params, module.check_mode)
    for key in ("name", "revision"):
        if not _NAME.fullmatch(params[key]):
            raise TreeError(f"{key} = {params[key]!r}: must be letters, digits, dot, - and _, at most 100.")
    place = Place(params["models_directory"], params["archive_directory"], params["name"], params["revision"])
    work = Work(
        run_command=module.run_command,
        needed=needed_here(params["instances_directory"]),
        say=module.log,
        pace=Pace(params["bytes_per_second"]).take,
        reserve_bytes=params["reserve_bytes"],
        quota_bytes=params["quota_bytes"],
    )
    try:
        return change(place, work, params, module.check_mode)
    except TreeError as error:
        if params["state"] != "restored" or not params["best_effort"] or isinstance(error, WrongArchive):
            raise
        module.warn(f"{error} The model is brought from its source instead.")
        there = {"published": os.path.isdir(place.plain), "archived": os.path.isdir(place.packed)}
        return {"changed": False, "path": place.plain, **there, "problem": str(error)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["listed", "archived", "restored", "deleted", "tidied"],
                "default": "listed",
            },
            "name": {"type": "str"},
            "revision": {"type": "str"},
            "files": {"type": "dict", "default": {}},
            "manifest_sha256": {"type": "str"},
            "best_effort": {"type": "bool", "default": False},
            "last_used_at": {"type": "str"},
            "path": {"type": "path"},
            "used": {"type": "dict", "default": {}},
            "listed": {"type": "dict", "default": {}},
            "engines_used": {"type": "list", "elements": "str", "default": []},
            "retention": {"type": "dict", "default": {}},
            "models_directory": {"type": "path", "default": "/var/lib/local_llm/models"},
            "archive_directory": {"type": "path"},
            "instances_directory": {"type": "path", "default": "/var/lib/local_llm/instances"},
            "engines_directory": {"type": "path", "default": "/opt/local_llm/engines"},
            "ollama_stores": {
                "type": "list",
                "elements": "path",
                "default": ["/usr/share/ollama/.ollama/models", "/var/lib/ollama/models", "/root/.ollama/models"],
            },
            "reserve_bytes": {"type": "int", "default": 1073741824},
            "quota_bytes": {"type": "int", "default": 0},
            "bytes_per_second": {"type": "int", "default": 0},
        },
        required_if=[
            ("state", "archived", ("name", "revision")),
            ("state", "restored", ("name", "revision")),
            ("state", "deleted", ("name", "revision")),
            ("state", "tidied", ("path",)),
        ],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except TreeError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or module.params['models_directory']}: {error.strerror}. When the disk is full, make "
            "room there. What was done so far is kept; run again."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
