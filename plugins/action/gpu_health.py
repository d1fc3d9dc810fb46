# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the module gpu_health the policy for XID, SXid and NVLink 5 codes, with the site's own decisions in it."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.modules.gpu_health import argument_spec
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._xid_data import load_policies, merge_overrides

POLICIES = ("xid", "sxid", "nvlink5")
# The site's options for every call. Roles hand them over key by key, so a misspelt one would be lost without a word.
VARIABLE = "local_llm_gpu_health"


def variable_problem(value: Any) -> str | None:
    """Return what is wrong with the keys of the site's variable, or None."""
    if not isinstance(value, Mapping):
        return None if value is None else f"{VARIABLE} = {value!r}: write a mapping of options of gpu_health."
    known = set(argument_spec()) - {f"{name}_policy" for name in POLICIES} - {"fail", "since_seconds"}
    for key in value:
        if key not in known:
            near = nearest(str(key), known)
            hint = f"Did you mean {near}?" if near else f"Use one of: {', '.join(sorted(known))}."
            return f"{VARIABLE}.{key}: gpu_health has no such option. {hint}"
    return None


@functools.lru_cache(maxsize=16)
def policy_options(overrides: str) -> dict[str, str]:
    """Return the policies with the site's decisions (as JSON) in them, as options of the module. Raises ValueError.

    They are JSON texts: ansible-core copies a dictionary several times on its way, and this one is large.
    """
    policies = merge_overrides(load_policies(), json.loads(overrides))
    return {f"{name}_policy": json.dumps(policies[name], separators=(",", ":")) for name in POLICIES}


# The process that forks the workers loads this file first: what it has read, every worker has. Its task tells a fault.
with contextlib.suppress(ValueError):
    policy_options("{}")


class ActionModule(ActionBase):
    """Reads data files on the controller; all else happens on the host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module with the policies, unless the task brings its own."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        problem = variable_problem((task_vars or {}).get(VARIABLE))
        if problem:
            raise AnsibleActionFail(problem)
        arguments = dict(self._task.args)
        overrides = plain(arguments.pop("xid_overrides", None)) or {}
        if not isinstance(overrides, dict):
            raise AnsibleActionFail(
                f"gpu_health: xid_overrides: {overrides!r} is no dictionary. "
                "Write {code: {severity: ..., action: ...}}, for example {79: {severity: critical, action: reboot}}."
            )
        try:
            options = policy_options(json.dumps(overrides, sort_keys=False))
        except (ValueError, TypeError) as error:
            raise AnsibleActionFail(f"gpu_health: {error}") from error
        arguments = {**options, **{key: value for key, value in arguments.items() if value is not None}}
        result.update(
            self._execute_module(
                module_name="local_llm.ops.gpu_health",
                module_args=arguments,
                task_vars=task_vars,
                wrap_async=self._task.async_val,
            )
        )
        return result
