# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold live traffic of a server, as Prometheus saw it, against its limits."""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_errors import Counts
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_queries import Watched, queries, watched
from ansible_collections.local_llm.ops.plugins.plugin_utils._live_watch import (
    LOOK_BACK_SECONDS,
    error_verdict,
    gaps,
    judge_live,
    presence_verdict,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._prometheus import (
    SERVER_ARGS,
    Ask,
    PrometheusError,
    Series,
    asker,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_fleet import RulesError

POLL_SECONDS = 2.0


class ActionModule(ControllerAction):
    """Runs on the controller and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        **SERVER_ARGS,
        "phase": {"type": "str", "required": True, "choices": ["begin", "judge"]},
        "instance": {"type": "dict", "required": True},
        "release": {"type": "str", "required": True},
        "previous": {"type": "dict", "default": {}},
        "gateways": {"type": "list", "elements": "str", "default": []},
        "pools": {"type": "dict", "default": {}},
        "slo_tiers": {"type": "dict", "default": {}},
        "started_seconds": {"type": "float"},
        "requests_seen": {"type": "int", "default": 0},
        "others_seen": {
            "type": "dict",
            "default": {},
            "options": {"requests": {"type": "int", "default": 0}, "failed": {"type": "int", "default": 0}},
        },
        "wait_seconds": {"type": "float", "default": 120.0},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict; missing data is one too, and never a pass."""
        if arguments["phase"] == "judge" and arguments["started_seconds"] is None:
            raise AnsibleActionFail("rollout_watch: started_seconds is missing; give that of the phase begin")
        began = time.monotonic()
        host = str(plain(task_vars.get("inventory_hostname", "")))
        try:
            what = watched(
                host,
                plain(arguments["instance"]),
                str(arguments["release"]),
                [str(name) for name in arguments["gateways"]],
                plain(arguments["pools"]),
                plain(arguments["slo_tiers"]),
                plain(arguments["previous"]),
            )
            ask = asker(arguments)
        except RulesError as error:
            raise AnsibleActionFail(f"rollout_watch: {error}") from error
        except PrometheusError as error:
            return _told({"verdict": error_verdict(str(error))}, began)
        found = _begin(what, ask, arguments) if arguments["phase"] == "begin" else _judge(what, ask, arguments)
        return _told(found, began)


def _begin(what: Watched, ask: Ask, arguments: dict[str, Any]) -> dict[str, Any]:
    """Wait until Prometheus has all that it will be asked: what only the new release has comes with the next scrape."""
    deadline = time.monotonic() + arguments["wait_seconds"]
    while True:
        over = time.monotonic() >= deadline
        try:
            now = _time(ask)
            verdict = presence_verdict(what, _ask_all(what, ask, LOOK_BACK_SECONDS))
        except PrometheusError as error:
            return {"verdict": error_verdict(str(error)), "started_seconds": None}
        if over or verdict["verdict"] == "pass":
            return {"verdict": verdict, "started_seconds": now}
        time.sleep(POLL_SECONDS)


def _judge(what: Watched, ask: Ask, arguments: dict[str, Any]) -> dict[str, Any]:
    """Wait until Prometheus has samples from after the watch, then judge; judge what there is when the time is over."""
    started, ended = float(arguments["started_seconds"]), None
    deadline = time.monotonic() + arguments["wait_seconds"]
    while True:
        over = time.monotonic() >= deadline
        try:
            now = _time(ask)
            ended = now if ended is None else ended
            answers = _ask_all(what, ask, math.ceil(max(0.0, now - started)) + LOOK_BACK_SECONDS)
        except PrometheusError as error:
            if over:
                return {"verdict": error_verdict(str(error))}
        else:
            if over or not gaps(what, answers, started, ended):
                seen = arguments["others_seen"]
                others = Counts(seen.get("requests") or 0, seen.get("failed") or 0)
                return judge_live(what, answers, started, ended, arguments["requests_seen"], others)
        time.sleep(POLL_SECONDS)


def _time(ask: Ask) -> float:
    """Return the clock of Prometheus; that of the controller may be another one."""
    found = ask("time()")
    if not found or not found[0].samples:
        raise PrometheusError("Prometheus does not tell the time")
    return found[0].samples[0][1]


def _ask_all(what: Watched, ask: Ask, window_seconds: int) -> dict[str, list[Series]]:
    return {name: ask(expression) for name, expression in queries(what, window_seconds).items()}


def _told(result: dict[str, Any], began: float) -> dict[str, Any]:
    empty: dict[str, Any] = {"figures": {}, "notes": [], "started_seconds": None}
    seconds = round(time.monotonic() - began, 3)
    return {"changed": False, **empty, **result, "seconds": seconds, "msg": result["verdict"]["summary"]}
