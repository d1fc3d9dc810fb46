# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Batches as Ansible makes them from the hosts of a play and its serial, and the order of the hosts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ansible.utils.helpers import pct_to_int


def order_hosts(hosts: Sequence[str], canary: str | None, halted: Collection[str] = ()) -> list[str]:
    """Return the hosts in their order: the canary first when it is one of them, then those that do not serve.

    halted: hosts that an earlier rollout left out of service. They carry no traffic, and stand in once they are done.
    """
    ranks = {host: 0 if host == canary else 1 if host in halted else 2 for host in hosts}
    return sorted(hosts, key=lambda host: ranks[host])


def check_serial(serial: Sequence[int | str]) -> list[str]:
    """Return one message per entry that Ansible would not understand as meant."""
    messages = []
    for entry in serial:
        text = str(entry)
        if isinstance(entry, bool) or not re.fullmatch(r"[0-9]+%?", text):
            messages.append(f"serial entry {entry!r} is neither a whole number nor a percentage such as 10%")
        elif int(text.rstrip("%")) == 0:
            messages.append(f"serial entry {entry!r} would take no host at a time; use at least 1 or 1%")
    return messages


def batches(hosts: Sequence[str], serial: Sequence[int | str]) -> list[list[str]]:
    """Return the batches that Ansible makes of these hosts: percentages are of all of them, the last entry repeats."""
    rest = list(hosts)
    total = len(rest)
    entries = list(serial) or [-1]
    result: list[list[str]] = []
    while rest:
        size = pct_to_int(entries[min(len(result), len(entries) - 1)], total)
        if size <= 0:
            result.append(rest)
            break
        result.append(rest[:size])
        rest = rest[size:]
    return result
