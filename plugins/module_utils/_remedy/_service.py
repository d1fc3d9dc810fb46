# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Who is out of service: a file that is a lease, and what HAProxy's agent check is told of it.

The agent says only "up" and "down", which change what HAProxy takes for the state of a server. It never says "ready",
"drain" or "maint": these would overwrite what operators, rollouts and leases set (gateway_backend), and HAProxy keeps
them over restarts. A server is used when its health check, its agent and its administrative state all allow it.

{"schema": 1, "out": {server: {"until_uptime_seconds", "reason"}}} lies in /run, so that a reboot ends every lease.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

SCHEMA = 1
UP = "up\n"
MAX_REQUEST_BYTES = 256
_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def server_name(host: str, instance: str) -> str:
    """Return how the gateway calls an instance."""
    return f"{host}-{instance}"


def document(out: Mapping[str, str], uptime_seconds: float, lease_seconds: float) -> dict[str, Any]:
    """Return the file for these servers and reasons. Nobody who renews it: after the lease they are in again."""
    until = round(uptime_seconds + lease_seconds, 1)
    return {
        "schema": SCHEMA,
        "out": {server: {"until_uptime_seconds": until, "reason": reason} for server, reason in sorted(out.items())},
    }


def reply(request: str, text: str | None, uptime_seconds: float) -> str:
    """Return what the agent answers. request: the name of a server; text: the file, or None when there is none.

    Whatever cannot be read means up: the health check of the gateway still looks at the server itself.
    """
    server = request.strip()
    if text is None or not _SERVER.fullmatch(server):
        return UP
    try:
        entry = json.loads(text)["out"].get(server)
        if entry is None or uptime_seconds >= float(entry["until_uptime_seconds"]):
            return UP
        reason = re.sub(r"[^A-Za-z0-9 .,;:_-]", "", " ".join(str(entry["reason"]).split()))[:120]
    except (ValueError, KeyError, TypeError, AttributeError):
        return UP
    # The space matters: HAProxy takes "down#why" for a word that it does not know.
    return f"down #{reason}\n"
