# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command in a fenced block of the documentation exists, or says above itself that it is not checked.

Not checked: a comment in the line above the block, as in  <!-- not checked: runs on the user's own machines -->
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SHELLS = {"", "bash", "console", "sh", "shell"}
MARK = "<!-- not checked:"
FENCE = re.compile(r"^\s*```\s*(\w*)\s*$")
# Commands of a terminal that need no check of ours.
PLAIN = {"cd", "cp", "cat", "curl", "export", "git", "ls", "less", "mkdir", "sudo", "apt-get", "ssh", "$EDITOR"}


def relative(path: Path) -> str:
    """Return a path as the checkout knows it."""
    return str(path.relative_to(CHECKOUT))


def commands(text: str) -> list[tuple[int, str]]:
    """Return (line number, command) of every fenced command that is not marked; continued lines are one command."""
    found: list[tuple[int, str]] = []
    lines = text.splitlines()
    inside, wanted, start, pending = False, False, 0, ""
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if fence:
            if not inside:
                above = next((item for item in reversed(lines[: number - 1]) if item.strip()), "")
                wanted = fence.group(1).lower() in SHELLS and not above.strip().startswith(MARK)
            inside, pending = not inside, ""
            continue
        if not (inside and wanted):
            continue
        start = start if pending else number
        pending += line.strip().removeprefix("$ ")
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip() + " "
            continue
        if pending and not pending.startswith("#"):
            found.append((start, pending))
        pending = ""
    return found


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def problem(command: str) -> str:
    """Return what is wrong with a command, or nothing."""
    words = [word for word in command.split("  #")[0].split(" #")[0].split() if not re.match(r"^[A-Z_]+=", word)]
    if words[:1] == ["sudo"]:
        words = words[1:]
    if not words:
        return ""
    if words[0] == "make":
        unknown = [word for word in words[1:] if not word.startswith("-") and "=" not in word.strip("\"'")]
        unknown = [word for word in unknown if re.fullmatch(r"[a-z][a-z-]*", word) and word not in make_targets()]
        return f"the Makefile has no target {unknown[0]}" if unknown else ""
    if words[0] == "ansible-playbook":
        for word in words[1:]:
            name = re.fullmatch(r"local_llm\.ops\.(\w+)", word)
            if name and not (CHECKOUT / "playbooks" / f"{name.group(1)}.yml").is_file():
                return f"there is no playbook {name.group(1)}"
            if word.startswith("playbooks/") and not (CHECKOUT / word).is_file():
                return f"there is no file {word}"
        return ""
    if "/" in words[0] and not words[0].startswith(("/", "~", ".build/")):
        return "" if (CHECKOUT / words[0]).is_file() else f"there is no file {words[0]}"
    known = PLAIN | {"ansible", "ansible-galaxy", "ansible-inventory", "ansible-doc", "python3"}
    if words[0] in known or words[0].startswith((".build/", "/")):
        return ""
    return f"nothing checks {words[0]}; mark the block with {MARK} reason -->"


DOCUMENTS = sorted(
    p for pattern in ("*.md", "docs/**/*.md", "roles/*/README.md", "tests/lab/*.md") for p in CHECKOUT.glob(pattern)
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_command_in_the_documentation_exists(path: Path) -> None:
    found = [(number, command, problem(command)) for number, command in commands(path.read_text(encoding="utf-8"))]
    bad = [f"{relative(path)}:{number}: {command}: {text}" for number, command, text in found if text]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```bash\nmake demo\n```\n", ["make demo"]),
        ("```\n$ make demo\n```\n", ["make demo"]),
        ("```yaml\na: b\n```\n", []),
        ("<!-- not checked: needs GPUs -->\n\n```bash\nfoo\n```\n", []),
        ("```bash\nmake \\\n  demo\n# a comment\n```\n", ["make demo"]),
    ],
)
def test_commands_are_found_in_fenced_blocks(text: str, found: list[str]) -> None:
    assert [command for _number, command in commands(text)] == found


@pytest.mark.parametrize(
    ("command", "good"),
    [
        ("make demo", True),
        ("sudo make lab-up LAB=x", True),
        ("make no-such-target", False),
        ("ansible-playbook local_llm.ops.nosuchplaybook -i inventory", False),
        ("tests/lab/nosuchfile.py up", False),
        ("frobnicate --now", False),
        ("git clone URL", True),
    ],
)
def test_an_unknown_command_is_found(command: str, good: bool) -> None:
    assert (problem(command) == "") is good
