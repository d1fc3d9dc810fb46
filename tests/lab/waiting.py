# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for a condition with a deadline: what every test does instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest


def wait_for(what: str | Callable[[], str], condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Return the condition's first true value; fail, naming what was awaited, when the time is over.

    what: a function is called at the end of the time, so that it can say how things stand then.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.3)
    pytest.fail(f"Not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
