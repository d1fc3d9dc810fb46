# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which recorded answers a suite is held against, and where new ones go: a given file, or the sets of an instance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._golden import (
    GoldenError,
    Recorded,
    load_golden,
    make_golden,
    set_path,
    sets_of_model,
)
from ansible_collections.local_llm.ops.plugins.module_utils._quality_judge import Reply
from ansible_collections.local_llm.ops.plugins.module_utils._quality_origin import origin_of
from ansible_collections.local_llm.ops.plugins.module_utils._quality_suite import Item
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError, instance_name_problem
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths

PATHS = Paths()


@dataclass(frozen=True)
class Sets:
    """The golden sets of one call. own: of what answers now; reference: what it is held against."""

    origin: dict[str, Any] | None = None
    own_path: str = ""
    own: dict[str, Any] | None = None
    reference_path: str | None = None
    reference: dict[str, Any] | None = None

    def with_answers(self, items: list[Item], replies: dict[str, Reply]) -> dict[str, Any]:
        """Return the own set with these answers."""
        answers = {
            item.prompt_sha256: Recorded(text, replies[item.id].finish_reason)
            for item in items
            for text in [replies[item.id].text]
            if text is not None
        }
        return make_golden(self.origin, answers, self.own, datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def filled(self, new: dict[str, Any]) -> dict[str, Any]:
        """Return the reference, and for prompts that it lacks the answers of now."""
        if self.reference is None:
            return new
        return {**self.reference, "entries": {**new["entries"], **self.reference["entries"]}}

    def lacks(self, items: list[Item]) -> bool:
        """Tell whether the own set lacks a prompt of the suite."""
        return self.own is None or any(item.prompt_sha256 not in self.own["entries"] for item in items)

    def first(self, items: list[Item], record: bool) -> frozenset[str]:
        """Return the prompts whose answers of now would be recorded, and held against nothing but themselves."""
        known = {} if record or self.reference is None else self.reference["entries"]
        return frozenset(item.prompt_sha256 for item in items if item.prompt_sha256 not in known)

    def completed(self, new: dict[str, Any]) -> dict[str, Any]:
        """Return the own set with the answers that it lacked; what it had stays."""
        return {**new, "entries": {**new["entries"], **(self.own["entries"] if self.own else {})}}


def sets_of(params: dict[str, Any], warn: Callable[[str], None]) -> Sets:
    """Return the golden sets that the options of llm_quality name.

    Raises GoldenError for a damaged set that is needed; with record it is only told, because recording mends it.
    """
    origin, previous = _origins(params["instance"])
    if params["golden_path"]:
        golden = _load(params["golden_path"], params["record"], warn)
        return Sets(origin, params["golden_path"], golden, params["golden_path"], golden)
    if origin is None:
        return Sets()
    directory = params["golden_directory"]
    own_path = set_path(directory, origin)
    own = _load(own_path, params["record"], warn)
    order = [own_path] + ([set_path(directory, previous)] if previous else [])
    if params["compare_with"] == "previous":
        order.reverse()
    for path in [*order, *sets_of_model(directory, str(origin["model"]))]:
        golden = own if path == own_path else _load(path, params["record"], warn)
        if golden is not None:
            return Sets(origin, own_path, own, path, golden)
    return Sets(origin, own_path, own)


def _load(path: str, mended: bool, warn: Callable[[str], None]) -> dict[str, Any] | None:
    try:
        return load_golden(path)
    except GoldenError as exc:
        if not mended:
            raise
        warn(str(exc))
        return None


def _origins(instance: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the origins of an instance's current and previous release."""
    if instance is None:
        return None, None
    problem = instance_name_problem(instance)
    if problem:
        raise ReleaseError(f"instance: {problem}")
    store = InstanceStore(PATHS, instance)
    current = store.description(store.link("current"))
    if current is None:
        raise ReleaseError(f"instance: {instance} has no release on this host; name one that serves, or leave it out")
    return origin_of(current), origin_of(store.description(store.link("previous")))
