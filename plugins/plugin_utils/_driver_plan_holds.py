# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does a plan hold packages and nothing else? Then nothing stops, and nobody is drained. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def only_holds(plan: Mapping[str, Any], loaded_version: str | None) -> bool:
    """Tell whether the driver of a plan runs already, and only its packages are to be held. loaded_version: now."""
    return (
        bool(plan.get("changes"))
        and not plan.get("install")
        and not plan.get("remove")
        and loaded_version is not None
        and plan.get("to") == loaded_version
        # Modules of the other kind, in the same version, are exchanged: that stops what serves.
        and plan.get("reboot") == "not_needed"
    )
