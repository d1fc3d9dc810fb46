#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_directory
short_description: Publish a version of an engine in a directory of its own
version_added: 0.1.0
description:
  - Keeps C(<engines_directory>/<engine>/<version>/) with an engine and a C(manifest.json) that has the SHA-256 of
    every file. The directory appears in one rename, after the engine has proved itself there. It is never changed.
  - A later run finds a changed, missing or added file and fails, naming the file. It hashes only files that changed
    after they were published, unless O(verify=true).
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
  engine:
    description: Name of the engine.
    type: str
    required: true
  version:
    description: Name of the version. Needed unless O(state=absent).
    type: str
  state:
    description:
      - V(checked) changes nothing. It looks whether the version is there and right, and checks O(artifact).
      - V(present) publishes the version from O(archive_path), from installed packages, or as a Python environment.
      - V(absent) removes the version, or every version when O(version) is not given. It refuses when a release on
        this host needs it.
    type: str
    choices: [checked, present, absent]
    default: present
  artifact:
    description: Where the engine comes from. Needed unless O(state=absent).
    type: dict
    suboptions:
      method:
        description:
          - V(archive) is a tar archive with a SHA-256.
          - V(package) is an exact version of a Debian package, whose engine files are copied.
          - V(venv) is a Python environment, made by uv where the host has it, else by pip.
        type: str
        choices: [archive, package, venv]
        required: true
      src:
        description: Path or address of the archive.
        type: str
      sha256:
        description: Architecture, such as C(x86_64), to SHA-256 of the archive.
        type: dict
      entry:
        description:
          - Path of the server program inside the archive, when it is not C(bin/llama-server). A small script under
            that name then starts it.
        type: str
      package:
        description: Name of the package.
        type: str
      package_version:
        description: Exact version of the package.
        type: str
      python:
        description: For V(venv), the interpreter, as a path or a name such as C(python3.12). Default C(python3).
        type: str
      requirements:
        description: For V(venv), packages with exact versions, such as C(vllm==0.33.0).
        type: list
        elements: str
      lock_file:
        description: For V(venv), where the lock file came from. The file itself is O(lock_path).
        type: str
      index_url:
        description: For V(venv), the package index. Default is the installer's own.
        type: str
      extra_arguments:
        description: For V(venv), more arguments of C(pip install) or C(uv pip install).
        type: list
        elements: str
      size_bytes:
        description: For V(venv), about how large it is; so much must be free before.
        type: int
        default: 12884901888
  archive_path:
    description: The archive on this host. Needed to publish an archive.
    type: path
  lock_path:
    description: For a Python environment, the lock file on this host. Every package in it has an exact version and a
      SHA-256.
    type: path
  lock_sha256:
    description: SHA-256 of the lock file, to compare with where O(lock_path) is not on this host yet.
    type: str
  engines_directory:
    description: Directory of all engines.
    type: path
    default: /opt/local_llm/engines
  instances_directory:
    description: Directory of all instances; their releases say which versions are needed.
    type: path
    default: /var/lib/local_llm/instances
  reserve_bytes:
    description: Bytes that must stay free on the file system after the engine is unpacked.
    type: int
    default: 268435456
  verify:
    description: Whether to hash every published file again.
    type: bool
    default: false
author:
  - local_llm.ops contributors (@local-llm-ops)
"""

EXAMPLES = r"""
---
- name: Publish an engine from an archive on the host
  local_llm.ops.engine_directory:
    engine: llamacpp
    version: 0.7.0
    archive_path: /opt/local_llm/engines/.incoming/llamacpp-0.7.0.archive
    artifact:
      method: archive
      src: https://mirror.example.com/llamacpp-0.7.0-x86_64.tar.gz
      sha256:
        x86_64: c0e95b1aa27b3681df4c934fa316672dc85d336a7d7178d616453fb99be2282c

- name: Remove a version that no release needs
  local_llm.ops.engine_directory:
    engine: llamacpp
    version: 0.6.0
    state: absent
"""

RETURN = r"""
path:
  description: Directory of the version, or of the engine when O(version) is not given.
  returned: always
  type: str
  sample: /opt/local_llm/engines/llamacpp/0.7.0
installed:
  description: Whether the version is there now, complete and right.
  returned: always
  type: bool
sha256:
  description: The SHA-256 that the archive must have on this host's architecture.
  returned: when the method is C(archive)
  type: str
version_output:
  description: First line that the engine printed about its version.
  returned: when the version is installed
  type: str
removed:
  description: Versions that were removed, or would be.
  returned: when O(state=absent)
  type: list
  elements: str
hashed_files:
  description: How many published files were hashed in this run.
  returned: always
  type: int
"""

import fcntl
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._engine_install import (
    check_artifact,
    fill,
    prove,
    same_origin,
)
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import Engine, EngineError
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import (
    MANIFEST,
    TreeError,
    find_changes,
    make_directories,
    mark_checked,
    measure,
    publish,
    read_manifest,
    remove_tree,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release_references import find_references


def remove(params: dict[str, Any], home: str, check_mode: bool) -> dict[str, Any]:
    """Remove one version or all of them; raise TreeError before anything is removed when a release needs one."""
    versions = [params["version"]] if params["version"] else sorted(os.listdir(home)) if os.path.isdir(home) else []
    there = [version for version in versions if os.path.isdir(os.path.join(home, version))]
    for version in there:
        users = find_references(params["instances_directory"], {"engine": params["engine"], "engine_version": version})
        if users:
            raise TreeError(
                f"{params['engine']} {version}: still needed by {'; '.join(users)}. Nothing was removed. "
                "Move these instances to another release first, or remove them."
            )
    for version in [] if check_mode else there:
        trash = os.path.join(params["engines_directory"], ".incoming", f"{params['engine']}-{version}.removed")
        remove_tree(os.path.join(home, version), trash)
    if not check_mode and os.path.isdir(home) and not os.listdir(home):
        os.rmdir(home)
    return {"changed": bool(there), "removed": there, "installed": False, "hashed_files": 0,
            "diff": {"before": {"versions": there}, "after": {"versions": []}}}  # fmt: skip


def check_installed(path: str, params: dict[str, Any], check_mode: bool) -> tuple[dict[str, Any], int]:
    """Return (manifest, files hashed) of a published version, or raise TreeError that names what differs."""
    label = f"{params['engine']} {params['version']}"
    manifest = read_manifest(path)
    if not same_origin(manifest, params):
        origin = manifest.get("archive_sha256") or manifest.get("requirements") or manifest.get("packages")
        raise TreeError(
            f"{label}: {path} was made from another artifact ({origin}). "
            f"A version never changes: give the new artifact a new version name in {params['engine']}_artifacts."
        )
    changes, hashed = find_changes(path, manifest, params["verify"])
    if changes:
        raise TreeError(
            f"{label}: {path} was changed after it was published: {'; '.join(changes[:5])}"
            f"{' and more' if len(changes) > 5 else ''}. Move the directory away and run again to install it afresh."
        )
    if hashed and not check_mode:
        mark_checked(path)
    return manifest, hashed


@contextmanager
def _alone(engines_directory: str) -> Iterator[None]:
    """Let one installation at a time run on this host; a run that was killed holds nothing."""
    directory = os.path.join(engines_directory, ".incoming")
    make_directories(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TreeError(
            f"{directory} is locked: another run installs an engine right now. Wait for it, then run again."
        ) from None
    finally:
        os.close(descriptor)


def _install(module: AnsibleModule, engine: Engine, path: str) -> tuple[str, int]:
    """Fill, try, measure and publish a version; return what it said about itself, and how many files it has."""
    params = module.params
    incoming = os.path.join(params["engines_directory"], ".incoming", f"{engine.name}-{params['version']}")
    origin = fill(module.run_command, params, incoming, engine.entry, module.get_bin_path("uv"))
    said = prove(module.run_command, incoming, engine, params["version"])
    # Running the engine may have left files behind, such as byte code. Measure what is there now.
    manifest = {
        "schema": 1,
        "engine": engine.name,
        "version": params["version"],
        "method": params["artifact"]["method"],
        **origin,
        "version_output": said,
        **measure(incoming),
    }
    publish(incoming, path, manifest)
    return said, len(manifest["files"])


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the state asks for; return the module's result."""
    params: dict[str, Any] = module.params
    engine = get_engine(params["engine"])
    home = os.path.join(params["engines_directory"], engine.name)
    version = params["version"]
    if version is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~:-]*", version):
        raise TreeError(f"version = {version!r}: use letters, digits and . _ + ~ : - only, no slash.")
    if params["state"] == "absent":
        return {"path": os.path.join(home, version or ""), **remove(params, home, module.check_mode)}
    check_artifact(params, platform.machine())
    path = os.path.join(home, version)
    result: dict[str, Any] = {"changed": False, "path": path, "installed": os.path.isdir(path), "hashed_files": 0}
    result["sha256"] = params["artifact"]["wanted_sha256"]
    if result["installed"]:
        manifest, result["hashed_files"] = check_installed(path, params, module.check_mode)
        result["version_output"] = manifest.get("version_output", "")
        return result
    if params["state"] == "checked":
        return result
    after = {"path": path}
    if not module.check_mode:
        with _alone(params["engines_directory"]):
            if os.path.isdir(path):  # another run was faster
                return run(module)
            after["version_output"], files = _install(module, engine, path)
        result.update(installed=True, version_output=after["version_output"], hashed_files=files)
    result.update(changed=True, diff={"before": {}, "after": after, "after_header": os.path.join(path, MANIFEST)})
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "required": True},
            "version": {"type": "str"},
            "state": {"type": "str", "choices": ["checked", "present", "absent"], "default": "present"},
            "artifact": {
                "type": "dict",
                "options": {
                    "method": {"type": "str", "choices": ["archive", "package", "venv"], "required": True},
                    "src": {"type": "str"},
                    "sha256": {"type": "dict"},
                    "entry": {"type": "str"},
                    "package": {"type": "str"},
                    "package_version": {"type": "str"},
                    "python": {"type": "str"},
                    "requirements": {"type": "list", "elements": "str"},
                    "lock_file": {"type": "str"},
                    "index_url": {"type": "str"},
                    "extra_arguments": {"type": "list", "elements": "str"},
                    "size_bytes": {"type": "int", "default": 12884901888},
                },
                "required_if": [
                    ("method", "archive", ("src", "sha256")),
                    ("method", "package", ("package", "package_version")),
                ],
            },
            "archive_path": {"type": "path"},
            "lock_path": {"type": "path"},
            "lock_sha256": {"type": "str"},
            "engines_directory": {"type": "path", "default": "/opt/local_llm/engines"},
            "instances_directory": {"type": "path", "default": "/var/lib/local_llm/instances"},
            "reserve_bytes": {"type": "int", "default": 268435456},
            "verify": {"type": "bool", "default": False},
        },
        required_if=[
            ("state", "checked", ("version", "artifact")),
            ("state", "present", ("version", "artifact")),
        ],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (TreeError, EngineError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
