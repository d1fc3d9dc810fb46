# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Freeze windows: times in which no rollout may start. Plain data in, findings out.

A window is {"name", "from", "until"} with ISO 8601 times, or {"name", "weekdays", "from", "until"} with times of day
such as "16:00" that come back every week; "timezone" is a name such as Europe/Berlin, default UTC. A weekly window
whose end is not after its start ends on the next day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding, nearest

VARIABLE = "local_llm_freeze_windows"
KEYS = ("name", "from", "until", "weekdays", "timezone")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class FreezeError(ValueError):
    """A window is malformed; the message has the key, the value and the fix."""


def freeze_findings(windows: Any, now: datetime, override: str | None = None) -> list[dict[str, Any]]:
    """Return a failed finding for each window that holds now, and for each that is malformed.

    override is the name of one window that a person chose to ignore; it becomes a warning.
    """
    if windows is None:
        return []
    if not isinstance(windows, list):
        return [_bad(VARIABLE, windows, "Write a list of windows, each with name, from and until.")]
    findings = []
    for index, window in enumerate(windows):
        path = f"{VARIABLE}[{index}]"
        try:
            end = window_end(path, window, now)
        except FreezeError as error:
            findings.append(_bad(path, window, str(error)))
            continue
        if end is None:
            continue
        name = str(window["name"])
        findings.append(
            finding(
                "freeze",
                "warn" if override == name else "fail",
                f"freeze window {name}",
                observed=f"frozen until {end.isoformat(timespec='minutes')}",
                expected="a time outside of every freeze window",
                action=f"Wait, or go on in spite of it: -e local_llm_ignore_freeze={name}",
                source=VARIABLE,
            )
        )
    return findings


def window_end(path: str, window: Any, now: datetime) -> datetime | None:
    """Return when the window that holds now ends, or None when now is outside. now has a time zone."""
    if not isinstance(window, Mapping):
        raise FreezeError("Write a mapping with name, from and until.")
    _check_keys(path, window)
    zone = _zone(path, window.get("timezone", "UTC"))
    if "weekdays" not in window:
        start, end = (_moment(f"{path}.{key}", window[key], zone) for key in ("from", "until"))
        if end <= start:
            raise FreezeError(f"{path}.until = {window['until']} is not after from = {window['from']}. Swap them.")
        return end if start <= now < end else None
    opens, closes = (_clock(f"{path}.{key}", window[key]) for key in ("from", "until"))
    days = _weekdays(f"{path}.weekdays", window["weekdays"])
    local = now.astimezone(zone)
    for back in (0, 1):
        day = local.date() - timedelta(days=back)
        if day.weekday() not in days:
            continue
        start = datetime.combine(day, opens, zone)
        end = datetime.combine(day if closes > opens else day + timedelta(days=1), closes, zone)
        if start <= local < end:
            return end
    return None


def _check_keys(path: str, window: Mapping[str, Any]) -> None:
    for key in window:
        if key not in KEYS:
            near = nearest(str(key), KEYS)
            raise FreezeError(
                f"{path}.{key} is not known. {f'Did you mean {near}?' if near else 'Use: ' + ', '.join(KEYS)}"
            )
    for key in ("name", "from", "until"):
        if not window.get(key):
            raise FreezeError(f"{path}.{key} is missing. Add it.")


def _zone(path: str, name: Any) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise FreezeError(f"{path}.timezone = {name} is not known here. Use a name such as Europe/Berlin.") from error


def _moment(path: str, value: Any, zone: tzinfo) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise FreezeError(f"{path} = {value} is no time. Write it as 2026-12-20T00:00.") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _clock(path: str, value: Any) -> time:
    try:
        return time.fromisoformat(str(value))
    except ValueError as error:
        raise FreezeError(f"{path} = {value} is no time of day. Write it in quotes, as '16:00'.") from error


def _weekdays(path: str, value: Any) -> set[int]:
    names: Iterable[Any] = value if isinstance(value, list) else [value]
    days = set()
    for name in names:
        if str(name).lower() not in WEEKDAYS:
            raise FreezeError(f"{path} has {name}. Use: {', '.join(WEEKDAYS)}.")
        days.add(WEEKDAYS.index(str(name).lower()))
    return days


def _bad(path: str, value: Any, action: str) -> dict[str, Any]:
    return finding(
        "freeze", "fail", path, observed=str(value), expected="a freeze window", action=action, source=VARIABLE
    )
