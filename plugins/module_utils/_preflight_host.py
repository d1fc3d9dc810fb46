# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the checks before a rollout read from a host: sockets, disks, memory, users and files. Nothing is changed."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._model_facts import model_facts
from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError
from ansible_collections.local_llm.ops.plugins.module_utils._preflight import (
    SOURCE,
    Disk,
    Listener,
    listening_sockets,
    model_directory,
    unit_name,
)

SERVICE_USER = "local-llm"
MODELS_PATH = "/var/lib/local_llm/models"
ENGINES_PATH = "/opt/local_llm/engines"
PREPARED_DIRECTORIES = (MODELS_PATH, ENGINES_PATH, "/var/lib/local_llm/instances")
UNIT_FILE = "/etc/systemd/system/local-llm@.service"
# Where the service manager looks for the credential that the unit loads.
CREDENTIAL_STORES = ("/etc/credstore", "/run/credstore", "/usr/lib/credstore")
PREPARED_FILES = (
    UNIT_FILE,
    "/etc/systemd/system/local-llm-revert@.service",
    "/etc/systemd/system/local-llm-revert@.timer",
    "/usr/local/libexec/local_llm/revert",
)


def read_listeners(ports: Iterable[int], proc: str = "/proc") -> list[Listener]:
    """Return who listens on these ports."""
    tables = [text for text in (_read(os.path.join(proc, "net", name)) for name in ("tcp", "tcp6")) if text]
    sockets = listening_sockets(tables)
    wanted = {inode: port for port in ports for inode in sockets.get(port, ())}
    if not wanted:
        return []
    found: dict[str, Listener] = {}
    for process in os.listdir(proc):
        if not process.isdigit():
            continue
        for inode in _socket_inodes(os.path.join(proc, process, "fd")) & wanted.keys() - found.keys():
            name = _read(os.path.join(proc, process, "comm")).strip() or "?"
            unit = unit_name(_read(os.path.join(proc, process, "cgroup")))
            found[inode] = Listener(wanted[inode], int(process), name, unit)
    nameless = [Listener(port, None, "?", "") for inode, port in wanted.items() if inode not in found]
    return sorted([*found.values(), *nameless], key=lambda one: (one.port, one.pid or 0))


def read_disk(path: str) -> Disk:
    """Return the file system that holds a directory, or that will hold it."""
    there = path
    while not os.path.exists(there):
        there = os.path.dirname(there) or "/"
    return Disk(path, os.stat(there).st_dev, shutil.disk_usage(there).free)


def read_memory_total_bytes(proc: str = "/proc") -> int:
    """Return the memory of the host, 0 when it cannot be told."""
    for line in _read(os.path.join(proc, "meminfo")).splitlines():
        name, _colon, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return 0


def read_published_models(
    models: Mapping[str, Mapping[str, str]], root: str = MODELS_PATH
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the facts about those models that are published here, and findings about files that cannot be used.

    models: each name with model, model_revision and model_entry.
    """
    facts: dict[str, Any] = {}
    findings = []
    for key, model in models.items():
        path = model_directory(root, model)
        if not os.path.isfile(os.path.join(path, "manifest.json")):
            continue
        try:
            facts[key] = model_facts(path, model["model_entry"])
        except HeaderError as error:
            action = "Whether it fits cannot be told, and the engine may not load it."
            findings.append(
                finding("model_facts", "warn", f"model {key}", observed=str(error), action=action, source=SOURCE)
            )
    return facts, findings


def read_unit(root: str = "/") -> str:
    """Return the text of the unit of the instances; empty when it is not there yet."""
    return _read(os.path.join(root, UNIT_FILE[1:]))


def instance_keys(names: Iterable[str], root: str = "/") -> dict[str, str]:
    """Return the file with the key of each of these instances that has one. The key itself is not read."""
    found = {}
    for name in names:
        for store in CREDENTIAL_STORES:
            path = f"{store}/local-llm.{name}.api_key"
            if os.path.lexists(os.path.join(root, path[1:])):
                found[name] = path
                break
    return found


def missing_preparation(root: str = "/") -> list[str]:
    """Return what the role host installs and is not there."""
    missing = []
    try:
        pwd.getpwnam(SERVICE_USER)
    except KeyError:
        missing.append(f"user {SERVICE_USER}")
    missing += [path for path in PREPARED_DIRECTORIES if not os.path.isdir(os.path.join(root, path[1:]))]
    missing += [path for path in PREPARED_FILES if not os.path.isfile(os.path.join(root, path[1:]))]
    return missing


def clock_synchronised(run: Callable[..., Any], timedatectl: str | None) -> bool | None:
    """Return whether the clock is synchronised, None when the host cannot tell."""
    if timedatectl is None:
        return None
    return_code, output, _errors = run([timedatectl, "show", "--property=NTPSynchronized", "--value"])
    return {"yes": True, "no": False}.get(output.strip()) if return_code == 0 else None


def _socket_inodes(directory: str) -> set[str]:
    inodes = set()
    try:
        for name in os.listdir(directory):
            target = os.readlink(os.path.join(directory, name))
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return inodes  # it ended meanwhile, or it is not ours to look at
    return inodes


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
