# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of remediation: when a rule acts, when it waits, when it gives up, and when nothing may be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._remedy._decide import (
    GIVE_UP,
    LET_IN,
    Action,
    decide,
    gave_up,
    reset,
    take_back,
)
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._memory import blank, crashes_since, follow
from ansible_collections.local_llm.ops.plugins.module_utils._remedy._rules import Rule, parse_rules

ROOT = Path(__file__).resolve().parents[5]
START = 1_000_000.0
STEP = 30.0


def rule(**changes: Any) -> Rule:
    """Return a rule on crashes; a test says what it changes."""
    stated: dict[str, Any] = {
        "name": "crashes",
        "condition": "crashes",
        "threshold": 3,
        "window_seconds": 600,
        "for_seconds": 0,
        "actions": ("take_out", "restart", "notify"),
        "cooldown_seconds": 1800,
        "limit": 2,
        "limit_window_seconds": 21600,
    }
    return Rule(**{**stated, **changes})


def seen(**changes: Any) -> dict[str, Any]:
    """Return a look at an instance that serves."""
    stated: dict[str, Any] = {
        "wanted": True,
        "held": "",
        "active_state": "active",
        "restarts": 0,
        "invocation": "run1",
        "oom_kills": 0,
        "answers": True,
        "loading": False,
        "running": 0.0,
        "tokens": 100.0,
    }
    return {**stated, **changes}


class Story:
    """One instance over time: looks at a fixed distance, what came of each."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.now = START
        self.history: dict[str, Any] = {}
        self.said: list[Action] = []

    def look(self, gap: bool = False, **changes: Any) -> list[str]:
        """Look once; return the actions."""
        actions, self.history = decide(self.rules, {"chat": seen(**changes)}, self.history, self.now, gap=gap)
        self.said.extend(actions)
        self.now += STEP
        return [action.action for action in actions]

    def crash(self, times: int = 3, **changes: Any) -> list[str]:
        """Let it crash so many times, and not answer; return the actions of the look after that."""
        before = (self.history.get("chat") or {}).get("restarts") or 0
        return self.look(restarts=before + times, invocation=f"run{self.now}", answers=False, loading=True, **changes)

    @property
    def memory(self) -> dict[str, Any]:
        found: dict[str, Any] = self.history["chat"]
        return found


def test_a_healthy_instance_is_left_alone() -> None:
    story = Story(rule())
    assert [story.look() for _number in range(10)] == [[]] * 10


def test_what_happened_before_the_first_look_does_not_count() -> None:
    story = Story(rule())
    assert story.look(restarts=50) == []


@pytest.mark.parametrize(("crashes", "acts"), [(2, False), (3, True), (9, True)])
def test_repeated_crashes_take_out_restart_and_tell(crashes: int, acts: bool) -> None:
    story = Story(rule())
    story.look()
    assert story.crash(crashes) == (["take_out", "restart", "notify"] if acts else [])
    assert (story.memory["out"] is not None) is acts


def test_crashes_further_apart_than_the_window_are_no_loop() -> None:
    story = Story(rule())
    story.look()
    for _number in range(5):
        story.now += 400
        assert story.crash(1) == []


def test_the_rule_waits_for_its_cooldown_and_counts_only_what_came_after_it_acted() -> None:
    story = Story(rule())
    story.look()
    story.crash(3)
    begun = story.now
    while story.now - begun < 1700:
        assert story.crash(1) == []
    story.now = begun + 3000
    # Everything so far lies outside of the window: a single crash is no loop.
    assert story.crash(1) == []
    assert story.crash(2) == ["restart", "notify"]


def test_after_its_limit_it_gives_up_once_and_touches_nothing_any_more_until_a_person_resets() -> None:
    story = Story(rule(limit=2))
    story.look()
    outcomes = []
    for _number in range(6):
        story.now += 2000
        outcomes.append(story.crash(3))
    flat = [action for outcome in outcomes for action in outcome]
    assert flat.count("restart") == 2
    assert flat.count(GIVE_UP) == 1
    assert outcomes[2] == [GIVE_UP] and outcomes[3:] == [[], [], []]
    assert gave_up(story.memory) == ["crashes"]
    assert "2 attempts" in next(action.reason for action in story.said if action.action == GIVE_UP)

    story.history = {"chat": reset(story.memory)}
    story.now += 2000
    assert "restart" in story.crash(3)


def test_after_a_reset_nothing_from_before_it_counts() -> None:
    story = Story(rule(limit=1))
    story.look()
    story.crash(3)
    story.now += 2000
    assert story.crash(9) == [GIVE_UP]
    story.history = {"chat": reset(story.memory)}
    # It serves, and the crashes of a minute ago are the person's past.
    assert story.look(restarts=0, invocation="mended") == []
    assert story.crash(2) == []
    assert "restart" in story.crash(1)


def test_an_instance_that_serves_again_is_not_restarted_for_crashes_that_are_over() -> None:
    story = Story(rule(cooldown_seconds=60))
    story.look()
    story.crash(3)
    assert story.crash(3) == []
    # The cooldown ends while the crashes are still within the window.
    assert [story.look(restarts=6, invocation="up") for _number in range(9)] == [
        [],
        [],
        [LET_IN],
        [],
        [],
        [],
        [],
        [],
        [],
    ]


def test_giving_up_does_not_go_away_with_time_or_with_good_days() -> None:
    story = Story(rule(limit=1))
    story.look()
    story.crash(3)
    story.now += 2000
    assert story.crash(3) == [GIVE_UP]
    story.now += 30 * 86400
    story.look()
    assert gave_up(story.memory) == ["crashes"]


def test_attempts_outside_of_the_limits_window_no_longer_count() -> None:
    story = Story(rule(limit=1))
    story.look()
    story.crash(3)
    story.now += 22000
    assert "restart" in story.crash(3)


def test_when_one_rule_gave_up_no_other_rule_goes_on_restarting() -> None:
    failed = rule(name="failed", condition="failed", actions=("restart",), cooldown_seconds=10, limit=9)
    tells = rule(name="tells", condition="failed", actions=("notify",), cooldown_seconds=10, limit=900)
    story = Story(rule(limit=1), failed, tells)
    story.look()
    story.crash(3)
    story.now += 2000
    assert story.crash(3) == [GIVE_UP]
    assert story.look(active_state="failed", answers=False) == ["notify"]


def test_one_rule_acts_for_an_instance_at_a_time_and_the_first_one_goes_first() -> None:
    story = Story(rule(name="oom", condition="oom_kills", threshold=1), rule(threshold=1))
    story.look()
    story.crash(1, oom_kills=1)
    assert {action.rule for action in story.said} == {"oom"}


def test_an_instance_that_was_taken_out_comes_back_when_it_has_served_for_a_while() -> None:
    story = Story(rule())
    story.look()
    story.crash(3)
    assert story.look(restarts=0, invocation="new", answers=False, loading=True) == []
    assert story.look(restarts=0, invocation="new") == []
    assert story.look(restarts=0, invocation="new") == []
    assert story.look(restarts=0, invocation="new") == [LET_IN]
    assert story.memory["out"] is None


def test_an_instance_that_crashes_on_stays_out() -> None:
    story = Story(rule())
    story.look()
    story.crash(3)
    for number in range(20):
        # Up at every look, and yet another run of the service each time.
        assert LET_IN not in story.look(restarts=number + 1, invocation=f"again{number}")


@pytest.mark.parametrize("change", [{"held": "a rollout has it"}, {"wanted": False}])
def test_nothing_is_done_while_somebody_has_it_and_nothing_of_it_counts_afterwards(change: dict[str, Any]) -> None:
    story = Story(
        rule(), rule(name="failed", condition="failed"), rule(name="stuck", condition="stuck", for_seconds=60)
    )
    story.look()
    for number in range(8):
        state = "failed" if number % 2 else "active"
        assert (
            story.look(restarts=5 * number, invocation=f"r{number}", answers=False, active_state=state, **change) == []
        )
    assert story.look(restarts=35, invocation="r7") == []
    assert story.look(restarts=35, invocation="r7") == []


def test_what_is_out_is_left_to_a_rollout_that_begins() -> None:
    story = Story(rule())
    story.look()
    story.crash(3)
    assert story.look(held="a rollout has it", answers=False) == [LET_IN]
    assert story.memory["out"] is None
    assert "a rollout has it" in story.said[-1].reason


def test_limits_are_kept_while_somebody_has_it() -> None:
    story = Story(rule(limit=1))
    story.look()
    story.crash(3)
    story.now += 2000
    story.crash(3)
    story.look(held="a rollout has it")
    assert gave_up(story.memory) == ["crashes"]


STUCK = rule(name="stuck", condition="stuck", for_seconds=120)


def test_requests_without_tokens_for_long_are_a_stuck_engine() -> None:
    story = Story(STUCK)
    looks = [story.look(running=2.0, tokens=500.0) for _number in range(6)]
    assert looks == [[], [], [], [], ["take_out", "restart", "notify"], []]


@pytest.mark.parametrize(
    "changes",
    [
        [{"running": 2.0, "tokens": 500.0 + number} for number in range(9)],
        [{"running": 0.0, "tokens": 500.0}] * 9,
        # No metrics, as with Ollama: nothing is known, so nothing is done.
        [{"running": None, "tokens": None}] * 9,
        [{"running": 2.0, "tokens": None}] * 9,
        # Another run of the service each time.
        [{"running": 2.0, "tokens": 500.0, "invocation": f"r{number}"} for number in range(9)],
        # Nobody looked in between: it is not known that it lasted.
        [{"running": 2.0, "tokens": 500.0, "gap": True}] * 9,
    ],
)
def test_an_engine_that_gets_on_or_that_nobody_can_judge_is_not_stuck(changes: list[dict[str, Any]]) -> None:
    story = Story(STUCK)
    assert [story.look(**change) for change in changes] == [[]] * 9


def test_a_stuck_engine_whose_rule_gave_up_stays_out_while_it_is_stuck() -> None:
    story = Story(rule(name="stuck", condition="stuck", for_seconds=60, cooldown_seconds=60, limit=1))
    for _number in range(30):
        story.look(running=2.0, tokens=500.0)
    assert [action.action for action in story.said] == ["take_out", "restart", "notify", GIVE_UP]
    assert story.memory["out"] is not None
    story.look(running=0.0, invocation="mended by hand")
    story.look(running=0.0, invocation="mended by hand")
    assert story.look(running=0.0, invocation="mended by hand") == [LET_IN]


UNRESPONSIVE = rule(name="mute", condition="unresponsive", for_seconds=60, actions=("restart",))


def test_an_engine_that_answered_and_does_not_any_more_is_restarted() -> None:
    story = Story(UNRESPONSIVE)
    story.look()
    assert [story.look(answers=False) for _number in range(4)] == [[], [], ["restart"], []]


@pytest.mark.parametrize("changes", [{"loading": True}, {}])
def test_an_engine_that_still_loads_is_never_unresponsive(changes: dict[str, Any]) -> None:
    story = Story(UNRESPONSIVE)
    story.look()
    # After a restart it has not answered yet, whatever its port says, for an hour.
    assert [story.look(answers=False, invocation="run2", **changes) for _number in range(120)] == [[]] * 120


def test_a_unit_that_systemd_gave_up_is_started_again() -> None:
    story = Story(rule(name="failed", condition="failed", for_seconds=60, actions=("restart",), cooldown_seconds=600))
    story.look()
    assert [story.look(active_state="failed", answers=False) for _number in range(4)] == [[], [], ["restart"], []]


def test_memory_that_ran_out_counts_also_where_systemd_counts_no_restart() -> None:
    story = Story(rule(name="oom", condition="oom_kills", threshold=2))
    story.look()
    assert story.look(oom_kills=1) == []
    assert story.look(oom_kills=1) == ["take_out", "restart", "notify"]


def test_a_clock_that_was_set_back_neither_acts_at_once_nor_waits_for_ever() -> None:
    story = Story(rule(cooldown_seconds=600))
    story.look()
    story.crash(3)
    story.now -= 7200
    assert story.crash(3, gap=True) == []
    story.now += 700
    assert story.crash(3) == ["restart", "notify"]


def test_what_could_not_be_done_is_no_attempt() -> None:
    story = Story(rule(limit=1))
    story.look()
    at = story.now
    story.crash(3)
    story.history = {"chat": take_back(story.memory, "crashes", at)}
    assert story.memory["rules"]["crashes"]["acted"] == []


def test_an_instance_that_is_gone_is_forgotten_and_a_rule_that_is_gone_too() -> None:
    story = Story(rule(limit=1))
    story.look()
    story.crash(3)
    actions, history = decide([rule(name="other", threshold=99)], {"chat": seen()}, story.history, story.now)
    assert actions == [] and set(history["chat"]["rules"]) == {"other"}
    assert decide([], {}, history, story.now) == ([], {})


@pytest.mark.parametrize(("before", "now", "count"), [(None, 7, 0), (2, 2, 0), (2, 5, 3), (5, 0, 0), (5, 1, 1)])
def test_crashes_are_what_the_count_of_restarts_grew_by(before: int | None, now: int, count: int) -> None:
    assert crashes_since(before, now) == count


def test_what_is_remembered_does_not_grow_without_bound() -> None:
    memory = blank()
    for number in range(50):
        memory = follow(memory, seen(restarts=100 * number, oom_kills=100), START + number, False)
    assert len(memory["crashes"]) == len(memory["oom_kills"]) == 200


RIGHT = {
    "name": "x",
    "condition": "crashes",
    "actions": ["restart"],
    "cooldown_seconds": 60,
    "limit": 2,
    "limit_window_seconds": 3600,
}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("x", "must be a list"),
        ([7], "must be a mapping"),
        ([{**RIGHT, "name": "Bad Name"}], "Bad Name"),
        ([{**RIGHT, "condition": "sad"}], "Use one of: crashes"),
        ([{**RIGHT, "actions": ["reboot"]}], "reboot"),
        ([{**RIGHT, "actions": []}], "actions"),
        ([{**RIGHT, "limit": 0}], "limit is 0"),
        ([{**RIGHT, "limit": True}], "limit is True"),
        ([{**RIGHT, "cooldown_seconds": 1}], "at least 10"),
        ([{**RIGHT, "limti": 3}], "limti is no key"),
        ([{**RIGHT, "cooldown_seconds": 3600}], "never reached"),
        ([RIGHT, RIGHT], "two of this name"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_value_and_the_mend(entries: Any, words: str) -> None:
    _rules, problems = parse_rules(entries)
    assert any(words in problem for problem in problems), problems


def test_the_rules_of_the_role_are_right_and_do_what_was_promised() -> None:
    text = (ROOT / "roles/remediation/defaults/main.yml").read_text(encoding="utf-8")
    rules, problems = parse_rules(yaml.safe_load(text)["remediation_rules"])
    assert problems == []
    promised = {one.name: one for one in rules}["crashes"]
    assert (promised.threshold, promised.window_seconds, promised.cooldown_seconds) == (3, 600, 1800)
    assert all("restart" in one.actions and one.limit <= 3 for one in rules)
