# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A long wait says now and then what is awaited, and falls silent when it is over."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._told_wait import told_every, waiting_line


def test_a_line_says_what_how_long_and_how_long_still() -> None:
    assert waiting_line("gpu1: reboot", 60.2, 1200) == "gpu1: reboot: 60 s so far, 1140 s left"
    assert "its 1200 s are over" in waiting_line("gpu1: reboot", 1201, 1200)


def test_it_speaks_while_the_block_runs_and_not_after_it() -> None:
    lines: list[str] = []
    second = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) >= 2:
            second.set()

    with told_every(say, "gpu1", 10, 0.01):
        assert second.wait(timeout=10)
    count = len(lines)
    assert all(line.startswith("gpu1: ") for line in lines)
    assert threading.Event().wait(0.05) is False and len(lines) == count


def test_a_short_wait_says_nothing_and_an_error_ends_it_too() -> None:
    lines: list[str] = []
    with pytest.raises(ValueError, match="no"), told_every(lines.append, "gpu1", 10, 60):
        raise ValueError("no")
    assert lines == [] and not [one for one in threading.enumerate() if "watch" in one.name]
