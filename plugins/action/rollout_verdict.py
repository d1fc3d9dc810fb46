# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin rollout_verdict: evidence in, verdict out, on the controller."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.local_llm.ops.plugins.module_utils._verdict import ToleranceError, judge, parse_tolerances
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, get_tier

ARGUMENTS: dict[str, dict[str, Any]] = {
    "benchmark": {"type": "dict"},
    "quality": {"type": "dict"},
    "baseline": {"type": "dict"},
    "slo_tier": {"type": "str", "default": "standard"},
    "slo_tiers": {"type": "dict", "default": {}},
    "tolerances": {"type": "dict", "default": {}},
    "require_quality": {"type": "bool", "default": True},
    "fail_unless_pass": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Judge; change nothing."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the verdict and the limits it used."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            tier = get_tier(args["slo_tier"], args["slo_tiers"])
            tolerances = parse_tolerances(args["tolerances"])
        except (SloError, ToleranceError) as exc:
            raise AnsibleActionFail(str(exc)) from exc
        verdict = judge(
            args["benchmark"],
            args["quality"],
            args["baseline"],
            args["slo_tier"],
            tier,
            tolerances,
            args["require_quality"],
        )
        result.update(changed=False, verdict=verdict, slo=tier)
        if args["fail_unless_pass"] and verdict["verdict"] != "pass":
            result.update(failed=True, msg=verdict["summary"])
        return result
