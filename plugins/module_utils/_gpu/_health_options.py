# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The options of gpu_health, all checked before anything is read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import STATUSES, show
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    REMEDIES,
    Check,
    Context,
    OptionError,
    check_names,
    check_thresholds,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._kernel_log import path_problem
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Ask
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._registry import ALL_CHECKS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._snapshot import Sources

POLICIES = ("xid", "sxid", "nvlink5")
# Counts and watts that are expected: what is below the first or above the second is a slip.
_RANGES = {
    "gpu_count": (0, 64),
    "minimum_gpus": (0, 64),
    "power_limit_watts": (1, 5000),
    "nvlink_links_per_gpu": (0, 64),
}


@dataclass(frozen=True)
class Options:
    """What a run of gpu_health shall do."""

    sources: Sources
    checks: Sequence[str]
    skip_checks: Sequence[str]
    thresholds: Mapping[str, Mapping[str, float]]
    expected: Mapping[str, Any]
    policies: Mapping[str, Mapping[str, Any]]
    since_seconds: float | None

    def context(self, cleared_at_seconds: Mapping[str, float]) -> Context:
        """Return what the checks may look at besides the snapshot."""
        return Context(self.thresholds, self.expected, self.policies, cleared_at_seconds, self.since_seconds)


def read_options(given: Mapping[str, Any], checks: Sequence[Check] = ALL_CHECKS) -> Options:
    """Return the options of a task. Raises OptionError with the option, its value and the fix."""
    names, skipped = given["checks"] or [], given["skip_checks"] or []
    check_names(checks, names, "checks")
    check_names(checks, skipped, "skip_checks")
    if not {check.name for check in checks if not names or check.name in names} - set(skipped):
        raise OptionError("checks: skip_checks leaves out every check that is to run. Name at least one more.")
    ask = Ask(
        python=given["nvml_python"],
        library_directory=given["nvml_library_directory"],
        deadline_seconds=given["deadline_seconds"],
        procfs_root=given["procfs_root"],
        sysfs_root=given["sysfs_root"],
    )
    problems = ask.problems()
    if problems:
        raise OptionError("\n".join(problems))
    _check_paths(given)
    since = given["since_seconds"]
    if since is not None and not (math.isfinite(since) and since >= 0):
        raise OptionError(f"since_seconds: {since} is no time. Give seconds since 1970.")
    return Options(
        sources=Sources(ask, given["kernel_log"], given["state_path"]),
        checks=names,
        skip_checks=skipped,
        thresholds=check_thresholds(checks, given["thresholds"] or {}),
        expected=_expected(given["expected"]),
        policies={name: _policy(f"{name}_policy", given[f"{name}_policy"]) for name in POLICIES},
        since_seconds=since,
    )


def _check_paths(given: Mapping[str, Any]) -> None:
    log, state = given["kernel_log"], given["state_path"]
    problem = None if log in ("auto", "none") else path_problem(log)
    if problem:
        raise OptionError(f"kernel_log: {log} {problem}")
    if not os.path.isabs(state):
        raise OptionError(f"state_path: {state} is no absolute path. Give the whole path of the file.")
    if os.path.isdir(state):
        raise OptionError(
            f"state_path: {state} is a directory. Name a file in it, such as {state.rstrip('/')}/state.json."
        )


def _expected(given: Mapping[str, Any] | None) -> dict[str, Any]:
    expected = {"persistence": True, **{key: value for key, value in (given or {}).items() if value is not None}}
    for key, (low, high) in _RANGES.items():
        value = expected.get(key)
        if value is not None and not low <= value <= high:
            raise OptionError(f"expected.{key}: {value} is out of range. Use {low} to {high}.")
    if expected.get("minimum_gpus", 0) > expected.get("gpu_count", 64):
        raise OptionError(
            f"expected.minimum_gpus: {expected['minimum_gpus']} is more than expected.gpu_count "
            f"({expected['gpu_count']}). Correct one of them."
        )
    return expected


def _policy(option: str, value: Any) -> dict[str, Any]:
    """Return a policy that can be looked up in; an empty one when none was handed over."""
    if value is None:
        return {}
    fix = "Leave the option out: the collection brings its own policy; decide otherwise with xid_overrides."
    if not any(key in value for key in ("codes", "groups", "rules")):
        raise OptionError(f"{option}: it has none of codes, groups and rules. {fix}")
    codes, groups = value.get("codes") or {}, value.get("groups") or []
    if not isinstance(codes, Mapping):
        raise OptionError(f"{option}.codes: {show(codes)} is no dictionary. {fix}")
    for code, entry in codes.items():
        if not str(code).isdigit():
            raise OptionError(f"{option}.codes.{code}: a code is a number. {fix}")
        _policy_entry(f"{option}.codes.{code}", entry, fix)
    if not isinstance(groups, list):
        raise OptionError(f"{option}.groups: {show(groups)} is no list. {fix}")
    for number, group in enumerate(groups):
        _policy_entry(f"{option}.groups[{number}]", group, fix)
        if not isinstance(group.get("codes"), list):
            raise OptionError(f"{option}.groups[{number}].codes: {show(group.get('codes'))} is no list. {fix}")
    if value.get("unknown") is not None:
        _policy_entry(f"{option}.unknown", value["unknown"], fix)
    return dict(value)


def _policy_entry(place: str, entry: Any, fix: str) -> None:
    if not isinstance(entry, Mapping):
        raise OptionError(f"{place}: {show(entry)} is no dictionary. {fix}")
    for key, known in (("status", STATUSES), ("remedy", REMEDIES)):
        if key in entry and entry[key] not in known:
            raise OptionError(f"{place}.{key}: {show(entry[key])} is none of {', '.join(known)}. {fix}")
