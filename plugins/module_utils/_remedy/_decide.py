# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What to do now: rules, what was seen, what is remembered and the time in; actions and the new memory out.

Nothing here reads or changes the host. A decision counts as done in the memory that it returns; who cannot do it after
all calls take_back().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._remedy._memory import Memory, Seen, follow
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._rules import CONDITIONS, LIMITED_ACTION, Rule

GIVE_UP = "give_up"
LASTING = ("failed_since", "unresponsive_since", "stuck_since")
LET_IN = "let_in"


@dataclass(frozen=True)
class Action:
    """One thing to do. action: one of a rule's actions, or give_up, or let_in."""

    instance: str
    rule: str
    action: str
    reason: str
    evidence: Mapping[str, Any]


def decide(
    rules: Sequence[Rule],
    observed: Mapping[str, Seen],
    history: Mapping[str, Memory],
    now: float,
    *,
    gap: bool = False,
    settle_seconds: float = 60,
) -> tuple[list[Action], dict[str, Memory]]:
    """Return what to do, in order, and the history after it. Instances that are no longer there are forgotten."""
    actions: list[Action] = []
    after: dict[str, Memory] = {}
    for name in sorted(observed):
        seen = observed[name]
        memory = follow(history.get(name), seen, now, gap)
        was_out = (history.get(name) or {}).get("out")
        if not seen["wanted"] or seen["held"]:
            if was_out:
                why = seen["held"] or "it is not meant to serve"
                actions.append(Action(name, was_out["rule"], LET_IN, f"left to others: {why}", {}))
            after[name] = memory
            continue
        if was_out and memory["well_since"] is not None and now - memory["well_since"] >= settle_seconds:
            memory["out"] = None
            text = f"it has served for {now - memory['well_since']:.0f} s"
            actions.append(Action(name, was_out["rule"], LET_IN, text, {}))
        found, memory = _one(rules, name, memory, now)
        actions.extend(found)
        after[name] = memory
    return actions, after


def take_back(memory: Memory, rule: str, now: float) -> Memory:
    """Return the memory as if this rule had not acted now: somebody else was changing the instance."""
    state = memory["rules"].get(rule, {"acted": [], "gave_up_at": None})
    acted = [at for at in state["acted"] if at != now]
    return {**memory, "rules": {**memory["rules"], rule: {**state, "acted": acted}}}


def gave_up(memory: Memory) -> list[str]:
    """Return the rules that wait for a person."""
    return sorted(name for name, state in memory["rules"].items() if state["gave_up_at"] is not None)


def reset(memory: Memory) -> Memory:
    """Return the memory after a person has mended it: what was tried, and what was seen until now, no longer counts."""
    return {**memory, "rules": {}, "observed_rules": {}, "crashes": [], "oom_kills": [], **dict.fromkeys(LASTING)}


def _one(rules: Sequence[Rule], name: str, memory: Memory, now: float) -> tuple[list[Action], Memory]:
    """Let the first rule act whose condition holds and that may act."""
    waits = gave_up(memory)
    known = {rule.name for rule in rules}
    # A rule that is no longer there, and times that no longer count, are forgotten.
    states = {key: dict(value) for key, value in memory["rules"].items() if key in known}
    for rule in rules:
        state = states.setdefault(rule.name, {"acted": [], "gave_up_at": None})
        # A time to come is one from before the clock was set back: it counts as now, so that a limit is never lost.
        acted = [min(at, now) for at in state["acted"] if at > now - rule.limit_window_seconds]
        states[rule.name] = {**state, "acted": acted}
    memory = {**memory, "rules": states}
    for rule in rules:
        state = states[rule.name]
        last = max(state["acted"], default=None)
        holds, reason, evidence = holding(rule, memory, last, now)
        if not holds or (last is not None and now - last < rule.cooldown_seconds):
            continue
        # After one rule gave up no other one goes on restarting this instance.
        if state["gave_up_at"] is not None or (waits and LIMITED_ACTION in rule.actions):
            continue
        if len(state["acted"]) >= rule.limit:
            state["gave_up_at"] = now
            text = f"{reason}; {len(state['acted'])} attempts within {rule.limit_window_seconds} s did not help"
            return [Action(name, rule.name, GIVE_UP, text, evidence)], memory
        state["acted"] = [*state["acted"], now]
        todo = [action for action in rule.actions if action != "take_out" or memory["out"] is None]
        if "take_out" in todo:
            memory["out"] = {"since": now, "rule": rule.name, "reason": reason}
        return [Action(name, rule.name, action, reason, evidence) for action in todo], memory
    return [], memory


def holding(rule: Rule, memory: Memory, last: float | None, now: float) -> tuple[bool, str, dict[str, Any]]:
    """Return (whether the condition holds, why, what it rests on). last: when the rule acted last."""
    if CONDITIONS[rule.condition] == "events":
        begin = max(now - rule.window_seconds, last if last is not None else float("-inf"))
        count = sum(1 for at in memory[rule.condition] if begin < at <= now)
        # Only with one that was just seen: an instance that serves again is not restarted for what is over.
        count = count if now in memory[rule.condition] else 0
        words = {"crashes": "crashed", "oom_kills": "ran out of memory"}[rule.condition]
        text = f"it {words} {count} times within {rule.window_seconds} s"
        return count >= rule.threshold, text, {rule.condition: count}
    since = memory[f"{rule.condition}_since"]
    lasted = 0.0 if since is None else now - since
    words = {
        "failed": "its service has failed and systemd no longer starts it",
        "unresponsive": "it runs and does not answer",
        "stuck": "it has requests and makes no tokens",
    }[rule.condition]
    evidence = {"seconds": round(lasted, 1)}
    return since is not None and lasted >= rule.for_seconds, f"{words}, for {lasted:.0f} s", evidence
