# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of the attributes that modules of this collection declare."""

from __future__ import annotations


class ModuleDocFragment:
    """Descriptions of the attributes; each module states its own support."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status prediction without modifying the target.
  diff_mode:
    description: Returns, in diff mode, what has changed, or what would change in C(check_mode).
  idempotent:
    description: Run twice in a row outside check mode with the same arguments, the second run changes nothing.
"""

    # What an action that only writes a report on the controller says.
    REPORT = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: In check mode nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: What it writes is written anew each time, with the time of the run. That is not told as a change.
"""

    # What a module that only reads says.
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Only reads, so check mode does the same.
  diff_mode:
    support: none
    details: It changes nothing.
  idempotent:
    support: full
"""
