# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles copy to hosts is whole: every script there finds what it imports, and nothing else is copied."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._release import read_release_text

ROOT = Path(__file__).resolve().parents[3]
UTILS = ROOT / "plugins/module_utils"
PACKAGE = "ansible_collections.local_llm.ops.plugins.module_utils"
IMPORT = re.compile(rf"^\s*from {re.escape(PACKAGE)}(?:\.([\w.]+))? import (\([^)]*\)|[^\n]+)", re.MULTILINE)


def imported(path: Path) -> set[str]:
    """Return the files below module_utils that a file needs directly, with the packages they are in."""
    found: set[str] = set()
    for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
        parts = module.split(".") if module else []
        wanted = [
            word.strip().split(" as ")[0] for word in names.strip("()").replace("\n", " ").split(",") if word.strip()
        ]
        paths = (
            [parts]
            if parts and (UTILS.joinpath(*parts).with_suffix(".py")).is_file()
            else [[*parts, w] for w in wanted]
        )
        for one in paths:
            place = UTILS.joinpath(*one)
            found.add("/".join(one) + ("/__init__.py" if place.is_dir() else ".py"))
            found |= {"/".join([*one[:depth], "__init__.py"]) for depth in range(1, len(one))}
    return found


def closure(*scripts: Path) -> set[str]:
    """Return all that scripts need."""
    found: set[str] = set()
    left = set().union(*(imported(script) for script in scripts))
    while left:
        found |= left
        left = set().union(*(imported(UTILS / name) for name in left)) - found
    return found


@pytest.mark.parametrize(
    ("role", "scripts", "variable"),
    [
        ("remediation", ("remediate.py", "remediation_agent.py"), "__remediation_modules"),
        ("ollama", ("ollama_metrics.py",), "__ollama_metrics_modules"),
        ("gateway", ("gateway_state.py",), "__gateway_modules"),
    ],
)
def test_a_role_copies_what_its_scripts_import_and_nothing_else(
    role: str, scripts: tuple[str, ...], variable: str
) -> None:
    listed = yaml.safe_load((ROOT / f"roles/{role}/vars/main.yml").read_text(encoding="utf-8"))[variable]
    assert sorted(listed) == sorted(closure(*(ROOT / f"roles/{role}/files/{script}" for script in scripts)))


def test_the_agent_needs_next_to_nothing() -> None:
    # It runs all the time and without any right: one file of plain functions.
    needed = closure(ROOT / "roles/remediation/files/remediation_agent.py")
    assert needed == {"_remedy/__init__.py", "_remedy/_service.py"}


def test_the_fake_release_of_the_lab_has_the_id_of_its_description() -> None:
    made = yaml.safe_load((ROOT / "tests/remediation/release.yml").read_text(encoding="utf-8"))
    assert read_release_text(made["fake_release_json"], made["fake_release_id"])["engine"] == "llamacpp"
