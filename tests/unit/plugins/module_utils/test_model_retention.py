# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the models of a host: one table per rule, plain data in and out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import plan_models, retention_problems

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def revision(name: str, there: str = "p", month: int = 1, roles: str = "", **changed: Any) -> dict[str, Any]:
    """Return a revision: there has p (published) and a (archived); month: when it was published or archived."""
    return {
        "name": "chat", "revision": name, "published": "p" in there, "archived": "a" in there, "bytes": 10,
        "archive_bytes": 5, "manifest_sha256": "0" * 64, "published_at": f"2026-{month:02}-01T00:00:00Z",
        "archived_at": f"2026-{month:02}-01T00:00:00Z" if "a" in there else None, "last_used_at": None, "problem": None,
        "releases": [{"instance": "chat", "release": "9a", "role": role} for role in roles.split()], **changed,
    }  # fmt: skip


def plan(
    revisions: list[dict[str, Any]],
    used: bool = False,
    listed: str = "",
    state: str | None = None,
    blocked: str = "",
    **retention: int,
) -> dict[str, tuple[str, str]]:
    """Return revision -> (state, action)."""
    rows = plan_models(
        revisions,
        used={"chat": "chat"} if used else {},
        listed={"chat": {"revision": listed, "state": state}} if listed else {},
        retention=retention,
        now=NOW,
        blocked=blocked,
    )
    assert all(row["reason"] for row in rows), rows
    return {row["revision"]: (row["state"], row["action"]) for row in rows}


@pytest.mark.parametrize("role", ["current", "previous", "armed", "staged", "kept"])
@pytest.mark.parametrize("state", [None, "archive"])
def test_what_a_release_needs_stays_whatever_the_inventory_and_the_policy_say(role: str, state: str | None) -> None:
    planned = plan([revision("r1", roles=role)], listed="r1", state=state, standby_keep=0)
    assert planned == {"r1": ("active" if role in ("current", "armed") else "standby", "none")}


def test_one_is_kept_ready_two_are_kept_in_the_archive_and_the_rest_goes_after_its_time() -> None:
    revisions = [
        revision("r9", month=9, roles="current"),
        revision("r8", month=8),
        revision("r7", month=7),
        revision("a11", "a", month=11),
        revision("a10", "a", month=10),
        revision("a4", "a", month=4),
    ]
    assert plan(revisions) == {
        "r9": ("active", "none"),
        "r8": ("standby", "none"),
        "r7": ("standby", "archive"),
        "a11": ("archive", "none"),
        "a10": ("archive", "delete"),
        "a4": ("archive", "delete"),
    }
    assert plan(revisions, archive_keep=9)["a10"] == ("archive", "none")
    assert plan(revisions, archive_keep=9)["a4"] == ("archive", "delete")
    assert plan(revisions, archive_keep=9, archive_days=300)["a4"] == ("archive", "none")
    assert plan(revisions, standby_keep=2)["r7"] == ("standby", "none")
    assert plan(revisions, standby_keep=0)["r8"] == ("standby", "archive")


def test_the_revision_that_the_previous_release_needs_is_the_one_that_is_kept_ready() -> None:
    revisions = [revision("r3", roles="current"), revision("r2", roles="previous"), revision("r1", month=10)]
    assert plan(revisions)["r1"] == ("standby", "archive")
    assert plan(revisions, standby_keep=2)["r1"] == ("standby", "none")


def test_the_one_used_last_is_kept_ready_not_the_one_published_last() -> None:
    revisions = [revision("r2", month=9), revision("r1", month=1, last_used_at="2026-11-20T00:00:00Z")]
    assert plan(revisions) == {"r1": ("standby", "none"), "r2": ("standby", "archive")}


@pytest.mark.parametrize(
    ("there", "used", "state", "expected"),
    [
        # published
        ("p", True, None, ("active", "none")),
        ("p", True, "archive", ("active", "none")),
        ("p", False, None, ("standby", "none")),
        ("p", False, "active", ("active", "none")),
        ("p", False, "standby", ("standby", "none")),
        ("p", False, "archive", ("standby", "archive")),
        # only in the archive
        ("a", True, None, ("archive", "restore")),
        ("a", False, None, ("archive", "none")),
        ("a", False, "active", ("archive", "restore")),
        ("a", False, "standby", ("archive", "restore")),
        ("a", False, "archive", ("archive", "none")),
        # both: a run was cut
        ("pa", True, None, ("active", "tidy")),
        ("pa", False, "standby", ("standby", "tidy")),
        ("pa", False, "archive", ("standby", "archive")),
        # nowhere
        ("", True, None, ("absent", "none")),
        ("", False, "standby", ("absent", "bring")),
        ("", False, "active", ("absent", "bring")),
    ],
)
def test_what_the_inventory_lists(there: str, used: bool, state: str | None, expected: tuple[str, str]) -> None:
    revisions = [revision("r1", there)] if there else []
    planned = plan(revisions, used=used, listed="r1", state=state, standby_keep=0, archive_keep=0, archive_days=0)
    assert planned == {"r1": expected}


def test_a_listed_model_that_no_instance_here_uses_is_no_row_when_it_is_not_here() -> None:
    assert plan([], listed="r1") == plan([], listed="r1", state="archive") == {}


def test_who_sends_the_listed_revision_to_the_archive_keeps_no_older_one_ready_in_its_place() -> None:
    planned = plan([revision("r2", month=5), revision("r1")], listed="r2", state="archive")
    assert planned == {"r2": ("standby", "archive"), "r1": ("standby", "archive")}


def test_a_release_that_cannot_be_read_keeps_everything_on_its_host() -> None:
    revisions = [revision("r1"), revision("r2"), revision("a1", "a"), revision("a2", "a")]
    planned = plan(revisions, blocked="nothing leaves this host", standby_keep=0, archive_keep=0)
    assert {action for _state, action in planned.values()} == {"none"}


def test_what_is_damaged_is_told_and_left_alone() -> None:
    planned = plan([revision("r1", problem="manifest.json is not JSON")], standby_keep=0)
    assert planned == {"r1": ("unknown", "none")}


def test_what_is_archived_by_the_plan_counts_in_the_archive_so_that_a_second_run_finds_nothing_to_do() -> None:
    before = [revision("r3", month=9, roles="current"), revision("r2", month=8), revision("r1", month=7)]
    before += [revision("a2", "a", month=11), revision("a1", "a", month=10)]
    planned = plan(before)
    after = []
    for item in before:
        action = planned[item["revision"]][1]
        if action == "archive":
            item = {**item, "published": False, "archived": True, "archived_at": "2026-11-21T00:00:00Z"}
        if action != "delete":
            after.append(item)
    assert {action for _state, action in plan(after).values()} == {"none"}


def test_models_do_not_count_for_each_other() -> None:
    other = {**revision("r1"), "name": "code"}
    rows = plan_models([revision("r1"), other], used={}, listed={}, retention={}, now=NOW)
    assert [(row["name"], row["action"]) for row in rows] == [("chat", "none"), ("code", "none")]


@pytest.mark.parametrize(
    ("value", "path", "fix"),
    [
        ([1], "local_llm_model_retention", "as a mapping"),
        ({"standby_kept": 1}, "local_llm_model_retention.standby_kept", "Did you mean standby_keep?"),
        ({"archive_days": "90"}, "local_llm_model_retention.archive_days", "without quotes"),
        ({"archive_keep": -1}, "local_llm_model_retention.archive_keep", "the default is 2"),
        ({"archive_keep": True}, "local_llm_model_retention.archive_keep", "whole number"),
        ({"archive_days": 1.5}, "local_llm_model_retention.archive_days", "whole number"),
    ],
)
def test_a_wrong_policy_is_refused_with_key_value_and_fix(value: Any, path: str, fix: str) -> None:
    ((found, observed, _expected, action),) = retention_problems(value)
    assert found == path
    assert fix in action
    assert observed == (value if not isinstance(value, dict) else next(iter(value.values())))


@pytest.mark.parametrize("value", [None, {}, {"standby_keep": 0, "archive_keep": 0, "archive_days": 0}])
def test_a_right_policy_is_taken(value: Any) -> None:
    assert retention_problems(value) == []
