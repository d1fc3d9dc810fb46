# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the controller keeps for hosts is believed without a look. When a host finds it wrong, it is believed no longer.

A manifest holds the sizes that a source announced once. A file of the cache is hashed once, and again only after it was
changed; a bit that flips on the disk is no change that anybody tells.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_bring import unmark
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_manifest import forget_stored
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex


def doubt(arguments: Mapping[str, Any], answer: dict[str, Any]) -> None:
    """Forget what the controller believed, after a task on a host that failed; its message says so.

    arguments: those of model_artifact, before the address of the controller was put in, or of model_directory, which
    has no source. answer: the module's result, changed.
    """
    if not answer.get("failed"):
        return
    files = {str(path): str(digest) for path, digest in (arguments.get("files") or {}).items()}
    manifests = arguments.get("controller_manifest_directory")
    if manifests:
        forget_stored(os.path.expanduser(str(manifests)), sha256_hex(canonical_json(files)))
    cache = arguments.get("controller_directory")
    if arguments.get("source", "controller") == "controller" and cache and answer.get("wrong_content"):
        root = os.path.expanduser(str(cache))
        for digest in files.values():
            unmark(root, digest)
        answer["msg"] = (
            f"{answer.get('msg', '')} It came from the cache of the controller, {root}. The next run hashes these "
            "files there and brings what is wrong anew: run again. When it comes back, check the controller's disk."
        )
