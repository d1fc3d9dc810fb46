# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How long an engine may take to stop, held against the time after which the service manager kills it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# The option of an engine that lets requests under way finish, and the variable that bounds a stop.
OPTION = "shutdown_timeout_seconds"
VARIABLE = "host_stop_timeout_seconds"
# What the role host sets when the inventory says nothing; a unit test holds both together.
DEFAULT_SECONDS = 120
# After the last request the processes of the engine still have to end.
MARGIN_SECONDS = 15


def needed_seconds(config: Mapping[str, Any]) -> int | None:
    """Return how long a stop may take with this completed configuration; None when the engine has no such time."""
    value = config.get(OPTION)
    return None if isinstance(value, bool) or not isinstance(value, int) else value + MARGIN_SECONDS


def unit_stop_seconds(unit: str) -> int | None:
    """Return TimeoutStopSec of the text of a unit; None when it says none, or not in plain seconds."""
    found = re.findall(r"(?m)^TimeoutStopSec=(\d+)s?[ \t]*$", unit)
    return int(found[-1]) if found else None


def expected(needed: int) -> str:
    """Return what must hold, in words that name both settings."""
    return f"{VARIABLE} of at least {needed} ({MARGIN_SECONDS} more than {OPTION} = {needed - MARGIN_SECONDS})"
