# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the steps of a release share: the host they run on, the clock of the dead-man, the restart with its wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from ansible_collections.local_llm.ops.plugins.module_utils._health_ask import Ask, asker
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError, due_reason
from ansible_collections.local_llm.ops.plugins.module_utils._release_ready import (
    Readiness,
    port_owned_by,
    probe_health,
    wait_ready,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Systemd, engine_unit

# What tells the new run of the service from the old one (None: nobody asked for a restart), and when the wait began.
WaitingFor = tuple[Optional[str], float]
Waiter = Callable[["Context", str, dict[str, Any], Optional[str], float], Readiness]


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class HostClock:
    """The clocks of a host. The dead-man counts by uptime and boot id, which nobody can set."""

    proc: str = "/proc"

    def boot_id(self) -> str:
        with open(os.path.join(self.proc, "sys/kernel/random/boot_id"), encoding="ascii") as stream:
            return stream.read().strip()

    def uptime_seconds(self) -> float:
        with open(os.path.join(self.proc, "uptime"), encoding="ascii") as stream:
            return float(stream.read().split()[0])

    def now(self) -> str:
        return _iso(datetime.now(timezone.utc))

    def later(self, seconds: float) -> str:
        return _iso(datetime.now(timezone.utc) + timedelta(seconds=seconds))


@dataclass
class Outcome:
    """What a step did: predicted is the snapshot that check mode shows as after."""

    changed: bool
    release_id: str | None = None
    predicted: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def _moved(store: InstanceStore, identity: str) -> str | None:
    current = store.link("current")
    if current == identity:
        return None
    return f"the dead-man took the instance back to {current or 'no release'} during the wait"


def wait_for_engine(
    context: Context, identity: str, description: dict[str, Any], invocation_before: str | None, begun: float
) -> Readiness:
    """Wait on this host for the engine's own health request."""
    store, port = context.store, description["port"]
    address = store.listen_address()
    return wait_ready(
        show=lambda: context.systemd.show(store.instance),
        probe=lambda: (
            context.ready_status(description, asker(address, port))
            if context.ready_status
            else probe_health(address, port, context.health_path(description["engine"]))
        ),
        owned=lambda control_group: port_owned_by(control_group, port, store.paths.proc),
        moved=lambda: _moved(store, identity),
        invocation_before=invocation_before,
        begun=begun,
        timeout_seconds=context.ready_timeout_seconds,
    )


@dataclass(frozen=True)
class Context:
    """One call of the release module."""

    store: InstanceStore
    systemd: Systemd
    check_mode: bool = False
    rollout_id: str | None = None
    lock_timeout_seconds: float = 30.0
    ready_timeout_seconds: float = 300.0
    clock: HostClock = field(default_factory=HostClock)
    waiter: Waiter = wait_for_engine
    health_path: Callable[[str], str] = lambda _engine: "/health"
    # (description, ask) -> HTTP status, for engines whose readiness takes more than one question.
    ready_status: Callable[[dict[str, Any], Ask], int | None] | None = None
    # (engine, log lines) -> the cause of a failed start with its fix, or an empty text.
    failure_cause: Callable[[str, list[str]], str] = lambda _engine, _lines: ""

    def armed_due(self, armed: dict[str, Any]) -> str | None:
        """Return why the dead-man is about to go back, or None."""
        return due_reason(armed, self.clock.boot_id(), self.clock.uptime_seconds())

    def record(self, event: str, state: str, detail: str, **more: Any) -> None:
        rollout_id = more.pop("rollout_id", self.rollout_id)
        self.store.record(event=event, state=state, rollout_id=rollout_id, detail=detail, at=self.clock.now(), **more)

    def known_releases(self) -> str:
        return ", ".join(identity for identity, _time in self.store.releases()) or "none"

    def begin_restart(self) -> WaitingFor:
        """Ask for a restart; return what tells the new run from the old one, and the moment on the monotonic clock."""
        invocation_before = self.systemd.show(self.store.instance).get("InvocationID", "")
        begun = time.monotonic()
        self.systemd.begin_restart(self.store.instance)
        return invocation_before, begun

    def no_restart(self) -> WaitingFor:
        """Return what to wait for when the service is left as it is: whatever run answers."""
        return None, time.monotonic()

    def serves(self) -> bool:
        """Return whether the instance's service runs (it may still be loading)."""
        return self.systemd.show(self.store.instance).get("ActiveState") == "active"

    def wait(self, identity: str, invocation_before: str | None, begun: float, event: str) -> dict[str, float]:
        """Wait until ready and return the seconds; on failure write it down and raise with the last journal lines."""
        store = self.store
        description = store.description(identity)
        if description is None:
            raise ReleaseError(f"release {identity} of instance {store.instance} has no release.json. Stage it again.")
        readiness = self.waiter(self, identity, description, invocation_before, begun)
        if readiness.ready:
            return readiness.seconds
        lines = self.systemd.last_lines(store.instance)
        # The cause often stands long before the last lines.
        cause = self.failure_cause(description["engine"], self.systemd.log(store.instance, time.monotonic() - begun))
        reason = f"{readiness.reason}; its log says: {cause}" if cause else readiness.reason
        with store.lock(self.lock_timeout_seconds):
            armed = store.armed()
            state = store.state() or {}
            self.record(
                f"{event}_failed",
                state.get("state", "unknown"),
                reason,
                seconds=round(time.monotonic() - begun, 3),
                write_state=False,
            )
        current = store.link("current")
        if current != identity:
            fix = f"It is back on {current or 'no release'}: verify that one, then call state=reverted with verified."
        elif armed is not None:
            back = armed.get("revert_to") or "no release"
            fix = f"The dead-man takes it back to {back} at {armed.get('deadline_at')}; state=reverted does so now."
        else:
            fix = f"Look at journalctl -u {engine_unit(store.instance)}, or go back with state=reverted."
        raise ReleaseError(
            f"instance {store.instance}, release {identity} on {store.listen_address()} port {description['port']}: "
            f"{reason}. {fix} Last lines of its log:\n" + "\n".join(lines),
            reason=reason,
            log_lines=lines,
            seconds=readiness.seconds,
            release_id=identity,
        )
