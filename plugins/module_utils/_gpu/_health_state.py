# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a host remembers of the health of its GPUs: how far the log was read, events, counters, actions, clearings.

Everything that changes the file goes through changed_state(): it holds a lock, so that two runs at once lose nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic

STATE_PATH = "/var/lib/local_llm/health/state.json"
RETENTION_SECONDS = 7 * 86400.0
MAX_EVENTS = 2000
MAX_ACTIONS = 500
ALL_GPUS = "*"
# What a GPU is judged by: it goes last when there is no room for everything.
GPU_KINDS = ("xid", "sxid", "fallen_off_bus")
# Of one trouble (_trouble) so many of the oldest and of the newest events are kept.
EDGE_EVENTS = 50
# A flood of one trouble is thinned to about one event in so many seconds: less than the silence that ends a burst.
THIN_SECONDS = 60.0
# The checks that compare counters with those of an earlier run.
COMPARING_CHECKS = ("throttle_time", "pcie_replay", "nvlink_errors")
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
LOCK_WAIT_SECONDS = 20.0
_SHAPE: dict[str, tuple[type, ...]] = {
    "cursor": (dict, type(None)),
    "events": (list,),
    "previous": (dict, type(None)),
    "cleared_at_seconds": (dict,),
    "actions": (list,),
}
_CURSORS: dict[str, dict[str, type]] = {
    "journal": {"cursor": str},
    "kmsg": {"sequence": int},
    "file": {"path": str, "inode": int, "offset": int, "head_bytes": int, "head_sha256": str},
}
_EVENT_KEYS = ("at", "at_seconds", "boot_id", "kind", "code", "sub_code", "pci", "message")

State = dict[str, Any]


@dataclass
class StateFile:
    """A state while it is held. problem: what was wrong with the file, or None."""

    state: State
    problem: str | None = None


class StateBusy(OSError):
    """Another run holds the state for longer than this one waits."""


def empty_state() -> State:
    """Return the state of a host that was never looked at."""
    return {"schema": 1, "cursor": None, "events": [], "previous": None, "cleared_at_seconds": {}, "actions": []}


def parse_state(text: str) -> State:
    """Return the text of a state file as a state. Raises ValueError with what is wrong."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it holds no dictionary")
    if value.get("schema") != 1:
        raise ValueError(f"its schema is {value.get('schema')!r}, known is 1")
    for key, types in _SHAPE.items():
        if not isinstance(value.get(key, empty_state()[key]), types):
            raise ValueError(f"{key} is {type(value[key]).__name__}")
    state = {**empty_state(), **value}
    cursor = state["cursor"]
    if cursor is not None:
        keys = _CURSORS.get(cursor.get("source"))
        if keys is None or not all(isinstance(cursor.get(key), kind) for key, kind in keys.items()):
            raise ValueError("cursor is none that this version knows")
    for event in state["events"]:
        if not isinstance(event, dict) or not all(key in event for key in _EVENT_KEYS):
            raise ValueError("an entry of events is none")
    if any(not isinstance(action, dict) for action in state["actions"]):
        raise ValueError("an entry of actions is none")
    if any(isinstance(at, bool) or not isinstance(at, (int, float)) for at in state["cleared_at_seconds"].values()):
        raise ValueError("a time in cleared_at_seconds is none")
    return state


def read_state(path: str) -> tuple[State, str | None]:
    """Return the state and what is wrong with its file, or None. A missing file is an empty state."""
    try:
        with open(path, encoding="utf-8") as stream:
            return parse_state(stream.read()), None
    except FileNotFoundError:
        return empty_state(), None
    except OSError as error:
        return empty_state(), f"{path} cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return empty_state(), f"{path} is broken: {error}"


@contextmanager
def changed_state(path: str, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[StateFile]:
    """Hold the state of a host; what the caller made of it is written at the end, unless the caller failed.

    A broken file is kept aside under another name. Raises StateBusy, and OSError when the file cannot be written.
    """
    _make_directory(os.path.dirname(path))
    with _locked(f"{path}.lock", wait_seconds):
        state, problem = read_state(path)
        held = StateFile(state, problem)
        if problem is not None and os.path.exists(path):
            aside = f"{path}.broken-{int(time.time())}"
            os.replace(path, aside)
            held.problem = f"{problem}. It is kept as {aside}"
        yield held
        write_json_atomic(path, held.state, FILE_MODE)


def _make_directory(path: str) -> None:
    """Make the directory of the state; those above it are for everybody, as other files of the collection lie there."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return
    os.chmod(path, DIRECTORY_MODE)


@contextmanager
def _locked(path: str, wait_seconds: float) -> Iterator[None]:
    """Hold a file that nobody else may hold. The kernel lets go of it when the process ends, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StateBusy(f"another run holds {path} for {wait_seconds:g} s") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def with_events(state: State, new: Sequence[Mapping[str, Any]], now_seconds: float, overlap: bool) -> State:
    """Return the state with new events, newest last: seven days of them, and at most 2000 (see _fitting).

    overlap: the log was read again from an earlier place, so events that are known already are left out: those of the
    same second and text, as often as they are known. Without it two equal events are two events.
    """
    known = Counter(_identity(event, 0) for event in state["events"]) if overlap else Counter()
    added = []
    for event in new:
        # Sources differ by fractions of a second in when something happened.
        match = next((key for key in (_identity(event, step) for step in (0, -1, 1)) if known[key] > 0), None)
        if match is None:
            added.append(dict(event))
        else:
            known[match] -= 1
    events = sorted([*state["events"], *added], key=lambda event: _at(event, now_seconds))
    kept = [event for event in events if _at(event, now_seconds) > now_seconds - RETENTION_SECONDS]
    return {**state, "events": _fitting(kept, state["cleared_at_seconds"], now_seconds)}


def _fitting(
    events: Sequence[dict[str, Any]], cleared_at_seconds: Mapping[str, float], now_seconds: float
) -> list[dict[str, Any]]:
    """Return at most MAX_EVENTS of the events, in their order; a flood of one trouble never drives out another one.

    The first and the last events of each trouble stay longest, and those that still count against a GPU longer than
    those that something has answered; noise of the host goes first.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, event in enumerate(events):
        groups.setdefault(_trouble(event), []).append(place)
    ranked: list[tuple[bool, bool, int, int]] = []
    for places in groups.values():
        if len(places) > 2 * EDGE_EVENTS:
            places = _thinned(places, [_at(events[place], now_seconds) for place in places])
        for number, place in enumerate(places):
            edge = min(number, len(places) - 1 - number)
            if edge < EDGE_EVENTS:
                event = events[place]
                noise = event["kind"] not in GPU_KINDS
                ranked.append((noise, not counting_events([event], cleared_at_seconds, None), edge, -place))
    return [events[place] for place in sorted(-one[3] for one in sorted(ranked)[:MAX_EVENTS])]


def _trouble(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what events have in common that tell the same story again and again; a blocked task has a name."""
    name = event["message"].partition(" blocked for")[0].rpartition(":")[0] if event["kind"] == "hung_task" else ""
    return (event["kind"], event["code"], event["sub_code"], event["pci"], event["boot_id"], name)


def _thinned(places: Sequence[int], times: Sequence[float]) -> list[int]:
    """Return the places without those whose neighbours on both sides are near in time: the bursts stay as they are."""
    kept = [places[0]]
    last = times[0]
    for number in range(1, len(places)):
        if number == len(places) - 1 or times[number + 1] - last > THIN_SECONDS:
            kept.append(places[number])
            last = times[number]
    return kept


def _identity(event: Mapping[str, Any], step: int) -> tuple[Any, ...]:
    at = event.get("at_seconds")
    second = None if at is None else int(at) + step
    return (second, event["kind"], event["code"], event["pci"], event["message"])


def _at(event: Mapping[str, Any], now_seconds: float) -> float:
    at = event.get("at_seconds")
    return now_seconds if at is None else float(at)


def counters_of(snapshot: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the next run compares with; None when no GPU told its counters."""
    gpus = {
        gpu["uuid"]: {
            "clock_event_seconds": dict(gpu["clock_event_seconds"]),
            "replay_count": gpu["pci"]["replay_count"],
            "nvlink_errors": nvlink_errors(gpu["nvlink"]),
        }
        for gpu in snapshot["gpus"]
        if gpu["uuid"]
    }
    if not gpus:
        return None
    return {"taken_at_seconds": snapshot["taken_at_seconds"], "boot_id": snapshot["boot_id"], "gpus": gpus}


def next_counters(
    before: dict[str, Any] | None, snapshot: Mapping[str, Any], ran: Collection[str], skipped: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return what the next run compares with: the counters of this run, or still those of the run before.

    ran: the checks of this run. A run that compares nothing takes no growth away from the one that does; neither does
    one that compares only some counters, unless the site skips the others or the old counters are of no more use.
    """
    wanted = [name for name in COMPARING_CHECKS if name not in skipped]
    compared = [name for name in wanted if name in ran]
    useless = before is None or before["boot_id"] != snapshot["boot_id"]
    if compared and (useless or compared == wanted):
        return _with_missing(before, counters_of(snapshot)) or before
    return before


def _with_missing(before: dict[str, Any] | None, now: dict[str, Any] | None) -> dict[str, Any] | None:
    """Keep the names of cards that are gone, without counters, until as many cards are there again as before."""
    if before is None or now is None or len(now["gpus"]) >= len(before["gpus"]):
        return now
    unknown: dict[str, Any] = {"clock_event_seconds": {}, "replay_count": None, "nvlink_errors": None}
    return {**now, "gpus": {**{uuid: dict(unknown) for uuid in before["gpus"]}, **now["gpus"]}}


def nvlink_errors(links: Sequence[Mapping[str, Any]]) -> int:
    """Return the errors that the NVLinks of a GPU counted, of all kinds together."""
    return sum(link[kind] or 0 for link in links for kind in ("crc_errors", "replay_errors", "recovery_errors"))


def counting_events(
    events: Sequence[Mapping[str, Any]], cleared_at_seconds: Mapping[str, float], since_seconds: float | None
) -> list[dict[str, Any]]:
    """Return the events that count: those after a time, or without one those that nothing has cleared."""
    result = []
    for event in events:
        at = event["at_seconds"]
        if since_seconds is not None:
            limit = since_seconds
        else:
            limit = max(cleared_at_seconds.get(ALL_GPUS, 0.0), cleared_at_seconds.get(event["pci"] or ALL_GPUS, 0.0))
        if at is None or at > limit:
            result.append(dict(event))
    return result
