# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge live requests of a server by what the gateways counted of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_others import OthersError, unchanged_servers
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_turns import judge_turns
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_verdict import pool_tier


class ActionModule(ControllerAction):
    """Runs on the controller and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "turns": {"type": "list", "elements": "raw", "required": True},
        "server": {"type": "str", "required": True},
        "pool": {"type": "str", "required": True},
        "slo_tier": {"type": "str", "default": "standard"},
        "pools": {"type": "dict", "default": {}},
        "slo_tiers": {"type": "dict", "default": {}},
        "min_requests": {"type": "int", "default": 10},
        "turns_max": {"type": "int", "default": 1},
        "plan": {"type": "dict"},
        "service_before": {"type": "dict"},
        "service_now": {"type": "dict"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict, the counts, and whether to watch on."""
        pool, turns = str(arguments["pool"]), plain(arguments["turns"])
        for turn in turns:
            if not isinstance(turn, list) or not all(isinstance(result, Mapping) for result in turn):
                raise AnsibleActionFail(
                    f"rollout_live_errors: turns holds {turn!r}; give one list of gateway_info's results per turn"
                )
        if not turns:
            raise AnsibleActionFail("rollout_live_errors: turns is empty; watch with gateway_info first")
        server, plan = str(arguments["server"]), plain(arguments["plan"])
        before, now = plain(arguments["service_before"]), plain(arguments["service_now"])
        if (before is None) != (now is None):
            raise AnsibleActionFail("rollout_live_errors: give both service_before and service_now, or neither")
        overrides = ((plain(arguments["pools"]) or {}).get(pool) or {}).get("slo")
        try:
            tier = pool_tier(str(arguments["slo_tier"]), plain(arguments["slo_tiers"]), pool, overrides)
            unchanged = None if plan is None else unchanged_servers(plan, server)
        except (OthersError, SloError) as error:
            raise AnsibleActionFail(f"rollout_live_errors: {error}") from error
        # Without a limit of the tier no failed request is agreed.
        limit = tier.get("error_rate_max_percent") or 0.0
        found = judge_turns(
            turns,
            server,
            limit,
            arguments["min_requests"],
            arguments["turns_max"],
            unchanged=unchanged,
            service=None if before is None else (before, now),
        )
        return {"changed": False, **found, "msg": found["told"]}
