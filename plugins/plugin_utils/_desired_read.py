# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Read the inventory variables of hosts as plain data, and say what is to mend in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import hosts_variable


def variable_names(task_vars: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of all variables that each host has."""
    found = {host: task_vars["hostvars"].get(host) for host in hosts}
    return {host: [str(name) for name in variables or ()] for host, variables in found.items()}


def read_variables(
    task_vars: Mapping[str, Any], host: str, names: Iterable[str], findings: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return these variables of a host, None for those that are not set; a template that fails is a finding."""
    result: dict[str, Any] = {}
    for name in names:
        result[name] = None
        try:
            result[name] = hosts_variable(task_vars, host, name)
        except AnsibleError as error:
            text = " ".join(str(error).split())
            action = "Correct the template or set the variable it uses."
            findings.append(finding("template", "fail", f"{name} on {host}", observed=text, action=action))
    return result


def to_mend(bad: list[Mapping[str, Any]]) -> str:
    """Return the message of a refusal that lists every fault."""
    lines = "\n".join(f"- {finding_line(item)}" for item in bad)
    return f"{len(bad)} thing{'s' if len(bad) > 1 else ''} to mend before anything is touched:\n{lines}"
