#!/usr/bin/python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remediation of the instances on this host. The service runs it; the other commands are for people, as root.

remediate run                                   look once and do what the rules say
remediate status                                what is watched, what is out, what waits for a person
remediate reset [INSTANCE]                      a person has mended it: limits and what was seen begin anew
remediate hold INSTANCE|all MINUTES REASON...   do nothing to it for so long
remediate release INSTANCE|all                  end a hold
remediate begin ID MINUTES                      a rollout or a recovery has the host until it ends, at most so long
remediate end ID                                it has ended; the holds of people stay
remediate let-in                                end every lease that keeps a server out of service
remediate check FILE                            are these settings right
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, "/usr/local/libexec/local_llm/remediation_lib")

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import read_json
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import list_instances
from ansible_collections.local_llm.ops.plugins.module_utils._remedy import _files
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._decide import gave_up, reset
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._holds import HOLDS, held_by_work, is_work
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._memory import blank, other_mode
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._run import Host, keep_out, run_once

SETTINGS = os.environ.get("LOCAL_LLM_REMEDIATION_SETTINGS", "/etc/local_llm/remediation.json")
COMMAND_SECONDS = 60
MOST_HOLD_MINUTES = 7 * 24 * 60


def run_command(command: list[str]) -> tuple[int, str, str]:
    """Run a command as the modules do."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def say(text: str) -> None:
    """Tell the journal of the service, above the level that is kept out of it; a person gets the plain text."""
    level = "<4>" if "INVOCATION_ID" in os.environ else ""
    sys.stderr.write(f"{level}{text}\n")


def person() -> str:
    """Return who gave the command."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"


def status(settings: _files.Settings, now: float) -> int:
    """Print what is known."""
    host = Host(settings, run_command, say)
    state, _told = _files.load_state(settings)
    age = "never" if state["looked_at"] is None else f"{now - state['looked_at']:.0f} s ago"
    print(f"mode {settings.mode}, last look {age}, {len(settings.rules)} rules")
    for name in list_instances(host.paths):
        memory = state["instances"].get(name)
        if memory is None:
            print(f"{name}: not looked at yet")
            continue
        out = memory["out"]
        parts = [f"out of service: {out['reason']}"] if out else []
        parts += [f"GAVE UP: {rule}, waits for a person" for rule in gave_up(memory)]
        if settings.mode == "observe":
            parts += [f"would have given up: {rule}" for rule in gave_up(other_mode({**blank(), **memory}))]
        held = host.held(name, now)
        parts += [f"nothing is done: {held}"] if held else []
        parts += [
            f"{rule}: {len(entry['acted'])} attempts" for rule, entry in memory["rules"].items() if entry["acted"]
        ]
        print(f"{name}: {'; '.join(parts) or 'nothing to tell'}")
    return 0


def forget(settings: _files.Settings, name: str | None, now: float) -> int:
    """Let the limits begin anew."""
    state, _told = _files.load_state(settings)
    if name is not None and name not in state["instances"]:
        print(f"{name}: there is no such instance. Known: {', '.join(state['instances']) or 'none'}.", file=sys.stderr)
        return 2
    for each in [name] if name is not None else list(state["instances"]):
        waits = gave_up(state["instances"][each])
        state["instances"][each] = reset(state["instances"][each])
        _files.note(
            settings,
            now,
            instance=each,
            action="reset",
            result="done",
            reason=f"by {person()}",
            evidence={"gave_up": waits},
        )
        print(f"{each}: reset" + (f" ({', '.join(waits)} had given up)" if waits else ""))
    _files.save_state(settings, state, now)
    return 0


def read_holds(settings: _files.Settings) -> dict[str, Any]:
    """Return {"schema", "holds": of people, by instance, "work": {"id", "until"} | null}."""
    return {"schema": 1, "holds": {}, "work": None, **(read_json(os.path.join(settings.directory, HOLDS)) or {})}


def write_holds(settings: _files.Settings, document: dict[str, Any]) -> None:
    """Write them, whole or not at all."""
    write_json_atomic(os.path.join(settings.directory, HOLDS), document, 0o640)


def minutes_of(text: str) -> int | None:
    """Return the minutes of a hold; say so when they are none."""
    if text.isdigit() and 1 <= int(text) <= MOST_HOLD_MINUTES:
        return int(text)
    print(f"MINUTES is {text}: use 1 to {MOST_HOLD_MINUTES}.", file=sys.stderr)
    return None


def work(settings: _files.Settings, arguments: list[str], now: float) -> int:
    """Let a rollout or a recovery have the host. One at a time has it: a new one takes the place of a dead one."""
    if not is_work(arguments[1]):
        print(f"ID is {arguments[1]!r}: use up to 100 letters, digits, dots, colons, - and _.", file=sys.stderr)
        return 2
    document, name = read_holds(settings), arguments[1]
    had = document["work"] if held_by_work(document, now) else None
    if arguments[0] == "end":
        if had is None or had["id"] != name:
            return 0
        document["work"] = None
    else:
        minutes = minutes_of(arguments[2])
        if minutes is None:
            return 2
        document["work"] = {"id": name, "until": now + 60 * minutes}
    write_holds(settings, document)
    # That it goes on is nothing new.
    if arguments[0] == "end" or had is None or had["id"] != name:
        _files.note(settings, now, action=arguments[0], result="done", reason=f"by {name}")
    return 0


def hold(settings: _files.Settings, arguments: list[str], now: float) -> int:
    """Keep remediation away from an instance for a while."""
    document = read_holds(settings)
    holds: dict[str, Any] = document["holds"]
    name = "*" if arguments[1] == "all" else arguments[1]
    if arguments[0] == "release":
        holds.pop(name, None)
        reason = ""
    else:
        minutes = minutes_of(arguments[2])
        if minutes is None:
            return 2
        reason = " ".join(arguments[3:])
        holds[name] = {"until": now + 60 * minutes, "by": person(), "reason": reason}
    holds = {key: value for key, value in holds.items() if value["until"] > now}
    write_holds(settings, {**document, "holds": holds})
    _files.note(
        settings,
        now,
        instance=None if name == "*" else name,
        action=arguments[0],
        result="done",
        reason=f"by {person()}",
        detail=reason,
    )
    return 0


def let_in(settings: _files.Settings) -> int:
    """End every lease, so that the agent says up."""
    keep_out(Host(settings, run_command, say), {"instances": {}})
    return 0


def command(arguments: list[str]) -> int:
    """Run one command."""
    if arguments[0] == "check" and len(arguments) == 2:
        _files.load_settings(arguments[1])
        return 0
    settings = _files.load_settings(SETTINGS)
    now = time.time()
    if arguments == ["status"]:
        return status(settings, now)
    with open(os.path.join(settings.directory, ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if arguments == ["run"]:
            run_once(Host(settings, run_command, say), now)
            return 0
        if arguments == ["let-in"]:
            return let_in(settings)
        if arguments[0] == "reset" and len(arguments) <= 2:
            return forget(settings, arguments[1] if len(arguments) == 2 else None, now)
        if (arguments[0] == "hold" and len(arguments) >= 4) or (arguments[0] == "release" and len(arguments) == 2):
            return hold(settings, arguments, now)
        if (arguments[0] == "begin" and len(arguments) == 3) or (arguments[0] == "end" and len(arguments) == 2):
            return work(settings, arguments, now)
    print(__doc__, file=sys.stderr)
    return 2


def main() -> int:
    """Run one command; tell what went wrong on standard error."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return command(sys.argv[1:])
    except (_files.RemedyError, ReleaseError, OSError, ValueError, json.JSONDecodeError) as error:
        print(f"remediate {sys.argv[1]}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
