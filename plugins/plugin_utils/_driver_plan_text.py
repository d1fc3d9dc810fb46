# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A plan for the driver as one line for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REBOOTS = {"not_needed": "no reboot", "needed": "with a reboot", "maybe": "perhaps with a reboot"}


def plan_line(plan: Mapping[str, Any]) -> str:
    """Return from, to, packages, reboot and downtime of a plan that may be carried out."""
    before, after = plan["from"] or "no driver", plan["to"] or "no driver"
    if not plan["changes"]:
        return f"The driver is {after} already and is held; nothing is to be done."
    move = f"{before} is held" if before == after and not plan["install"] else f"{before} to {after}"
    if plan["modules"] and plan["install"]:
        move += f", {plan['modules']} modules ({plan['modules_reason']})"
    counts = [
        f"{len(plan[key])} {word}"
        for key, word in (("install", "to install"), ("remove", "to remove"), ("hold", "to hold"))
        if plan[key]
    ]
    reboot = f"{_REBOOTS[plan['reboot']]}: {plan['reboot_reason']}"
    downtime = plan["downtime_seconds"]
    return (
        f"{move}. Packages: {', '.join(counts) or 'none'}. {reboot[0].upper()}{reboot[1:]}. "
        f"Out of service for about {downtime['expected']} s ({downtime['why']})."
    )
