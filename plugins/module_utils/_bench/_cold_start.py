# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How long until a service answers: from its start to the open port, to ready, to the first token; and when idle."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import tpot_of
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord

LOOK_SECONDS = 0.05


class ColdStartError(RuntimeError):
    """The service did not come up; the text says how far it got."""


@dataclass(frozen=True)
class Hands:
    """What a cold start needs of the outside. restart asks for one and does not wait."""

    restart: Callable[[], None]
    port_open: Callable[[], bool]
    ready: Callable[[], bool]
    request: Callable[[int], RequestRecord]
    stopped: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def port_is_open(host: str, port: int, timeout_seconds: float = 0.5) -> bool:
    """Tell whether something listens there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=timeout_seconds):
        return True
    return False


def measure_start(hands: Hands, ready_timeout_seconds: float) -> dict[str, Any]:
    """Restart the service and return the seconds from then on. Raises ColdStartError when it never gets ready."""
    began = hands.clock()
    hands.restart()
    asked = hands.clock() - began
    # The old process may still listen for a moment; a port that was never seen closed says nothing of the new one.
    closed = False
    open_at = None
    while True:
        now = hands.clock() - began
        if hands.stopped():
            raise ColdStartError("stopped from outside while the service started")
        if now > ready_timeout_seconds:
            far = "its port never opened" if open_at is None else "its port is open"
            raise ColdStartError(
                f"the service was not ready {ready_timeout_seconds:.0f} s after its restart ({far}); look at its log, "
                "or raise cold_start.ready_timeout_seconds"
            )
        if hands.port_open():
            if open_at is None:
                open_at = now
            if hands.ready():
                break
        else:
            closed, open_at = True, None
        hands.sleep(LOOK_SECONDS)
    ready_at = hands.clock() - began
    sent_at = hands.clock() - began
    first = hands.request(0)
    second = hands.request(1)
    return {
        "restart_asked_seconds": round(asked, 3),
        "port_open_seconds": round(open_at, 3) if open_at is not None and closed else None,
        "ready_seconds": round(ready_at, 3),
        "first_token_seconds": round(sent_at + first.ttft_seconds, 3) if first.ttft_seconds is not None else None,
        "first_request": of_request(first),
        "second_request": of_request(second),
    }


def measure_idle(hands: Hands, idle_seconds: float) -> dict[str, Any]:
    """Wait, send nothing meanwhile, and return the first request after it beside the next one."""
    end = hands.clock() + idle_seconds
    while not hands.stopped() and (left := end - hands.clock()) > 0:
        hands.sleep(min(left, 0.5))
    first, second = hands.request(2), hands.request(3)
    return {"idle_seconds": idle_seconds, "first_request": of_request(first), "second_request": of_request(second)}


def of_request(record: RequestRecord) -> dict[str, Any]:
    """Return what one request of a cold start tells."""
    values = (record.ttft_seconds, tpot_of(record), record.e2el_seconds, record.load_seconds)
    names = ("ttft_seconds", "tpot_seconds", "e2el_seconds", "load_seconds")
    rounded = {name: None if value is None else round(value, 6) for name, value in zip(names, values)}
    return {"error": record.error, **rounded}
