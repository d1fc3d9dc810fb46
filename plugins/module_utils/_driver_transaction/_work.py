# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the steps of a transaction share: the host, its files, what was done so far and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _changes as changes_of
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _kernel as kernel
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._cache import Cache
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._holders import holders_text, wait_free
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, Host
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._record import (
    FORWARD,
    TOUCHED,
    Record,
    moved,
    rank,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._units import stop

# Units of instances: whoever drives the host starts them, one by one, and proves each.
MODEL_SERVERS = "local-llm@"


@dataclass
class Work:
    """One run of the module."""

    host: Host
    record: Record
    cache: Cache
    window_seconds: int = 7200
    transaction: dict[str, Any] | None = None
    changed: bool = False
    reboot_needed: bool = False
    findings: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def open_transaction(self) -> dict[str, Any]:
        """Return the transaction that the step is about; an error says how one begins."""
        if self.transaction is None:
            raise DriverError(
                f"There is no driver transaction on this host ({self.record.path('transaction.json')} is missing). "
                "Begin one: state downloaded, with a plan."
            )
        return self.transaction

    @property
    def plan(self) -> dict[str, Any]:
        """Return the plan of the transaction."""
        return dict(self.open_transaction["plan"])

    @property
    def snapshot(self) -> dict[str, Any]:
        """Return the snapshot of the transaction."""
        return self.record.snapshot(self.open_transaction)

    @property
    def changes(self) -> changes_of.Changes:
        """Return the changes of packages that the transaction makes."""
        return changes_of.from_json(self.snapshot["changes"])

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a part of the step."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)

    def move(self, state: str, detail: str = "", **more: Any) -> None:
        """Write down that the transaction has come to another state."""
        self.transaction = moved(self.open_transaction, state, detail, **more)
        self.record.write("transaction.json", self.transaction)
        self.record.log(self.transaction, state, sum(self.seconds.values()))
        self.changed = True

    def note(self, detail: str, event: str = "note") -> None:
        """Write down what is about to happen, or what went wrong, without another state."""
        self.transaction = moved(self.open_transaction, self.open_transaction["state"], detail)
        self.record.write("transaction.json", self.transaction)
        self.record.log(self.transaction, event, sum(self.seconds.values()))

    def close(self) -> None:
        """Write down that the host is proven and let in: nothing of the transaction is left to do."""
        found = self.open_transaction
        self.transaction = {**moved(found, found["state"], found["detail"]), "closed": True}
        self.record.write("transaction.json", self.transaction)
        self.record.log(self.transaction, "closed", sum(self.seconds.values()))
        self.changed = True

    def at_least(self, state: str) -> bool:
        """Return whether the transaction has come so far already."""
        return rank(self.open_transaction["state"]) >= rank(state)

    def demand(self, *states: str) -> None:
        """Refuse a step that is not the next one."""
        here = self.open_transaction["state"]
        if here not in states:
            back = here in TOUCHED and here not in FORWARD
            fix = "go on with state rolled_back" if back else f"first comes: {states[0]}"
            raise DriverError(
                f"Transaction {self.open_transaction['id']} is {here}; this step needs {' or '.join(states)}: {fix}."
            )


def units_of(plan: Mapping[str, Any]) -> list[str]:
    """Return every unit that the plan names, in the order in which they stop."""
    return list(dict.fromkeys([*plan.get("stop_units", []), *reversed(plan.get("start_units", []))]))


def to_start(units: Sequence[str]) -> list[str]:
    """Return the units that this module starts. The model servers wait until the driver was proven."""
    return [unit for unit in units if not unit.startswith(MODEL_SERVERS)]


def only_holds(work: Work, changes: changes_of.Changes) -> bool:
    """Return whether the plan changes no package and its driver is loaded: then nothing is to be stopped."""
    return not changes and kernel.is_loaded(work.host, work.plan.get("to"), work.plan.get("modules"))


def touched(work: Work) -> bool:
    """Return whether the package transaction may have begun."""
    transaction = work.open_transaction
    before = {name: version for name, (version, _after) in work.changes.items()}
    return "has begun" in transaction["detail"] or bool(changes_of.missing(before, query(work)))


def free_the_driver(work: Work) -> list[str]:
    """Stop the units of the plan and prove that nobody holds the driver; return the units that ran."""
    with work.timed("stop"):
        ran = stop(work.host, units_of(work.plan))
        holders = wait_free(work.host.procfs_root)
    if holders:
        raise DriverError(holders_text(holders))
    return ran


def held(packages: changes_of.Packages) -> list[str]:
    """Return the held packages."""
    return sorted(name for name, one in packages.items() if one["held"])


def query(work: Work) -> changes_of.Packages:
    """Return the packages of the host."""
    return apt.query(work.host)
