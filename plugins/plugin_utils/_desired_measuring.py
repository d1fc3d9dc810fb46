# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Whether a rollout's probes can suffice for a verdict, and end in time: known before a host is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._intervals import MIN_SAMPLES
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector

VARIABLE = "local_llm_benchmark"
# The role's own values; a unit test holds them equal to its defaults.
DEFAULT_REQUESTS = 150
DEFAULT_ROUNDS = 4


def check_probes(settings: Any, out: Collector) -> None:
    """Refuse settings under which the old release cannot get the p95 that the new one is held against."""
    if not isinstance(settings, Mapping):
        return
    numbers = {}
    for key, default, least in (("requests", DEFAULT_REQUESTS, 1), ("rounds", DEFAULT_ROUNDS, 2)):
        value = settings.get(key, default)
        if isinstance(value, str) and "{{" in value:
            return  # a template: its value is known on the host only
        try:
            number = int(str(value))
        except ValueError:
            number = 0
        if number < least:
            expected = f"a whole number of {least} or more"
            out.fail("probes", f"{VARIABLE}.{key}", value, expected, f"Set it, or leave it out ({default}).")
            return
        numbers[key] = number
    needed, have = MIN_SAMPLES["p95"], numbers["requests"] * numbers["rounds"]
    if have < needed:
        out.fail(
            "probes",
            f"{VARIABLE}.requests",
            f"{numbers['requests']} in each of {numbers['rounds']} rounds: {have} probes",
            f"{needed} or more together: a p95 needs them, and without one no release can pass",
            f"Set {VARIABLE}.requests to {-(-needed // numbers['rounds'])} or more.",
        )


# What bounds a rollout step in time -> the role's own value; a unit test holds them equal to its defaults.
TIMES: dict[str, int] = {
    "local_llm_drain_timeout_seconds": 300,
    "local_llm_ready_timeout_seconds": 300,
    "local_llm_watch_seconds": 60,
    "local_llm_commit_timeout_seconds": 1800,
}
LEASE_VARIABLE = "local_llm_lease_seconds"
# What the lease has above the dead-man and the start of the engine, when the inventory says nothing.
_LEASE_MORE = 60
DEFAULT_MAX_SECONDS = 120
MEASURING_TIME = "measuring_time"


def check_times(variables: Mapping[str, Any], out: Collector) -> None:
    """Refuse a measurement that may outlast the lease of the drained host, or the dead-man of the new release.

    Both would act in the middle of it: the gateway lets a host in that is being measured, or the host goes back.
    """
    settings = variables.get(VARIABLE)
    rounds, max_seconds = DEFAULT_ROUNDS, DEFAULT_MAX_SECONDS
    if isinstance(settings, Mapping):
        given = (settings.get("rounds", rounds), settings.get("max_seconds", max_seconds))
        known = [_seconds(value) for value in given]
        if None in known:
            return  # check_probes and the options of llm_benchmark say so, or it is a template
        rounds, max_seconds = (number or 0 for number in known)
    if any("{{" in str(variables.get(name)) for name in (*TIMES, LEASE_VARIABLE)):
        return  # a template: its value is known on the host only
    times = {}
    for name, default in TIMES.items():
        value = variables.get(name)
        seconds = default if value is None else _seconds(value)
        if seconds is None:
            out.fail(MEASURING_TIME, name, value, "whole seconds, 0 or more", f"Set it, or leave it out ({default}).")
            return
        times[name] = seconds
    drain, ready, watch, commit = (times[name] for name in TIMES)
    lease = variables.get(LEASE_VARIABLE)
    lease_seconds = commit + ready + _LEASE_MORE if lease is None else _seconds(lease)
    if lease_seconds is None:
        out.fail(
            MEASURING_TIME, LEASE_VARIABLE, lease, "whole seconds", "Set it, or leave it out (commit + ready + 60)."
        )
        return
    needed = drain + rounds * max_seconds
    if needed >= lease_seconds:
        out.fail(
            MEASURING_TIME,
            LEASE_VARIABLE,
            f"{lease_seconds} s",
            f"more than {needed} s: {drain} s of draining and {rounds} rounds of {max_seconds} s on the old release",
            f"Lower {VARIABLE}.max_seconds, or set {LEASE_VARIABLE} to {needed + 1} or more. Otherwise the gateway "
            "lets the host in while it is measured.",
        )
    needed = ready + max_seconds + watch
    if commit and needed >= commit:
        out.fail(
            MEASURING_TIME,
            "local_llm_commit_timeout_seconds",
            f"{commit} s",
            f"more than {needed} s: {ready} s to become ready, a round of {max_seconds} s, {watch} s of watching",
            f"Lower {VARIABLE}.max_seconds, or set local_llm_commit_timeout_seconds to {needed + 1} or more. Otherwise "
            "the dead-man takes the new release back before its verdict.",
        )


def _seconds(value: Any) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if number >= 0 else None
