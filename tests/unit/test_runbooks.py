# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks: the index has every page, every finding leads to one, and the roles agree on where recoveries lock."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import ALL_CHECKS
from ansible_collections.local_llm.ops.plugins.plugin_utils._runbooks import runbook_place

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "runbooks"


def test_the_index_names_every_page_once_and_nothing_else() -> None:
    linked = re.findall(r"\]\((\w+\.md)\)", (PAGES / "README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(path.name for path in PAGES.glob("*.md") if path.name != "README.md")


def test_every_check_leads_to_a_page_that_is_there() -> None:
    for check in ALL_CHECKS:
        place = runbook_place(check.runbook)
        assert place == f"{ROOT}/docs/runbooks/{check.group}.md, section {check.name}", check.name


def test_the_runbooks_are_shipped() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert not any(entry.startswith("docs") for entry in galaxy["build_ignore"])


def test_rollouts_look_for_the_lock_of_recoveries_where_it_is() -> None:
    def defaults(role: str) -> dict[str, str]:
        loaded: dict[str, str] = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8"))
        return loaded

    assert defaults("_release")["_release_recovery_lock_directory"] == defaults("_recovery")["_recovery_lock_directory"]
    for name in ("begin", "gate"):
        tasks = (ROOT / f"roles/_release/tasks/{name}.yml").read_text(encoding="utf-8")
        assert "refuse_beside_recovery.yml" in tasks
