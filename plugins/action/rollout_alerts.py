# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse a rollout while critical alerts fire or an error budget is spent, unless a person stands for it."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import SERVER_ARGS, PrometheusError, asker
from ansible_collections.local_llm.ops.plugins.plugin_utils._rollout_alerts import (
    ACCEPT,
    QUERIES,
    alert_findings,
    scope_of,
    unknown_finding,
)

_ACCEPT_FORM = re.compile(r"[^:]+:\s*\S")


class ActionModule(ControllerAction):
    """Runs on the controller and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        **SERVER_ARGS,
        "plan": {"type": "dict", "required": True},
        "gateways": {"type": "list", "elements": "str", "default": []},
        "accept": {"type": "str", "default": ""},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what speaks against a rollout now; fail unless it is accepted."""
        accept = str(arguments["accept"]).strip()
        if accept and not _ACCEPT_FORM.match(accept):
            raise AnsibleActionFail(
                f"local_llm_accept_alerts: {accept} does not say who decides and why. Write "
                '"<name>: <reason>", such as "m.rossi: this upgrade mends what fires".'
            )
        scope = scope_of(plain(arguments["plan"]), [str(name) for name in arguments["gateways"]])
        try:
            ask = asker(arguments)
            findings = alert_findings(scope, {name: ask(expression) for name, expression in QUERIES.items()})
        except PrometheusError as error:
            findings = [unknown_finding(str(error))]
        bad = failures(findings)
        if bad and not accept:
            lines = "\n".join(f"- {finding_line(item)}" for item in bad)
            raise AnsibleActionFail(
                f"Nothing was touched. {len(bad)} thing{'s' if len(bad) > 1 else ''} that Prometheus says "
                f"against a rollout now:\n{lines}\nTo go on all the same, say who decides and why: -e '{ACCEPT}'",
                result={"findings": findings},
            )
        told = " ".join(finding_line(item) for item in bad)
        return {"changed": False, "findings": findings, "accepted": accept if bad else "", "msg": told}
