# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The files beside HAProxy: the lock, leases, and the map and server-state files that outlive the process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

LOCK_PATIENCE_SECONDS = 30.0
LEASE_SCHEMA = 1
_SERVER_LINE = re.compile(r"^\s*server\s+(\S+)\s+(\S+):(\d+)(\s|$)")


@dataclass(frozen=True)
class Lease:
    """A promise that somebody comes back to a server; when time is up the values from before return."""

    pool: str
    server: str
    expires_at: float
    lease_seconds: int
    state: str
    share_percent: int

    def before(self) -> dict[str, object]:
        """Return the values from before the lease."""
        return {"state": self.state, "share_percent": self.share_percent}

    def public(self, now: float) -> dict[str, object]:
        """Return what gateway_info and gateway_backend show of a lease."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires_at))
        left = max(0, round(self.expires_at - now))
        return {"expires_at": stamp, "seconds_left": left, "before": self.before()}


def atomic_write(path: str, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step, on disk before the name points to it."""
    folder = os.path.dirname(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=folder)
    except OSError as error:
        raise GatewayError(
            f"Cannot write {path} ({error.strerror}). Run the role local_llm.ops.gateway first; it makes {folder}."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise GatewayError(f"Cannot write {path} ({error.strerror}). Free space or correct its permissions.") from error
    folder_handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_handle)
    finally:
        os.close(folder_handle)


def read_text(path: str) -> str | None:
    """Return a file's text, or None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def locked(directory: str, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the gateway's lock, so that reading, changing and writing is one step for everybody."""
    path = os.path.join(directory, "lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GatewayError(
            f"Cannot open the lock {path} ({error.strerror}). "
            "Run the role local_llm.ops.gateway on this host first, and the task as root (become: true)."
        ) from error
    try:
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= deadline:
                    raise GatewayError(
                        f"The lock {path} was held by another process for {patience_seconds:g} seconds. "
                        f"Find it with 'fuser {path}' on the gateway, then run the task again."
                    ) from error
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _lease_path(directory: str, pool: str, server: str) -> str:
    return os.path.join(directory, "leases", f"{pool}@{server}.json")


def write_lease(directory: str, lease: Lease) -> None:
    """Put a lease on disk."""
    text = json.dumps({"schema": LEASE_SCHEMA, **asdict(lease)}, sort_keys=True) + "\n"
    atomic_write(_lease_path(directory, lease.pool, lease.server), text)


def remove_lease(directory: str, pool: str, server: str) -> None:
    """Take a lease away."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_lease_path(directory, pool, server))


def read_lease(directory: str, pool: str, server: str) -> Lease | None:
    """Return the lease of a server, or None."""
    path = _lease_path(directory, pool, server)
    text = read_text(path)
    return None if text is None else parse_lease(text, path)


def parse_lease(text: str, path: str) -> Lease:
    """Return the lease in a file's text; raise when it is not one."""
    try:
        data: Mapping[str, Any] = json.loads(text)
        if data["schema"] != LEASE_SCHEMA:
            raise ValueError(f"schema {data['schema']}")
        return Lease(
            pool=str(data["pool"]),
            server=str(data["server"]),
            expires_at=float(data["expires_at"]),
            lease_seconds=int(data["lease_seconds"]),
            state=str(data["state"]),
            share_percent=int(data["share_percent"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise GatewayError(f"The lease {path} cannot be read ({error}). Look at it, then delete it.") from error


def list_leases(directory: str) -> tuple[list[Lease], list[str]]:
    """Return all leases, and a message for each file that is not one."""
    folder = os.path.join(directory, "leases")
    leases, problems = [], []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        names = []
    for name in names:
        if not name.endswith(".json"):
            continue
        path = os.path.join(folder, name)
        text = read_text(path)
        if text is None:
            continue
        try:
            leases.append(parse_lease(text, path))
        except GatewayError as error:
            problems.append(str(error))
    return leases, problems


def config_ports(config: str) -> dict[tuple[str, str], str]:
    """Return the port of every server by (backend, server) from the text of haproxy.cfg."""
    ports, backend = {}, ""
    for line in config.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "backend" and not line[:1].isspace():
            backend = words[1]
            continue
        match = _SERVER_LINE.match(line)
        if match:
            ports[(backend, match.group(1))] = match.group(3)
    return ports


def with_config_ports(state: str, ports: Mapping[tuple[str, str], str]) -> str:
    """Return the server state with the ports of the configuration.

    HAProxy lets the port in its state file win over the port in its configuration, so a server that moved to another
    port would be looked for at the old one. State and weight still belong to the server, so only the port is mended.
    """
    lines = state.splitlines()
    if len(lines) < 2:
        return state
    columns = lines[1].lstrip("# ").split()
    backend, server, port = columns.index("be_name"), columns.index("srv_name"), columns.index("srv_port")
    mended = lines[:2]
    for line in lines[2:]:
        words = line.split()
        if len(words) > max(backend, server, port):
            words[port] = ports.get((words[backend], words[server]), words[port])
        mended.append(" ".join(words))
    return "\n".join(mended) + "\n"
