# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What remediation is told (remediation.json), and what it remembers (state.json, journal.jsonl)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import append_journal
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._alertmanager import iso
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._rules import Rule, parse_rules

SCHEMA = 1
MODES = ("observe", "act")
STATE = "state.json"
JOURNAL = "journal.jsonl"
JOURNAL_KEYS = (
    "schema",
    "seq",
    "at",
    "host",
    "instance",
    "rule",
    "action",
    "mode",
    "result",
    "reason",
    "evidence",
    "detail",
    "previous_sha256",
)


class RemedyError(Exception):
    """What a person must read: it names the thing, the value and the fix."""


@dataclass(frozen=True)
class Settings:
    """What the role wrote down for this host."""

    host: str
    mode: str
    rules: tuple[Rule, ...]
    interval_seconds: int
    settle_seconds: int
    probe_timeout_seconds: float
    agent: bool
    alertmanager: Mapping[str, Any]
    runbook_url: str
    textfile_directory: str
    directory: str
    health_directory: str

    @property
    def lease_seconds(self) -> float:
        """So long a server stays out of service when nobody looks any more."""
        return 3 * self.interval_seconds + 60


def parse_settings(content: Any) -> Settings:
    """Return the settings of a parsed remediation.json; raise RemedyError with all that is wrong."""
    if not isinstance(content, dict):
        raise RemedyError("The settings are no mapping. Run the role local_llm.ops.remediation again.")
    rules, problems = parse_rules(content.get("rules"))
    if content.get("mode") not in MODES:
        problems.append(f"mode is {content.get('mode')!r}. Use one of: {', '.join(MODES)}.")
    agent = content.get("agent") is True
    for rule in rules:
        if not agent and set(rule.actions) == {"take_out"}:
            problems.append(
                f"rule {rule.name}: it only takes out, and without the agent no gateway asks. Set remediation_agent to "
                "true, or give the rule another action."
            )
    if not agent:
        rules = [replace(rule, actions=tuple(one for one in rule.actions if one != "take_out")) for rule in rules]
    try:
        settings = Settings(
            host=str(content["host"]),
            mode=str(content["mode"]),
            rules=tuple(rules),
            interval_seconds=int(content["interval_seconds"]),
            settle_seconds=int(content["settle_seconds"]),
            probe_timeout_seconds=float(content["probe_timeout_seconds"]),
            agent=agent,
            alertmanager=dict(content["alertmanager"]),
            runbook_url=str(content["runbook_url"]),
            textfile_directory=str(content["textfile_directory"]),
            directory=str(content["directory"]),
            health_directory=str(content["health_directory"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        problems.append(f"a setting is missing or wrong: {error!r}. Run the role local_llm.ops.remediation again.")
    if problems:
        raise RemedyError("remediation: " + "\n".join(problems))
    return settings


def load_settings(path: str) -> Settings:
    """Return the settings in a file; raise RemedyError."""
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError) as error:
        raise RemedyError(f"{path} cannot be read ({error}). Run the role local_llm.ops.remediation again.") from error
    return parse_settings(content)


def blank_state(mode: str) -> dict[str, Any]:
    """Return the state of a host on which nobody has looked yet."""
    return {
        "schema": SCHEMA,
        "mode": mode,
        "looked_at": None,
        "updated_at": None,
        "instances": {},
        "counts": {},
        "failures": {},
    }


def load_state(settings: Settings) -> tuple[dict[str, Any], str]:
    """Return the state, and what is to be told of it: a damaged one is moved away, and limits begin anew."""
    path = os.path.join(settings.directory, STATE)
    try:
        with open(path, encoding="utf-8") as stream:
            state = json.load(stream)
        if not isinstance(state, dict) or state.get("schema") != SCHEMA:
            raise ValueError(f"it is not of schema {SCHEMA}")
    except FileNotFoundError:
        return blank_state(settings.mode), ""
    except (OSError, ValueError) as error:
        os.replace(path, f"{path}.damaged")
        return blank_state(settings.mode), f"{path} was damaged ({error}) and was moved to {path}.damaged"
    state = {**blank_state(settings.mode), **state}
    if state["mode"] != settings.mode:
        # What would have been done is no attempt. What was done stays counted.
        state["instances"] = {name: {**memory, "observed_rules": {}} for name, memory in state["instances"].items()}
        state["mode"] = settings.mode
    return state, ""


def save_state(settings: Settings, state: Mapping[str, Any], now: float) -> None:
    """Write the state, whole or not at all."""
    write_json_atomic(os.path.join(settings.directory, STATE), {**state, "updated_at": iso(now)}, 0o640)


def note(settings: Settings, now: float, **fields: Any) -> None:
    """Append one line to the journal."""
    record = {
        "schema": SCHEMA,
        "at": iso(now),
        "host": settings.host,
        "instance": fields.get("instance"),
        "rule": fields.get("rule"),
        "action": fields["action"],
        "mode": settings.mode,
        "result": fields["result"],
        "reason": fields.get("reason", ""),
        "evidence": dict(fields.get("evidence", {})),
        "detail": fields.get("detail", ""),
    }
    append_journal(os.path.join(settings.directory, JOURNAL), record)
