# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""How what the GPU exporter knows changes with each reading, and when it asks again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_words as words
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_child import Reading
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._exporter_samples import Seen

# A driver that does not answer is asked more and more seldom, down to this.
SLOWEST_SECONDS = 60.0
# So many GPUs are remembered; more than any host has.
MAX_GPUS = 64


def after_reading(seen: Seen, reading: Reading, now_seconds: float, python: str) -> tuple[Seen, str]:
    """Return what is known after a reading, and why there is none in words; empty when it is one."""
    if reading.problem is not None:
        return replace(seen, problem=reading.problem), reading.why
    failed: Mapping[str, Any] | None = next((record for record in reading.records if "failed" in record), None)
    if failed is not None:
        problem = words.failure(failed, python)
        return replace(seen, problem=problem["status"]), problem["error"]
    driver = next((record for record in reading.records if "driver_version" in record), {})
    gpus = tuple(
        {"index": record["gpu"], "lost": record["lost"], "values": record["values"]}
        for record in reading.records
        if "gpu" in record
    )
    known = dict(seen.known)
    for gpu in gpus:
        pci, uuid = gpu["values"].get("pci"), gpu["values"].get("uuid")
        if pci and uuid and (pci in known or len(known) < MAX_GPUS):
            known[pci] = (str(gpu["index"]), uuid)
    changed = replace(
        seen,
        read_at_seconds=now_seconds,
        read_seconds=reading.seconds,
        problem=None,
        driver=driver,
        gpus=gpus,
        known=known,
    )
    return changed, ""


def next_wait_seconds(interval_seconds: float, failures: int) -> float:
    """Return how long to wait before the driver is asked again, after so many failures in a row."""
    if failures <= 0:
        return interval_seconds
    return max(interval_seconds, min(SLOWEST_SECONDS, interval_seconds * 2.0 ** min(failures, 10)))
