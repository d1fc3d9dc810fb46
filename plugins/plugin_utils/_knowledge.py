# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What this version of the collection knows: its engines and its SLO tiers."""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine, known_engines
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import Knowledge
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import builtin_tiers, tier_problems


def collection_knowledge() -> Knowledge:
    """Return the engines and tiers that ship with the collection."""
    return Knowledge(
        engines={name: get_engine(name) for name in known_engines()},
        tiers=tuple(builtin_tiers()),
        tier_problems=tier_problems,
        artifact_engines=tuple(known_engines()),
    )
