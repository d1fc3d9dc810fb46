# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The first words of a benchmark report's invalid reasons, for those who still look for them here; see _bench."""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import REASON_ALL_FAILED, REASON_GAVE_UP

__all__ = ["REASON_ALL_FAILED", "REASON_GAVE_UP"]
