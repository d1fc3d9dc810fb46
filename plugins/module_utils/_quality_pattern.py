# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A regular expression on an answer, with an end: some patterns take hours on texts that nobody thought of."""

from __future__ import annotations

import re
import signal
import threading
from typing import Any

LIMIT_SECONDS = 5.0


class PatternTooSlow(Exception):
    """The pattern came to no end on this text; the text says what to do."""


def found(pattern: str, text: str, flags: int = 0, at_start: bool = False) -> bool:
    """Tell whether a text matches a pattern, anywhere or at its start; raise PatternTooSlow when that has no end."""
    compiled = re.compile(pattern, flags)
    look = compiled.match if at_start else compiled.search
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread can be woken up.
        return look(text) is not None

    def stop(_number: int, _frame: Any) -> None:
        raise PatternTooSlow(
            f"the pattern came to no end within {LIMIT_SECONDS:g} s on this answer; write it without one repetition "
            "inside another, such as (a+)+"
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        return look(text) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
