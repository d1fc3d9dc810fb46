# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All dashboards."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards import (
    board_engine,
    board_executive,
    board_fleet,
    board_host,
    board_rollout,
)

ALL = tuple(module.board() for module in (board_fleet, board_host, board_engine, board_rollout, board_executive))
