# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the transaction keeps on the host: transaction.json, snapshot.json and the journal, safe from power cuts."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import list_directory
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import append_journal

# In the order in which a transaction that goes well passes through them.
FORWARD = ("planned", "downloaded", "stopped", "installed", "reboot_needed", "loaded", "verified", "committed")
BACKWARD = ("rolling_back", "rolled_back", "failed")
# In one of these the packages are settled: the next transaction may begin. Its key closed says that the host was
# proven as well, and let in again.
SETTLED = ("committed", "rolled_back")
# From here on the packages of the host may be others than before.
TOUCHED = ("installed", "reboot_needed", "loaded", "verified", "rolling_back", "failed")
LOCK_SECONDS = 30.0


def now() -> str:
    """Return the time as the journal writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def rank(state: str) -> int:
    """Return how far a state is on the way forward; -1 for one that goes back."""
    return FORWARD.index(state) if state in FORWARD else -1


def is_open(transaction: Mapping[str, Any] | None) -> bool:
    """Return whether a transaction is under way."""
    return transaction is not None and transaction["state"] not in SETTLED


def begin(
    identity: str, plan: Mapping[str, Any], version_before: str | None, boot: str | None, was_drained: bool
) -> dict[str, Any]:
    """Return a new transaction."""
    return {
        "schema": 1,
        "id": identity,
        "state": "planned",
        "from": plan.get("from") or version_before,
        "to": plan.get("to"),
        "plan": dict(plan),
        "snapshot_sha256": None,
        "boot_id": boot,
        "was_drained": was_drained,
        "closed": False,
        "updated_at": now(),
        "detail": "",
    }


def moved(transaction: Mapping[str, Any], state: str, detail: str = "", **changes: Any) -> dict[str, Any]:
    """Return the transaction in another state."""
    if state not in FORWARD + BACKWARD:
        raise ValueError(f"{state} is no state of a transaction")
    return {**transaction, **changes, "state": state, "detail": detail, "updated_at": now()}


def digest(snapshot: Mapping[str, Any]) -> str:
    """Return the SHA-256 by which a transaction names its snapshot."""
    return sha256_hex(canonical_json(snapshot))


def journal_record(transaction: Mapping[str, Any], event: str, seconds: float, detail: str) -> dict[str, Any]:
    """Return what a line of the journal says, before it gets its number and is chained to the line before."""
    return {
        "schema": 1,
        "at": now(),
        "transaction_id": transaction["id"],
        "event": event,
        "state": transaction["state"],
        "from": transaction["from"],
        "to": transaction["to"],
        "seconds": round(seconds, 3),
        "detail": detail or transaction["detail"],
    }


class Record:
    """The files of a transaction on the host."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, name: str) -> str:
        """Return the path of one file."""
        return os.path.join(self.directory, name)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the content of a JSON file; None when there is no such file."""
        path = self.path(name)
        try:
            with open(path, encoding="utf-8") as stream:
                content = json.load(stream)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DriverError(f"{path} is damaged: {error}. Look at it, move it away, and run again.") from error
        if not isinstance(content, dict):
            raise DriverError(f"{path} is damaged: it holds no dictionary. Move it away, and run again.")
        return content

    def transaction(self) -> dict[str, Any] | None:
        """Return the transaction of this host, open or closed; None when there never was one."""
        return self.read("transaction.json")

    def snapshot(self, transaction: Mapping[str, Any]) -> dict[str, Any]:
        """Return the snapshot of a transaction, after its digest was checked."""
        found = self.read("snapshot.json")
        if found is None or digest(found) != transaction["snapshot_sha256"]:
            raise DriverError(
                f"{self.path('snapshot.json')} is {'missing' if found is None else 'not the one'} of transaction "
                f"{transaction['id']}: what was installed before it is not known. Install the wanted driver by hand, "
                f"then move {self.directory} away."
            )
        return found

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one JSON file, readable by all."""
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        write_json_atomic(self.path(name), content, 0o644)

    def log(self, transaction: Mapping[str, Any], event: str, seconds: float = 0.0, detail: str = "") -> None:
        """Append one line to the journal."""
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        append_journal(self.path("journal.jsonl"), journal_record(transaction, event, seconds, detail))
        os.chmod(self.path("journal.jsonl"), 0o644)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the transaction: two runs at once would spoil each other's work."""
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        path, deadline = self.path("lock"), time.monotonic() + LOCK_SECONDS
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise DriverError(
                            f"Another run works on the driver here: it has held {path} for {LOCK_SECONDS:.0f} s. "
                            f"See who: fuser -v {path}. Wait for it, then run again."
                        ) from None
                    time.sleep(0.2)  # the pace of looking; the deadline stands above
            yield
        finally:
            os.close(descriptor)

    def is_there(self) -> bool:
        """Return whether there is anything of a transaction; a lock alone is nothing."""
        return bool(set(list_directory(self.directory)) - {"lock"})

    def clear(self) -> bool:
        """Remove everything of the transactions; return whether there was anything."""
        if not os.path.isdir(self.directory):
            return False
        left = self.is_there()
        shutil.rmtree(self.directory)
        with suppress(OSError):  # other parts of the collection keep things beside it
            os.rmdir(os.path.dirname(self.directory))
        return left
