# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Warm up, then measure: the workload put through the closed loop over HTTP."""

from __future__ import annotations

import threading

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_stream import StreamClient
from ansible_collections.local_llm.ops.plugins.module_utils._load import Limits, Run, run_closed_loop
from ansible_collections.local_llm.ops.plugins.module_utils._workload import Workload, request_body


def measure(
    workload: Workload, endpoint: Endpoint, max_seconds: float, request_timeout_seconds: float, stop: threading.Event
) -> Run:
    """Return the raw run of the measured part. When the whole warm-up failed, one round of failures ends it."""

    def client() -> StreamClient:
        return StreamClient(endpoint, workload.url_path, request_timeout_seconds)

    def phase(name: str, requests: int, give_up_after: int) -> Run:
        limits = Limits(requests, max_seconds, min(give_up_after, requests))
        return run_closed_loop(client, lambda index: request_body(workload, name, index), workload.users, limits, stop)

    patience = max(20, 2 * workload.users)
    if workload.warmup_requests:
        warmup = phase("warmup", workload.warmup_requests, workload.users)
        if warmup.records and all(record.error is not None for record in warmup.records):
            patience = workload.users
    return phase("measured", workload.requests, patience)
