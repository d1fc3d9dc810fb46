# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One line of a kernel log as time, boot and text: records of /dev/kmsg, entries of the journal, lines of syslog."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

# (seconds since 1970, id of the boot, text). What is not known is None.
LogLine = tuple[Optional[float], Optional[str], str]

_KMSG = re.compile(r"^(\d+),(\d+),(\d+),([^;]*);(.*)$", re.S)
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_CLOCK = re.compile(r"^\s*(?:<\d+>)?\[\s*(\d+\.\d+)\]\s?(.*)$", re.S)
_ISO = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}(?:\d{3})?)?(?:Z|[+-]\d\d:\d\d)?)\s+\S+\s+(.*)$", re.S)
_CLASSIC = re.compile(r"^([A-Z][a-z]{2})\s+(\d{1,2})\s+(\d\d:\d\d:\d\d)\s+\S+\s+(.*)$", re.S)
# The kernel has no process id: "kernel[4242]:" is a program that calls itself so.
_KERNEL_TAG = re.compile(r"^kernel:\s?(.*)$", re.S)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_SECONDS = 86400.0
# How far a time may lie ahead of the clock before it is taken to belong to another boot, or to another year.
_SLACK_SECONDS = 60.0


@dataclass(frozen=True)
class Clock:
    """The present: seconds since 1970, seconds since boot, and which boot it is."""

    now_seconds: float
    uptime_seconds: float | None
    boot_id: str | None

    def since_boot(self, seconds: float) -> tuple[float, str | None]:
        """Return time and boot of something that happened so long after the start of the kernel.

        What cannot have happened in this boot yet is from an earlier one: its time is not known, so it counts as now.
        """
        if self.uptime_seconds is None or seconds > self.uptime_seconds + _SLACK_SECONDS:
            return self.now_seconds, None
        return self.now_seconds - max(0.0, self.uptime_seconds - seconds), self.boot_id

    def boot_at(self, seconds: float) -> str | None:
        """Return which boot a time lies in, None when it is before this one or not known."""
        if self.uptime_seconds is None or seconds < self.now_seconds - self.uptime_seconds - 1:
            return None
        return self.boot_id


def parse_kmsg(text: str, clock: Clock) -> tuple[int, LogLine] | None:
    """Return sequence number and line of a record of /dev/kmsg; None for what is no record."""
    match = _KMSG.match(text)
    if not match:
        return None
    # After the first line come the properties of the device, as " KEY=value".
    message = match.group(5).split("\n", 1)[0]
    at, boot = clock.since_boot(int(match.group(3)) / 1e6)
    return int(match.group(2)), (at, boot, unescape(message))


def unescape(text: str) -> str:
    r"""Return a message with \x0a and the like as the characters that the kernel hid that way."""
    if "\\x" not in text:
        return text
    raw = _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), text)
    try:
        return raw.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return raw


def parse_file_line(text: str, clock: Clock) -> LogLine | None:
    """Return a line of a log file in one of the known formats; None for a line that no kernel wrote."""
    if not text or (text[0] == " " and "=" in text and "[" not in text):
        return None
    record = parse_kmsg(text, clock)
    if record is not None:
        return record[1]
    started = _CLOCK.match(text)
    if started:
        at, boot = clock.since_boot(float(started.group(1)))
        return at, boot, started.group(2)
    return _parse_syslog(text, clock)


def _parse_syslog(text: str, clock: Clock) -> LogLine | None:
    iso, classic = _ISO.match(text), _CLASSIC.match(text)
    if iso:
        at, rest = _iso_seconds(iso.group(1)), iso.group(2)
    elif classic:
        at, rest = _classic_seconds(classic, clock.now_seconds), classic.group(4)
    else:
        # No format that is known: nobody can tell who wrote it.
        return None
    tag = _KERNEL_TAG.match(rest)
    if tag is None:
        # Any program may write to the log of the system; only the kernel speaks for its driver.
        return None
    message = tag.group(1)
    started = _CLOCK.match(message)
    if started:
        message = started.group(2)
    if at is None:
        return clock.now_seconds, None, message
    return min(at, clock.now_seconds), clock.boot_at(at), message


def _iso_seconds(text: str) -> float | None:
    """Return the time of a line that tells it in full; without a zone it is the one of the host."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def _classic_seconds(match: re.Match[str], now_seconds: float) -> float | None:
    """Return the time of a line without a year: the latest year in which it is not in the future."""
    if match.group(1) not in _MONTHS:
        return None
    month, day = _MONTHS.index(match.group(1)) + 1, int(match.group(2))
    hour, minute, second = (int(part) for part in match.group(3).split(":"))
    year = time.localtime(now_seconds).tm_year
    for candidate in (year + 1, year, year - 1):
        try:
            seconds = time.mktime((candidate, month, day, hour, minute, second, 0, 0, -1))
        except (ValueError, OverflowError):
            return None
        if seconds <= now_seconds + _DAY_SECONDS:
            return seconds
    return None


def parse_journal(text: str, clock: Clock) -> tuple[str, LogLine] | None:
    """Return cursor and line of an entry that journalctl printed as JSON; None for what is no entry.

    What was written while the clock was ahead counts as of now, or no clearing would ever reach it.
    """
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("__CURSOR"), str):
        return None
    try:
        at: float | None = min(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, clock.now_seconds)
    except (KeyError, TypeError, ValueError):
        at = None
    return entry["__CURSOR"], (at, dashed(entry.get("_BOOT_ID")), _message(entry.get("MESSAGE")))


def _message(value: str | list[Any] | None) -> str:
    """Return a message: text, or a list of bytes when it is no valid UTF-8, or null when it is too long."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    if all(isinstance(item, int) and 0 <= item <= 255 for item in value):
        return bytes(value).decode("utf-8", "replace")
    return " ".join(_message(item) for item in value if isinstance(item, (str, list)))


def dashed(boot: Any) -> str | None:
    """Return a boot id as /proc shows it; the journal writes it without dashes."""
    if not isinstance(boot, str) or not boot:
        return None
    if len(boot) != 32:
        return boot
    return "-".join((boot[:8], boot[8:12], boot[12:16], boot[16:20], boot[20:]))
