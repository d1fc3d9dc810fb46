# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The releases of one instance on a host's disk: where they lie, staging, links, dead-man, state and journal."""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._release import (
    SCHEMA,
    ReleaseError,
    manifest_digest,
    read_release_text,
    release_id,
    release_text,
    releases_to_remove,
    state_record,
)
from ansible_collections.local_llm.ops.plugins.module_utils._release_evidence import evidence_name
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import (
    append_journal,
    atomic_write,
    fsync_directory,
    locked,
    read_json,
    read_text,
    replace_link,
)

SERVICE_GROUP = "local-llm"
SUMS = "files.sha256"
# The files of a release and their modes. The service manager reads the environment as root, the engine reads the rest.
FILE_MODES = {"release.json": 0o640, "run": 0o750, "environment": 0o600}
# More files that an engine renders, such as its configuration: of this mode, listed in SUMS like the others.
MORE_MODE = 0o640


@dataclass(frozen=True)
class Paths:
    """Where things lie on a host (the units have the same paths)."""

    base: str = "/var/lib/local_llm"
    engines: str = "/opt/local_llm/engines"
    cache: str = "/var/cache/local-llm"
    proc: str = "/proc"

    def engine_directory(self, description: dict[str, Any]) -> str:
        return os.path.join(self.engines, description["engine"], description["engine_version"])

    def model_directory(self, description: dict[str, Any]) -> str:
        return os.path.join(self.base, "models", description["model"], description["model_revision"])


def list_instances(paths: Paths) -> list[str]:
    """Return the names of the instances on this host."""
    try:
        with os.scandir(os.path.join(paths.base, "instances")) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def input_problems(paths: Paths, description: dict[str, Any]) -> list[str]:
    """Return why the engine or the model of a release cannot be used on this host, with the fix."""
    problems = []
    engine_directory = paths.engine_directory(description)
    if not os.path.isdir(engine_directory):
        problems.append(
            f"engine {description['engine']} {description['engine_version']} is not installed: {engine_directory} "
            "is missing. "
            f"Install it with the role {description['engine']} (playbook site) first."
        )
    model_directory = paths.model_directory(description)
    model = f"model {description['model']} revision {description['model_revision']}"
    try:
        manifest = read_json(os.path.join(model_directory, "manifest.json"))
        digest = None if manifest is None else manifest_digest(manifest)
    except (ReleaseError, ValueError) as error:
        return [
            *problems,
            f"{model}: {model_directory}/manifest.json cannot be used: {error}. Install the model again.",
        ]
    if digest is None:
        problems.append(
            f"{model} is not installed: {model_directory}/manifest.json is missing. Install the model (playbook "
            "site) first."
        )
    elif digest != description["model_manifest_sha256"]:
        problems.append(
            f"{model}: {model_directory}/manifest.json has the digest {digest}, the release names "
            f"{description['model_manifest_sha256']}. Install the model again, or correct its files and revision in "
            "the inventory."
        )
    elif description["model_entry"] and not os.path.exists(os.path.join(model_directory, description["model_entry"])):
        problems.append(
            f"{model}: {model_directory}/{description['model_entry']} (model_entry) is missing. Install the model "
            "again."
        )
    return problems


@dataclass(frozen=True)
class InstanceStore:
    """The directory of one instance. Methods that write expect the caller to hold lock()."""

    paths: Paths
    instance: str

    @property
    def directory(self) -> str:
        return os.path.join(self.paths.base, "instances", self.instance)

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    def release_directory(self, identity: str) -> str:
        return self.path("releases", identity)

    def lock(self, timeout_seconds: float) -> AbstractContextManager[None]:
        """The lock lies outside the instance's directory, so that removing the instance does not remove it."""
        return locked(os.path.join(self.paths.base, "locks", f"{self.instance}.lock"), timeout_seconds)

    # Reading.

    def exists(self) -> bool:
        return os.path.isdir(self.directory)

    def link(self, name: str) -> str | None:
        """Return the release id that `current` or `previous` points to, or None."""
        try:
            return os.path.basename(os.readlink(self.path(name)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(
                f"{self.path(name)} is not a symbolic link ({error.strerror}). Move it away and run again."
            ) from error

    def releases(self) -> list[tuple[str, float]]:
        """Return (id, time of staging), newest first."""
        try:
            with os.scandir(self.path("releases")) as entries:
                found = [
                    (entry.name, entry.stat().st_mtime)
                    for entry in entries
                    if entry.is_dir() and not entry.name.startswith(".")
                ]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def armed(self) -> dict[str, Any] | None:
        return read_json(self.path("armed.json"))

    def state(self) -> dict[str, Any] | None:
        return read_json(self.path("state.json"))

    def description(self, identity: str | None) -> dict[str, Any] | None:
        """Return the description of a staged release, None when there is none; raise ReleaseError on damage."""
        text = None if identity is None else read_text(os.path.join(self.release_directory(identity), "release.json"))
        if identity is None or text is None:
            return None
        try:
            return read_release_text(text, identity)
        except ValueError as error:
            raise ReleaseError(
                f"release {identity} of instance {self.instance} is damaged: {error}. Stage it again."
            ) from error

    def listen_address(self) -> str:
        """Return the address that the engine was told to listen on, as a client on this host reaches it."""
        for line in (read_text(self.path("host.env")) or "").splitlines():
            if line.startswith("LOCAL_LLM_ADDRESS="):
                address = line.partition("=")[2].strip().strip('"')
                return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        return "127.0.0.1"

    def host_environment_is(self, text: str) -> bool:
        return read_text(self.path("host.env")) == text

    def damage(self, identity: str) -> list[str]:
        """Return the files of a staged release that are missing or not as they were written; empty when it is whole."""
        directory = self.release_directory(identity)
        recorded = {}
        for line in (read_text(os.path.join(directory, SUMS)) or "").splitlines():
            digest, _separator, name = line.partition("  ")
            recorded[name] = digest
        damaged = []
        for name, mode in {**dict.fromkeys(sorted(recorded), MORE_MODE), **FILE_MODES}.items():
            path = os.path.join(directory, name)
            try:
                with open(path, "rb") as stream:
                    content = stream.read()
                    right = (
                        recorded.get(name) == sha256_hex(content)
                        and (os.fstat(stream.fileno()).st_mode & 0o777) == mode
                    )
            except OSError:
                right = False
            if not right:
                damaged.append(name)
        if "release.json" not in damaged:
            try:
                read_release_text(read_text(os.path.join(directory, "release.json")) or "", identity)
            except ValueError:
                damaged.append("release.json")
        return damaged

    def rendered(self, identity: str) -> dict[str, str | None]:
        """Return what the engine rendered for a release, by file name."""
        directory = self.release_directory(identity)
        lines = (read_text(os.path.join(directory, SUMS)) or "").splitlines()
        names = {*FILE_MODES, *(line.partition("  ")[2] for line in lines)} - {"release.json"}
        return {name: read_text(os.path.join(directory, name)) for name in sorted(names)}

    def snapshot(self) -> dict[str, Any]:
        """Return what there is, for results and diffs."""
        return {
            "current": self.link("current"),
            "previous": self.link("previous"),
            "releases": [identity for identity, _time in self.releases()],
            "armed": self.armed(),
            "instance_state": self.state(),
        }

    def evidence(self, identity: str) -> str | None:
        """Return the text of the evidence that a rollout kept of a release, or None."""
        try:
            with open(self.path("evidence", evidence_name(identity)), encoding="utf-8") as stream:
                return stream.read()
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    # Writing.

    def _group_id(self) -> int:
        if os.geteuid() != 0:
            return -1
        try:
            return grp.getgrnam(SERVICE_GROUP).gr_gid
        except KeyError:
            return -1

    def make_directories(self) -> None:
        """Create the instance's directories: owned by root, readable by the service."""
        group_id = self._group_id()
        for path in (self.directory, self.path("releases"), self.path("evidence")):
            os.makedirs(path, mode=0o750, exist_ok=True)
            os.chmod(path, 0o750)
            os.chown(path, -1, group_id)

    def write_release(self, description: dict[str, Any], rendered: dict[str, str]) -> None:
        """Write a release: a new one appears whole or not at all; of one that is there, each file in one step."""
        identity = release_id(description)
        texts = {"release.json": release_text(description), **rendered}
        sums = "".join(f"{sha256_hex(texts[name])}  {name}\n" for name in sorted(texts))
        final = self.release_directory(identity)
        target = final
        if not os.path.isdir(final):
            target = self.path("releases", f".{identity}.{os.getpid()}.tmp")
            shutil.rmtree(target, ignore_errors=True)
            os.mkdir(target)
        group_id = self._group_id()
        os.chmod(target, 0o750)
        os.chown(target, -1, group_id)
        for name, text in texts.items():
            atomic_write(os.path.join(target, name), text, FILE_MODES.get(name, MORE_MODE), group_id)
        atomic_write(os.path.join(target, SUMS), sums, 0o640, group_id)
        if target != final:
            os.rename(target, final)
        fsync_directory(self.path("releases"))

    def write_host_environment(self, text: str) -> None:
        atomic_write(self.path("host.env"), text, 0o640, self._group_id())

    def point(self, name: str, identity: str | None) -> None:
        """Point `current` or `previous` to a release and read it back; None removes the link."""
        replace_link(self.path(name), None if identity is None else f"releases/{identity}")
        found = self.link(name)
        if found != identity:
            raise ReleaseError(
                f"{self.path(name)} points to {found} after it was pointed to {identity}. Look at the file system."
            )

    def write_armed(self, record: dict[str, Any]) -> None:
        """Write armed.json as one line without spaces: the revert script reads it with sed."""
        atomic_write(self.path("armed.json"), canonical_json(record) + "\n", 0o640, self._group_id())

    def disarm(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path("armed.json"))
        fsync_directory(self.directory)

    def record(
        self,
        *,
        event: str,
        state: str,
        rollout_id: str | None,
        detail: str,
        at: str,
        seconds: float | None = None,
        evidence: dict[str, Any] | None = None,
        write_state: bool = True,
    ) -> None:
        """Append one line to the journal and, unless told otherwise, write state.json from what the links say now."""
        release, previous = self.link("current"), self.link("previous")
        group_id = self._group_id()
        if write_state:
            content = state_record(
                instance=self.instance,
                state=state,
                release=release,
                previous=previous,
                rollout_id=rollout_id,
                updated_at=at,
                detail=detail,
            )
            atomic_write(self.path("state.json"), canonical_json(content) + "\n", 0o640, group_id)
        line = {
            "schema": SCHEMA,
            "at": at,
            "rollout_id": rollout_id,
            "host": os.uname().nodename,
            "instance": self.instance,
            "event": event,
            "state": state,
            "release": release,
            "previous_release": previous,
            "seconds": seconds,
            "evidence": evidence or {},
            "detail": detail,
        }
        append_journal(self.path("journal.jsonl"), line, group_id)

    def prune_candidates(self, keep: int, also_keep: Iterable[str | None] = ()) -> list[str]:
        armed = self.armed() or {}
        protected = {
            self.link("current"),
            self.link("previous"),
            armed.get("release"),
            armed.get("revert_to"),
            *also_keep,
        }
        return releases_to_remove(self.releases(), keep, protected)

    def remove_release(self, identity: str) -> None:
        """Remove a release: out of sight in one step, then its files."""
        hidden = self.path("releases", f".{identity}.{os.getpid()}.old")
        os.rename(self.release_directory(identity), hidden)
        shutil.rmtree(hidden)

    def remove_leftovers(self) -> None:
        """Remove what an interrupted staging or pruning left behind."""
        with os.scandir(self.path("releases")) as entries:
            leftovers = [entry.path for entry in entries if entry.name.startswith(".")]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Remove the instance's directory and its cache; models and engines stay."""
        shutil.rmtree(self.directory)
        shutil.rmtree(os.path.join(self.paths.cache, self.instance), ignore_errors=True)
