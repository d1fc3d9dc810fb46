# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Many hosts want the same model on the controller at the same time: one asks the source, the others wait for that.

A source that fails is asked once too: whoever waited meanwhile gets the same failure instead of trying again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import ArtifactError
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_steps import known_result
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.modules.model_artifact import ARGUMENTS


def one_for_all(arguments: dict[str, Any], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is known already, what another worker was told while this one waited, or what ask returns."""
    checked = ArgumentSpecValidator(ARGUMENTS).validate(arguments)
    params = checked.validated_parameters
    place = params["manifest_directory"] or params["directory"]
    if checked.error_messages or not place or params["state"] == "verified":
        return ask()
    known = _known(params)
    if known is not None:
        return known
    since = time.monotonic()
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        handle = os.open(os.path.join(place, ".asking"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return ask()  # which names what is wrong with the directory
    with open(handle, "r+", encoding="utf-8") as turns:
        fcntl.flock(turns, fcntl.LOCK_EX)
        known = _known(params)
        if known is not None:
            return known
        order = sha256_hex(canonical_json(arguments))
        failure = _failure(turns, order, since)
        if failure:
            return {"failed": True, "changed": False, "msg": failure}
        answer = ask()
        turns.truncate(0)
        if answer.get("failed"):
            json.dump({"order": order, "at": time.monotonic(), "msg": str(answer.get("msg", ""))}, turns)
        return answer


def _known(params: dict[str, Any]) -> dict[str, Any] | None:
    # What is wrong is told by the module, in its own words.
    with contextlib.suppress(ArtifactError, OSError):
        return known_result(params)
    return None


def _failure(turns: Any, order: str, since: float) -> str:
    """Return how the same order failed while this worker waited for its turn."""
    turns.seek(0)
    try:
        last = json.load(turns)
        return str(last["msg"]) if last["order"] == order and float(last["at"]) >= since else ""
    except (ValueError, KeyError, TypeError):
        return ""
