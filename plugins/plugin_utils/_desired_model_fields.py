# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The shape of local_llm_models: which keys a model has, by where it comes from."""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import WANTED_STATES
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import (
    LABEL,
    RELATIVE_PATH,
    SHA256,
    Field,
    Name,
)

COMMIT = Name(r"[0-9a-f]{40}", "the 40 hex digits of a commit, in small letters; branches and tags move")
REPOSITORY = Name(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*", "owner/name, as the hub shows it")

# What the playbook models keeps it as; without a word the retention policy decides.
STATE = Field("str", choices=WANTED_STATES)

MODEL_FIELDS: dict[str, dict[str, Field]] = {
    "directory": {
        "source": Field("str", required=True),
        "path": Field("str", required=True),
        "revision": Field("str", required=True, name=LABEL),
        "files": Field("dict", required=True),
        "entry": Field("str", name=RELATIVE_PATH),
        "allow": Field("list", default=[]),
        "state": STATE,
    },
    "hf": {
        "source": Field("str", required=True),
        "repo": Field("str", required=True, name=REPOSITORY),
        "revision": Field("str", required=True, name=COMMIT),
        "files": Field("dict", default={}),
        "manifest_sha256": Field("str", name=SHA256),
        "entry": Field("str", name=RELATIVE_PATH),
        "endpoint": Field("str"),
        "include": Field("list", default=[]),
        "exclude": Field("list", default=[]),
        "allow": Field("list", default=[]),
        "state": STATE,
    },
    "http": {
        "source": Field("str", required=True),
        "url": Field("str", required=True),
        "revision": Field("str", required=True, name=LABEL),
        "files": Field("dict", default={}),
        "manifest_sha256": Field("str", name=SHA256),
        "entry": Field("str", name=RELATIVE_PATH),
        "allow": Field("list", default=[]),
        "state": STATE,
    },
}
