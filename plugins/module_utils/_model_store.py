# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the module model_store does for a state, from its options to its result."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import show
from ansible_collections.local_llm.ops.plugins.module_utils._model_archive import (
    Place,
    Work,
    archive_revision,
    delete_archived,
    remove_leftover,
    restore_revision,
    wanted_manifest,
)
from ansible_collections.local_llm.ops.plugins.module_utils._model_inventory import (
    read_engines,
    read_leftovers,
    read_models,
    read_ollama,
    read_releases,
)
from ansible_collections.local_llm.ops.plugins.module_utils._model_retention import (
    listed_problems,
    plan_models,
    retention_problems,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError, free_bytes


def refuse_archive_place(models: str, archive: str) -> None:
    """Refuse an archive where models lie: a published revision would be taken for its own archive, and deleted."""
    there, place = os.path.realpath(models), os.path.realpath(archive)
    inside = os.path.relpath(place, there).split(os.sep)[0]
    if not os.path.relpath(there, place).startswith("..") or not inside.startswith(".") or inside == ".incoming":
        raise TreeError(
            f"archive_directory = {archive}: it must not be {models}, not be above it, and below it only under a name "
            f"with a dot in front, such as {os.path.join(models, '.archive')}. Choose another directory."
        )


def list_host(params: dict[str, Any]) -> dict[str, Any]:
    """Return what lies on this host and what the policy says about it."""
    for key, value, expected, fix in [*retention_problems(params["retention"]), *listed_problems(params["listed"])]:
        raise TreeError(f"{key} = {show(value)}: must be {expected}. {fix}")
    models, archive, instances = params["models_directory"], params["archive_directory"], params["instances_directory"]
    listed = params["listed"]
    revisions, blocked = read_models(models, archive, instances)
    plan = plan_models(
        revisions,
        used=params["used"],
        listed=listed,
        retention=params["retention"],
        now=datetime.now(timezone.utc),
        blocked=blocked,
    )
    wanted = [(name, entry["revision"]) for name, entry in listed.items()]
    engines = [
        (engine, version) for engine, _slash, version in (text.partition("/") for text in params["engines_used"])
    ]
    return {
        "changed": False,
        "models": plan,
        "leftovers": read_leftovers(models, archive, revisions, wanted),
        "engines": read_engines(params["engines_directory"], instances, engines),
        "ollama_models": read_ollama(params["ollama_stores"]),
        "free_bytes": free_bytes(models),
    }


def change(place: Place, work: Work, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring one revision to the wanted state; return the module's result."""
    state = params["state"]
    before = {"published": os.path.isdir(place.plain), "archived": os.path.isdir(place.packed)}
    result: dict[str, Any] = {"changed": False, "path": place.plain, **before}
    if state == "restored":
        result["problem"] = ""
    if state == "archived" and not any(before.values()):
        raise TreeError(
            f"{place.label}: is not on this host, neither published nor archived. Correct name or revision."
        )
    after = {
        "archived": {"published": False, "archived": True},
        "restored": {"published": before["published"] or before["archived"], "archived": False},
        "deleted": {**before, "archived": False},
    }[state]
    if before == after:
        return result
    if check_mode:
        _refuse_as_the_real_run_would(place, work, params, before)
    else:
        result.update(_carry_out(place, work, params))
    result.update(changed=True, diff={"before": before, "after": after}, **after)
    return result


def _refuse_as_the_real_run_would(place: Place, work: Work, params: dict[str, Any], before: dict[str, bool]) -> None:
    if params["state"] == "restored":
        wanted_manifest(place, params["files"], params["manifest_sha256"])
        return
    users = work.needed(place)
    if users and not (params["state"] == "deleted" and before["published"]):
        raise TreeError(f"{place.label}: still needed by {'; '.join(users)}, so it is not {params['state']}.")


def _carry_out(place: Place, work: Work, params: dict[str, Any]) -> dict[str, Any]:
    if params["state"] == "archived":
        # The host serves meanwhile.
        os.nice(10)
        return archive_revision(place, work, params["last_used_at"])
    if params["state"] == "restored":
        return restore_revision(place, work, params["files"], params["manifest_sha256"])
    delete_archived(place, work)
    return {}


def tidy(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Delete a leftover; nothing but what lies directly in a place for arrivals."""
    path = os.path.normpath(params["path"])
    places = [os.path.join(params[key], ".incoming") for key in ("models_directory", "archive_directory")]
    if os.path.dirname(path) not in places:
        raise TreeError(f"path = {path}: is no leftover. It must lie directly in {' or '.join(places)}.")
    there = os.path.lexists(path)
    if there and not check_mode:
        remove_leftover(path)
    return {"changed": there, "path": path, "diff": {"before": {"path": path} if there else {}, "after": {}}}


def needed_here(instances_directory: str) -> Callable[[Place], list[str]]:
    """Return the function that tells what on this host needs a revision, read anew at each call."""

    def ask(place: Place) -> list[str]:
        releases, blocked = read_releases(instances_directory)
        users = [
            f"{item['role']} release {item['release']} of instance {item['instance']}"
            for item in releases
            if (item["model"], item["model_revision"]) == (place.name, place.revision)
        ]
        return users + ([blocked] if blocked else [])

    return ask
