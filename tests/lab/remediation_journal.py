# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What remediation wrote down on a host: for tests of those who have the host meanwhile, a rollout or a recovery."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from fleet import Fleet

REMEDIATE = "/usr/local/libexec/local_llm/remediate"
DIRECTORY = "/var/lib/local_llm/remediation"
HOLD = "works on this host"


def lines(fleet: Fleet, host: str) -> list[dict[str, Any]]:
    """Return the journal of a host's remediation."""
    text = fleet.shell(host, f"cat {DIRECTORY}/journal.jsonl 2>/dev/null || true")
    return [json.loads(line) for line in text.splitlines()]


def told(fleet: Fleet, host: str) -> list[tuple[str, str]]:
    """Return (action, result or who) of every line."""
    return [(x["action"], x["reason"] if x["action"] in ("begin", "end") else x["result"]) for x in lines(fleet, host)]


def unit_time(fleet: Fleet, host: str, what: str) -> float:
    """Return when the service of the instance did something last, such as ActiveEnterTimestamp, in whole seconds."""
    shown = fleet.shell(host, f"systemctl show --timestamp=unix -p {what} --value local-llm@chat")
    return float(shown.strip().removeprefix("@"))


def assert_held(fleet: Fleet, host: str, at: float, who: str = "") -> None:
    """Check that the host was held at a time, by the last one who had it, that nothing was done, and that it is over.

    at: in Unix time, cut to whole seconds. who: as the lines name them, such as "by stop".
    """
    known = lines(fleet, host)
    last = max(number for number, line in enumerate(known) if line["action"] == "begin")
    assert [line["action"] for line in known[last:]] == ["begin", "end"], known[last:]
    begin, end = known[last:]
    assert begin["reason"] == end["reason"], (begin, end)
    assert not who or begin["reason"] == who, begin
    held_from, held_to = (datetime.fromisoformat(line["at"]).timestamp() for line in (begin, end))
    assert held_from - 1 <= at <= held_to, f"{host} was held from {held_from} to {held_to}, and it happened at {at}"
    assert HOLD not in fleet.shell(host, f"{REMEDIATE} status")
