# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Read which models, engine versions and leftovers lie on a host, and which releases need them. Changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._model_archive import (
    Place,
    checked_manifest,
    iso,
    read_record,
)
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import (
    ModelName,
    OllamaStoreError,
    manifest_blobs,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError, used_bytes

# The journal of an instance tells when a release served; its end is enough.
_JOURNAL_TAIL_BYTES = 1 << 20
_ROLLBACK_TAG = "prev-"


def read_models(models: str, archive: str, instances: str) -> tuple[list[dict[str, Any]], str]:
    """Return (revisions as _model_retention wants them, why none may leave this host)."""
    releases, blocked = read_releases(instances)
    found = []
    for name, revision in sorted({*_revisions(models), *_revisions(archive)}):
        place = Place(models, archive, name, revision)
        users = [item for item in releases if (item["model"], item["model_revision"]) == (name, revision)]
        found.append(_revision(place, users))
    return found, blocked


def _revisions(root: str) -> list[tuple[str, str]]:
    """Return (name, revision) of every directory two levels below; names with a dot in front are not models."""
    return [(name, revision) for name in _directories(root) for revision in _directories(os.path.join(root, name))]


def _directories(path: str, follow: bool = False) -> list[str]:
    """Return the directories in one. follow: links to directories count too."""
    try:
        with os.scandir(path) as entries:
            return sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=follow)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _revision(place: Place, users: list[dict[str, Any]]) -> dict[str, Any]:
    published, archived = os.path.isdir(place.plain), os.path.isdir(place.packed)
    problem, manifest = None, None
    try:
        manifest = checked_manifest(place.plain if published else place.packed, place)
    except TreeError as error:
        problem = str(error)
    record = read_record(place.packed) if archived else {}
    used = [item["last_used_at"] for item in users if item["last_used_at"]]
    return {
        "name": place.name,
        "revision": place.revision,
        "published": published,
        "archived": archived,
        "bytes": used_bytes(place.plain) if published else 0,
        "archive_bytes": used_bytes(place.packed) if archived else 0,
        "manifest_sha256": manifest["manifest_sha256"] if manifest else None,
        "published_at": _changed_at(place.plain) if published else record.get("published_at"),
        "archived_at": (record.get("archived_at") or _changed_at(place.packed)) if archived else None,
        "last_used_at": max(used) if used else record.get("last_used_at"),
        "releases": [{key: item[key] for key in ("instance", "release", "role")} for item in users],
        "problem": problem,
    }


def _changed_at(path: str) -> str:
    return iso(datetime.fromtimestamp(os.stat(path).st_mtime, timezone.utc))


def read_releases(instances: str) -> tuple[list[dict[str, Any]], str]:
    """Return (releases on this host, why it is not known what they need: a text, empty when all is known)."""
    found: list[dict[str, Any]] = []
    problems = []
    # An instance that was moved to another disk, with a link in its place, needs its models as before.
    for instance in _directories(instances, follow=True):
        root = os.path.join(instances, instance)
        current, previous = _link(root, "current"), _link(root, "previous")
        identities = _directories(os.path.join(root, "releases"), follow=True)
        armed, unreadable = _armed(root)
        problems += [f"{root}/armed.json cannot be read"] if unreadable else []
        named: dict[str | None, str] = {previous: "previous", **dict.fromkeys(armed, "armed"), current: "current"}
        problems += [
            f"{role} release {identity} of instance {instance} is not in {root}/releases"
            for identity, role in named.items()
            if identity and identity not in identities
        ]
        served = _served_at(os.path.join(root, "journal.jsonl"))
        newest = max(identities, key=lambda name: os.stat(os.path.join(root, "releases", name)).st_mtime, default=None)
        for identity in identities:
            role = named.get(identity) or ("staged" if identity == newest else "kept")
            path = os.path.join(root, "releases", identity, "release.json")
            try:
                with open(path, encoding="utf-8") as stream:
                    description: Any = json.load(stream)["description"]
                needs = {key: str(description[key]) for key in ("engine", "engine_version", "model", "model_revision")}
            except (OSError, ValueError, KeyError, TypeError) as error:
                problems.append(f"{path} cannot be read ({error})")
                continue
            now = iso(datetime.now(timezone.utc)) if role == "current" else served.get(identity)
            found.append({"instance": instance, "release": identity, "role": role, "last_used_at": now, **needs})
    blocked = f"nothing leaves this host: {problems[0]}. Look at that instance first." if problems else ""
    return found, blocked


def _link(root: str, name: str) -> str | None:
    try:
        return os.path.basename(os.readlink(os.path.join(root, name)))
    except OSError:
        return None


def _armed(root: str) -> tuple[list[str], bool]:
    """Return (releases that the dead-man knows of, whether its file cannot be read)."""
    try:
        with open(os.path.join(root, "armed.json"), encoding="utf-8") as stream:
            armed = json.load(stream)
        names = [armed.get(key) for key in ("release", "revert_to", "previous_before")]
    except FileNotFoundError:
        return [], False
    except (OSError, ValueError, AttributeError):
        return [], True
    return [str(name) for name in names if name], False


def _served_at(path: str) -> dict[str, str]:
    """Return release -> time of the last line of the instance's journal that has it serving, or going."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _JOURNAL_TAIL_BYTES))
            lines = stream.read().splitlines()
    except OSError:
        return {}
    served: dict[str, str] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(line)
            for identity in (record["release"], record["previous_release"]):
                if identity and record["event"] != "staged":
                    served[identity] = max(served.get(identity, ""), str(record["at"])[:19] + "Z")
    return served


def read_leftovers(
    models: str, archive: str, revisions: Iterable[dict[str, Any]], listed: Iterable[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Return what cut runs left in the places for arrivals, with what becomes of it."""
    published = {(item["name"], item["revision"]) for item in revisions if item["published"]}
    wanted = set(listed)
    found = []
    for root, packing in ((models, False), (archive, True)):
        for name in _entries(os.path.join(root, ".incoming")):
            path = os.path.join(root, ".incoming", name)
            what = name[: -len(".removed")] if name.endswith(".removed") else name
            restoring = what.startswith("restore@") and what.count("@") > 1
            model, _at, revision = (what[len("restore@") :] if restoring else what).rpartition("@")
            known = (model, revision)
            action, reason = "tidy", "nothing uses it any more"
            if name.endswith(".removed"):
                reason = "was being deleted when the run was cut"
            elif packing and known in published:
                action, reason = "none", "packed in part; archiving goes on with it"
            elif not packing and known in wanted and known not in published:
                action, reason = "none", "came in part; the next run that brings or restores the model goes on with it"
            found.append({"path": path, "name": model, "revision": revision, "bytes": used_bytes(path),
                          "action": action, "reason": reason})  # fmt: skip
    return found


def _entries(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_engines(engines: str, instances: str, used: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the engine versions on this host. used: (engine, version) that the inventory wants here."""
    releases, _blocked = read_releases(instances)
    wanted = set(used)
    found = []
    for engine, version in _revisions(engines):
        needed = [
            f"{item['role']} {item['release']} of {item['instance']}"
            for item in releases
            if (item["engine"], item["engine_version"]) == (engine, version)
        ]
        needed += ["inventory"] if (engine, version) in wanted else []
        size = used_bytes(os.path.join(engines, engine, version))
        found.append({"engine": engine, "version": version, "bytes": size, "needed_by": needed})
    return found


def read_ollama(stores: Iterable[str]) -> list[dict[str, Any]]:
    """Return the models in stores of Ollama servers that this collection does not fill."""
    found = []
    for store in stores:
        root = os.path.join(store, "manifests")
        for directory, _names, leaves in os.walk(root):
            parts = os.path.relpath(directory, root).split(os.sep)
            for tag in sorted(leaves) if len(parts) >= 3 else []:
                try:
                    with open(os.path.join(directory, tag), encoding="utf-8") as stream:
                        sizes = manifest_blobs(stream.read())
                except (OSError, OllamaStoreError, UnicodeDecodeError):
                    continue
                name = ModelName("/".join(parts[:-2]), parts[-2], parts[-1], tag).short
                found.append({"store": store, "name": name, "bytes": sum(sizes.values()),
                              "kept_for_rollback": tag.startswith(_ROLLBACK_TAG)})  # fmt: skip
    return sorted(found, key=lambda item: (item["store"], item["name"]))
