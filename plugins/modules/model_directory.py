#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_directory
short_description: Publish the files of a model revision on a host, checked by SHA-256
version_added: 0.1.0
description:
  - Keeps C(<models_directory>/<name>/<revision>/) with the files of a model and a C(manifest.json).
  - Files arrive in an incoming directory first. There each is checked against its SHA-256. Only then the whole
    revision appears under its name, in one rename, owned by root and not writable by the service.
  - A revision never changes. When its files differ from the wanted ones, the module fails and names the file.
  - A later run hashes only files that changed after they were published, unless O(verify=true).
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the model.
    type: str
    required: true
  revision:
    description: Revision of the model.
    type: str
    required: true
  state:
    description:
      - V(checked) changes nothing. It looks whether the revision is there and right.
      - V(incoming) checks that the file system has room, and makes the directory where files arrive.
        It does nothing when the revision is there already.
      - V(present) checks the files that arrived and publishes them.
      - V(absent) removes the revision, unless a release on this host needs it.
    type: str
    choices: [checked, incoming, present, absent]
    default: present
  files:
    description:
      - Path inside the model's directory to SHA-256, of every file. Not needed with O(state=absent), nor with
        O(state=checked) when O(manifest_sha256) is given.
    type: dict
    default: {}
  manifest_sha256:
    description: Digest that the manifest must have, SHA-256 over the canonical JSON of O(files).
    type: str
  sizes:
    description: Path to size in bytes, of every file. Needed with O(state=incoming).
    type: dict
    default: {}
  models_directory:
    description: Directory of all models.
    type: path
    default: /var/lib/local_llm/models
  instances_directory:
    description: Directory of all instances; their releases say which revisions are needed.
    type: path
    default: /var/lib/local_llm/instances
  reserve_bytes:
    description: Bytes that must stay free on the file system after the model has arrived.
    type: int
    default: 1073741824
  quota_bytes:
    description: Most bytes that all models together may have in O(models_directory). V(0) means no limit.
    type: int
    default: 0
  verify:
    description: Whether to hash every published file again.
    type: bool
    default: false
  controller_directory:
    description:
      - Directory of files by digest on the controller that the files were copied from.
      - When one arrived with another SHA-256, the next run hashes these files there again and brings what is wrong
        anew.
    type: path
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Make room for a model
  local_llm.ops.model_directory:
    name: tiny
    revision: r1
    state: incoming
    files:
      model.gguf: 6ab77789250c8a161fa4e86958077cfc62710fc03ed403406744acd06017a93b
    sizes:
      model.gguf: 2386976
  register: room

- name: Bring the file
  ansible.builtin.copy:
    src: /srv/models/tiny/model.gguf
    dest: "{{ room.incoming_path }}/model.gguf"
    mode: "0644"

- name: Check and publish it
  local_llm.ops.model_directory:
    name: tiny
    revision: r1
    files:
      model.gguf: 6ab77789250c8a161fa4e86958077cfc62710fc03ed403406744acd06017a93b

- name: Hash a published model again
  local_llm.ops.model_directory:
    name: tiny
    revision: r1
    state: checked
    verify: true
    files:
      model.gguf: 6ab77789250c8a161fa4e86958077cfc62710fc03ed403406744acd06017a93b
"""

RETURN = r"""
path:
  description: Directory of the revision.
  returned: always
  type: str
  sample: /var/lib/local_llm/models/tiny/r1
published:
  description: Whether the revision is there now, complete and right.
  returned: always
  type: bool
incoming_path:
  description: Where files must arrive.
  returned: always
  type: str
missing_files:
  description: Files that have not arrived yet, by name and size.
  returned: always
  type: list
  elements: str
manifest_sha256:
  description: SHA-256 over the canonical JSON of O(files); part of the release id.
  returned: when O(files) or O(manifest_sha256) is given
  type: str
wrong_content:
  description: Whether a whole file arrived and has another SHA-256.
  returned: failure
  type: bool
hashed_files:
  description: How many files were hashed in this run.
  returned: always
  type: int
"""

import os
import re
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import (
    TreeError,
    WrongFileError,
    find_changes,
    make_directories,
    mark_checked,
    path_problem,
    publish,
    read_manifest,
    remove_tree,
    room_problem,
    sha256_file,
    used_bytes,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release_references import find_references


def check_names(params: dict[str, Any]) -> None:
    """Raise TreeError when name, revision or a path or digest in files cannot be used."""
    for key in ("name", "revision"):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+@-]*", params[key]):
            raise TreeError(f"{key} = {params[key]!r}: use letters, digits and . _ + @ - only, no slash.")
    if params["state"] == "absent":
        return
    pinned = params["manifest_sha256"]
    if pinned and not re.fullmatch(r"[0-9a-f]{64}", pinned):
        raise TreeError(f"model {params['name']}: manifest_sha256 = {pinned!r} is no SHA-256.")
    if params["state"] == "checked" and pinned and not params["files"]:
        return
    if not params["files"]:
        raise TreeError(f"model {params['name']}: files is empty. List every file with its SHA-256.")
    for path, digest in params["files"].items():
        problem = path_problem(path)
        if problem:
            raise TreeError(f"model {params['name']}: files has {path!r}, which {problem}.")
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise TreeError(
                f"model {params['name']}: files[{path!r}] = {digest!r} is no SHA-256. Take it from: sha256sum {path}"
            )


def check_pinned(files: dict[str, str], params: dict[str, Any], where: str) -> None:
    """Raise TreeError when files have not the digest that is pinned."""
    found, wanted = sha256_hex(canonical_json(files)), params["manifest_sha256"]
    if wanted and found != wanted:
        raise TreeError(
            f"model {params['name']}, revision {params['revision']}: the manifest {where} has the digest {found}, "
            f"wanted is manifest_sha256 = {wanted}. A revision never changes: give other files a new revision."
        )


def check_published(path: str, params: dict[str, Any], check_mode: bool) -> int:
    """Check a published revision; return how many files were hashed, or raise TreeError that names what differs."""
    label = f"model {params['name']}, revision {params['revision']}"
    manifest = read_manifest(path)
    check_pinned(manifest["files"], params, f"in {path}")
    if params["files"] and manifest["files"] != params["files"]:
        names = sorted(set(manifest["files"]) | set(params["files"]))
        name = next(name for name in names if manifest["files"].get(name) != params["files"].get(name))
        found, wanted = (files.get(name, "(no such file)") for files in (manifest["files"], params["files"]))
        raise TreeError(
            f"{label}: file {name!r} on the host has SHA-256 {found}, wanted is {wanted}. "
            "A revision never changes: give the new files a new revision."
        )
    changes, hashed = find_changes(path, manifest, params["verify"])
    if changes:
        raise TreeError(
            f"{label}: {path} was changed after it was published: {'; '.join(changes[:5])}"
            f"{' and more' if len(changes) > 5 else ''}. Stop what uses it, move the directory away and run again."
        )
    if hashed and not check_mode:
        mark_checked(path)
    return hashed


def missing_files(incoming: str, params: dict[str, Any]) -> list[str]:
    """Return the files that have not arrived, or not with their size."""
    missing = []
    for path in sorted(params["files"]):
        full = os.path.join(incoming, path)
        size = params["sizes"].get(path)
        if not os.path.isfile(full) or (size is not None and os.path.getsize(full) != int(size)):
            missing.append(path)
    return missing


def make_incoming(incoming: str, params: dict[str, Any], missing: list[str], check_mode: bool) -> bool:
    """Check the room on the file system and make the incoming directory; return whether that changes something."""
    unknown = sorted(set(params["files"]) - set(params["sizes"]))
    if unknown:
        raise TreeError(f"model {params['name']}: sizes has no entry for {unknown[0]!r}. Give the size of every file.")
    wanted = sum(int(params["sizes"][path]) for path in missing)
    # What has come in part before needs no room a second time.
    came = used_bytes(os.path.join(incoming, ".parts"))
    problem = room_problem(params["models_directory"], wanted, came, params["reserve_bytes"], params["quota_bytes"])
    if problem:
        raise TreeError(f"model {params['name']}, revision {params['revision']}: {problem}")
    wanted_directories = {os.path.dirname(os.path.join(incoming, path)) for path in params["files"]} | {incoming}
    new = sorted(path for path in wanted_directories if not os.path.isdir(path))
    for path in [] if check_mode else new:
        make_directories(path)
    return bool(new)


def publish_files(incoming: str, path: str, params: dict[str, Any]) -> int:
    """Check the arrived files and publish them; return how many were hashed."""
    label = f"model {params['name']}, revision {params['revision']}"
    missing = missing_files(incoming, params)
    if missing:
        raise TreeError(f"{label}: file {missing[0]!r} is not in {incoming}. Copy it there first (state: incoming).")
    for name, wanted in sorted(params["files"].items()):
        found = sha256_file(os.path.join(incoming, name))
        if found != wanted:
            os.unlink(os.path.join(incoming, name))
            raise WrongFileError(
                f"{label}: file {name!r} arrived with SHA-256 {found}, wanted is {wanted}. Nothing was published. "
                "Check the file at its source, or correct the SHA-256 in local_llm_models."
            )
    strangers = [name for name in os.listdir(incoming) if not any(f.split("/")[0] == name for f in params["files"])]
    for name in strangers:
        full = os.path.join(incoming, name)
        shutil.rmtree(full) if os.path.isdir(full) and not os.path.islink(full) else os.unlink(full)
    sizes = {name: os.path.getsize(os.path.join(incoming, name)) for name in params["files"]}
    manifest = {
        "schema": 1,
        "name": params["name"],
        "revision": params["revision"],
        "files": params["files"],
        "sizes": sizes,
        "manifest_sha256": sha256_hex(canonical_json(params["files"])),
    }
    publish(incoming, path, manifest)
    return len(sizes)


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the state asks for; return the module's result."""
    check_names(params)
    root = params["models_directory"]
    path = os.path.join(root, params["name"], params["revision"])
    incoming = os.path.join(root, ".incoming", f"{params['name']}@{params['revision']}")
    there = os.path.isdir(path)
    result: dict[str, Any] = {"changed": False, "path": path, "incoming_path": incoming, "published": there}
    result.update(hashed_files=0, missing_files=[], diff={"before": {}, "after": {}})
    if params["state"] == "absent":
        users = find_references(
            params["instances_directory"], {"model": params["name"], "model_revision": params["revision"]}
        )
        if there and users:
            raise TreeError(
                f"model {params['name']}, revision {params['revision']}: still needed by {'; '.join(users)}. "
                "Move these instances to another release first."
            )
        if there and not check_mode:
            remove_tree(path, os.path.join(root, ".incoming", f"{params['name']}@{params['revision']}.removed"))
        result.update(
            changed=there, published=False, diff={"before": {"published": there}, "after": {"published": False}}
        )
        return result
    if params["files"]:
        check_pinned(params["files"], params, "of files")
    result["manifest_sha256"] = params["manifest_sha256"] or sha256_hex(canonical_json(params["files"]))
    if there:
        result["hashed_files"] = check_published(path, params, check_mode)
        return result
    result["missing_files"] = missing_files(incoming, params)
    if params["state"] == "incoming":
        result["changed"] = make_incoming(incoming, params, result["missing_files"], check_mode)
        result["diff"] = {"before": {}, "after": {"incoming_path": incoming} if result["changed"] else {}}
    elif params["state"] == "present":
        if not check_mode:
            result["hashed_files"] = publish_files(incoming, path, params)
            result["missing_files"] = []
        result.update(changed=True, published=not check_mode)
        result["diff"] = {"before": {}, "after": {"path": path, "files": params["files"]}}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "revision": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["checked", "incoming", "present", "absent"], "default": "present"},
            "files": {"type": "dict", "default": {}},
            "manifest_sha256": {"type": "str"},
            "sizes": {"type": "dict", "default": {}},
            "models_directory": {"type": "path", "default": "/var/lib/local_llm/models"},
            "instances_directory": {"type": "path", "default": "/var/lib/local_llm/instances"},
            "reserve_bytes": {"type": "int", "default": 1073741824},
            "quota_bytes": {"type": "int", "default": 0},
            "verify": {"type": "bool", "default": False},
            "controller_directory": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module.params, module.check_mode)
    except TreeError as error:
        module.fail_json(msg=str(error), wrong_content=isinstance(error, WrongFileError))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
