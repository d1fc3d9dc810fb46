# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One run: look, decide, act, write down, tell. What is done is counted before it is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils import _textfile
from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Run, Systemd
from ansible_collections.local_llm.ops.plugins.module_utils._remedy import _alertmanager, _files, _metrics, _service
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._decide import Action, decide, take_back
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._holds import why_held
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._look import look
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._memory import other_mode

SEND_SECONDS = 5.0
# The first tells that it began, before anything is touched.
BEGUN, DONE, FAILED, SKIPPED, OBSERVED = "begun", "done", "failed", "skipped", "observed"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Host:
    """Where things are on this host, and how commands run."""

    settings: _files.Settings
    run: Run
    say: Say
    paths: Paths = field(default_factory=Paths)
    out_path: str = "/run/local-llm-remediation/out.json"

    def uptime_seconds(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def held(self, instance: str, now: float, ask_lock: bool = True) -> str:
        settings = self.settings
        return why_held(self.paths, settings.directory, settings.health_directory, instance, now, ask_lock)


def run_once(host: Host, now: float) -> None:
    """Look once and do what the rules say."""
    settings = host.settings
    state, told = _files.load_state(settings)
    if told:
        host.say(told)
        _files.note(settings, now, action="state_lost", result=DONE, detail=told)
    state = end_leases(host, state, now)
    looked_at = state["looked_at"]
    gap = looked_at is None or not 0 <= now - looked_at <= 5 * settings.interval_seconds + 30
    since = now - settings.interval_seconds if gap else looked_at
    probe = settings.probe_timeout_seconds
    observed = look(host.paths, host.run, since=since, probe_seconds=probe, held=lambda name: host.held(name, now))
    observing = settings.mode == "observe"
    before = {name: other_mode(memory) if observing else memory for name, memory in state["instances"].items()}
    actions, after = decide(settings.rules, observed, before, now, gap=gap, settle_seconds=settings.settle_seconds)
    if observing:
        # Nobody was taken out.
        after = {name: {**other_mode(memory), "out": None} for name, memory in after.items()}
    state = {**state, "instances": after, "looked_at": now}
    # First the promise, then the deed: a power cut in between costs an attempt and never gives one more.
    _files.save_state(settings, state, now)
    keep_out(host, state)
    for action in actions:
        _do(host, state, action, now)
    if actions:
        _files.save_state(settings, state, now)
    _tell(host, now)
    _expose(host, state, {name: str(seen["held"]) for name, seen in observed.items()}, now)


def end_leases(host: Host, state: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the state with nobody out of service, where a setting says that nobody may be any more."""
    settings = host.settings
    why = "" if settings.agent else "without the agent no gateway asks"
    why = "the mode is observe" if settings.mode == "observe" else why
    instances = dict(state["instances"])
    for name, memory in sorted(instances.items() if why else ()):
        if memory["out"]:
            _note(
                settings,
                Action(name, memory["out"]["rule"], "let_in", f"left to the gateways: {why}", {}),
                DONE,
                "",
                now,
            )
            instances[name] = {**memory, "out": None}
    return {**state, "instances": instances}


def keep_out(host: Host, state: Mapping[str, Any]) -> None:
    """Renew the leases of who is out of service."""
    settings = host.settings
    out = {
        _service.server_name(settings.host, name): str(memory["out"]["reason"])
        for name, memory in state["instances"].items()
        if memory["out"] is not None and settings.mode == "act" and settings.agent
    }
    content = _service.document(out, host.uptime_seconds(), settings.lease_seconds)
    os.makedirs(os.path.dirname(host.out_path), mode=0o755, exist_ok=True)
    write_json_atomic(host.out_path, content, 0o644)


def _do(host: Host, state: dict[str, Any], action: Action, now: float) -> None:
    settings = host.settings
    result, detail = OBSERVED, ""
    if settings.mode == "act":
        result = DONE
        if action.action == "restart":
            _note(settings, action, BEGUN, "", now)
            result, detail = _restart(host, action.instance, now)
        _message(host, action, now)
    _note(settings, action, result, detail, now)
    host.say(f"{action.instance}: {action.rule}: {action.action} {result}: {action.reason} {detail}".rstrip())
    words = (settings.mode, action.rule, action.action, action.instance)
    if result == SKIPPED:
        memory = state["instances"][action.instance]
        state["instances"] = {**state["instances"], action.instance: take_back(memory, action.rule, now)}
        return
    state["counts"] = _metrics.count(state["counts"], *words)
    if result == FAILED:
        state["failures"] = _metrics.count(state["failures"], *words)


def _restart(host: Host, instance: str, now: float) -> tuple[str, str]:
    """Restart an instance, unless somebody has begun to change it since the look."""
    store, systemd = InstanceStore(host.paths, instance), Systemd(host.run)
    try:
        with store.lock(0):
            held = host.held(instance, now, ask_lock=False)
            if held:
                return SKIPPED, held
            if store.link("current") is None:
                return SKIPPED, "it has no release any more"
            systemd.begin_restart(instance)
    except ReleaseError as error:
        # The lock is held: another change is under way, which is no failure.
        return (SKIPPED if "has been held" in str(error) else FAILED), str(error)
    return DONE, ""


def _message(host: Host, action: Action, now: float) -> None:
    """Put a message aside for Alertmanager, where one is set: what a rule says, and always that it gave up."""
    settings = host.settings
    if not settings.alertmanager.get("url") or action.action not in ("notify", "give_up"):
        return
    payload = _alertmanager.alert(
        host=settings.host,
        server=_service.server_name(settings.host, action.instance),
        rule=action.rule,
        action=action.action,
        reason=action.reason,
        severity="critical" if action.action == "give_up" else "warning",
        runbook_url=settings.runbook_url,
        now=now,
    )
    _alertmanager.put_aside(os.path.join(settings.directory, "spool"), payload, now)


def _tell(host: Host, now: float) -> None:
    spool = os.path.join(host.settings.directory, "spool")
    if not host.settings.alertmanager.get("url") or not _alertmanager.waiting(spool):
        return
    try:
        endpoint = _alertmanager.endpoint_of(host.settings.alertmanager)
        _sent, left, problem = _alertmanager.send_waiting(spool, endpoint, SEND_SECONDS, now)
    except (OSError, ValueError) as error:
        left, problem = len(_alertmanager.waiting(spool)), str(error)
    if problem:
        host.say(f"{left} messages wait for Alertmanager: {problem}")


def _expose(host: Host, state: Mapping[str, Any], held: Mapping[str, str], now: float) -> None:
    settings = host.settings
    left = len(_alertmanager.waiting(os.path.join(settings.directory, "spool")))
    text = _textfile.render(_metrics.families(state, held, settings.rules, settings.host, now, left))
    try:
        _textfile.write(settings.textfile_directory, _metrics.FILE_NAME, text)
    except OSError as error:
        host.say(f"the metrics could not be written to {settings.textfile_directory}: {error}")


def _note(settings: _files.Settings, action: Action, result: str, detail: str, now: float) -> None:
    _files.note(
        settings,
        now,
        instance=action.instance,
        rule=action.rule,
        action=action.action,
        result=result,
        reason=action.reason,
        evidence=action.evidence,
        detail=detail,
    )
