# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a fleet says of the capacity of its pools: local_llm_pools.<pool>.capacity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._evidence import is_number
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import Field, check_object

_RATE = Field("number", minimum=0.001, maximum=1000000)
CAPACITY_FIELDS: dict[str, Field] = {
    "goodput_requests_per_second": _RATE,
    "peak_requests_per_second": _RATE,
    "growth_percent_per_month": Field("number", minimum=-50, maximum=200),
    "weekly_peaks": Field("list"),
    "lead_months": Field("number", minimum=0, maximum=60),
    "headroom_percent": Field("number", minimum=0, maximum=99),
    "failures": Field("int", minimum=0, maximum=1000),
    "rollout_batch": Field("int", minimum=0, maximum=1000),
    "max_concurrency": Field("int", minimum=1, maximum=1000000),
}


def pool_capacities(pools_of_hosts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {pool: its capacity} from {host: value of local_llm_pools}; the first host that says something counts."""
    found: dict[str, dict[str, Any]] = {}
    for pools in pools_of_hosts.values():
        for name, pool in pools.items() if isinstance(pools, Mapping) else ():
            capacity = pool.get("capacity") if isinstance(pool, Mapping) else None
            if isinstance(capacity, Mapping) and capacity:
                found.setdefault(str(name), dict(capacity))
    return found


def capacity_setting_findings(pools_of_hosts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is wrong inside the capacities of the pools."""
    out = Collector()
    for host, pools in pools_of_hosts.items():
        out.host = host
        for name, pool in pools.items() if isinstance(pools, Mapping) else ():
            capacity = pool.get("capacity") if isinstance(pool, Mapping) else None
            if not isinstance(capacity, Mapping):
                continue
            path = f"local_llm_pools.{name}.capacity"
            checked = check_object(path, dict(capacity), CAPACITY_FIELDS, out.fail)
            peaks = checked["weekly_peaks"] if checked else None
            if peaks and not all(is_number(peak) and peak > 0 for peak in peaks):
                action = "Write the highest rate of each week, the oldest first."
                out.fail("weekly_peaks", f"{path}.weekly_peaks", peaks, "rates above 0", action)
    return out.findings()
