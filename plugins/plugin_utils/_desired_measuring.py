# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Whether a rollout's probes can suffice for a verdict at all: known from the inventory, before a host is touched."""

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
