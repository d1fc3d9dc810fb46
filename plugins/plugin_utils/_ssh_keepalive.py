# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does SSH notice a host that is cut off? Without a keepalive a task waits for its answer for ever."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding

FIX = "Set ansible_ssh_common_args: '-o ServerAliveInterval=10 -o ServerAliveCountMax=3' for all hosts."
SOURCE = "ssh -G with the arguments of the inventory"
_INTERVAL = re.compile(r"^serveraliveinterval (\d+)$", re.MULTILINE)

# From SSH arguments and a host's address to what `ssh -G` prints, None when it cannot be asked.
AskSsh = Callable[[list[str], str], "str | None"]


def ssh_effective(arguments: list[str], address: str) -> str | None:
    """Return the settings that ssh would use; it connects to nothing."""
    try:
        done = subprocess.run(
            ["ssh", *arguments, "-G", address], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def keepalive_findings(hosts: Mapping[str, Mapping[str, str]], ask: AskSsh = ssh_effective) -> list[dict[str, Any]]:
    """Return one warning that names the hosts whose SSH has no keepalive; none when all have one.

    hosts: {host: {"address", "arguments"}}, only those that are reached by SSH. Hosts with equal arguments are asked
    about once. What ssh does not tell is not warned about.
    """
    by_arguments: dict[str, list[str]] = {}
    for host, one in hosts.items():
        by_arguments.setdefault(one["arguments"], []).append(host)
    without: list[str] = []
    for arguments, names in by_arguments.items():
        try:
            words = shlex.split(arguments)
        except ValueError:
            # Ansible itself will say what is wrong with these arguments.
            continue
        printed = ask(words, hosts[names[0]]["address"])
        match = _INTERVAL.search(printed) if printed else None
        if match and int(match[1]) == 0:
            without += names
    if not without:
        return []
    shown = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
    return [
        finding(
            "ssh_keepalive",
            "warn",
            f"SSH to {shown}",
            observed="no keepalive: a host that is cut off holds the rollout up until a person ends it",
            expected="ServerAliveInterval above 0",
            action=FIX,
            source=SOURCE,
        )
    ]
