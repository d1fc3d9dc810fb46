# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The packages of both versions on the host's own disk, with their SHA-256: the way forward and the way back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, Host, listed
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import list_directory

MANIFEST = "manifest.json"
APT_ARCHIVES = "/var/cache/apt/archives"


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    made = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            made.update(block)
    return made.hexdigest()


class Cache:
    """The cached packages. The manifest: {file: {"package", "version", "sha256", "bytes"}}."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.directory = host.cache

    def manifest(self) -> dict[str, dict[str, Any]]:
        """Return what is cached according to the manifest."""
        record = os.path.join(self.directory, MANIFEST)
        if not os.path.exists(record):
            return {}
        from_disk = _read_json(record)
        return {name: one for name, one in from_disk.items() if os.path.exists(os.path.join(self.directory, name))}

    def find(self, name: str, version: str) -> str | None:
        """Return the path of a cached package whose digest is still the one of the manifest, else None."""
        for file_name, one in self.manifest().items():
            if (one["package"], one["version"]) == (name, version):
                path = os.path.join(self.directory, file_name)
                return path if file_digest(path) == one["sha256"] else None
        return None

    def absent(self, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return those packages that are not cached, or no longer as they were."""
        return sorted(one for one in set(wanted) if self.find(*one) is None)

    def bring(self, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Bring packages into the cache: from apt's own cache, else from a mirror. Return those that nobody has."""
        incoming = os.path.join(self.directory, "incoming")
        shutil.rmtree(incoming, ignore_errors=True)
        os.makedirs(incoming, mode=0o755)
        manifest, missing = self.manifest(), self.absent(wanted)
        native = apt.native_architecture(self.host) if missing else ""
        for name, version in missing:
            bare, _colon, architecture = name.partition(":")
            for suffix in (architecture,) if architecture else (native, "all"):
                path = self.host.path(APT_ARCHIVES, f"{bare}_{version.replace(':', '%3a')}_{suffix}.deb")
                if os.path.exists(path) and apt.read_archive(self.host, path) == (bare, version, suffix):
                    shutil.copyfile(path, os.path.join(incoming, os.path.basename(path)))
        have = {(one[0], one[1]) for one in self._read(incoming).values()}
        apt.download(self.host, incoming, [one for one in missing if (one[0].partition(":")[0], one[1]) not in have])
        for file_name, (bare, version, architecture) in self._read(incoming).items():
            path, place = os.path.join(incoming, file_name), os.path.join(self.directory, file_name)
            qualified = bare if architecture in (native, "all") else f"{bare}:{architecture}"
            if (qualified, version) not in missing:
                continue
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
            os.chmod(path, 0o644)
            os.replace(path, place)
            size = os.path.getsize(place)
            manifest[file_name] = {
                "package": qualified,
                "version": version,
                "sha256": file_digest(place),
                "bytes": size,
            }
        shutil.rmtree(incoming, ignore_errors=True)
        write_json_atomic(os.path.join(self.directory, MANIFEST), manifest, 0o644)
        return self.absent(missing)

    def _read(self, directory: str) -> dict[str, tuple[str, str, str]]:
        """Return {file: (name, version, architecture)} of the whole packages in a directory."""
        found = {name: apt.read_archive(self.host, os.path.join(directory, name)) for name in list_directory(directory)}
        return {name: one for name, one in found.items() if one is not None}

    def files(self, wanted: Mapping[str, str | None], advice: str) -> dict[str, str]:
        """Return {package: path} for a transaction; an error names every package that is not there unharmed.

        advice: what to do about it, which depends on how far the transaction has come.
        """
        found, lost = {}, []
        for name, version in wanted.items():
            if version is None:
                continue
            path = self.find(name, version)
            if path is None:
                lost.append(f"{name} {version}")
            else:
                found[name] = path
        if lost:
            raise DriverError(
                f"The cache {self.directory} lacks {listed(lost)}, or the file is not the one that was put there "
                f"(its SHA-256 differs). {advice}"
            )
        return found

    def keep(self, wanted: Iterable[tuple[str, str]]) -> list[str]:
        """Remove every other package from the cache and return the names of the files."""
        kept, manifest = set(wanted), self.manifest()
        gone = [name for name, one in manifest.items() if (one["package"], one["version"]) not in kept]
        left = {name: one for name, one in manifest.items() if name not in gone}
        if os.path.isdir(self.directory):
            write_json_atomic(os.path.join(self.directory, MANIFEST), left, 0o644)
        for name in gone:
            os.unlink(os.path.join(self.directory, name))
        return gone


def _read_json(path: str) -> dict[str, dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except ValueError as error:
        raise DriverError(f"{path} is damaged: {error}. Move the directory away and run again.") from error
    return dict(content)
