# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up records and runs for the tests of what is made from them."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import RequestLimits
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import RequestRecord, Run, closed_plan
from ansible_collections.local_llm.ops.plugins.module_utils._bench._report import Beside, build_report

WORK = {
    "api": "openai_chat",
    "model": "chat",
    "shape": "synthetic",
    "hash": "0" * 64,
    "users": 1,
    "requests": None,
    "prompt_tokens": 7,
    "output_tokens": 11,
}


def good(index: int, ttft: float = 0.1, tpot: float = 0.01, tokens: int = 11, **more: Any) -> RequestRecord:
    """Return a request that was answered, half a second after the one before."""
    e2el = ttft + tpot * (tokens - 1)
    started = more.pop("started", index * 0.5)
    values: dict[str, Any] = {
        "stage": 0, "user": 0, "scheduled": None, "ttft_seconds": ttft, "e2el_seconds": e2el,
        "gaps_seconds": (tpot,) * (tokens - 1), "token_events": tokens, "prompt_tokens": 7, "output_tokens": tokens,
        "token_source": "usage",
    }  # fmt: skip
    return RequestRecord(
        **{"index": index, "started": started, "ended": started + e2el, "error": None, **values, **more}
    )


def bad(index: int, error: str, **more: Any) -> RequestRecord:
    """Return a request that failed."""
    started = more.pop("started", index * 0.5)
    values: dict[str, Any] = {"stage": 0, "user": 0, "scheduled": None, **more}
    return RequestRecord(index=index, started=started, ended=started + 0.1, error=error, **values)


def a_run(records: list[RequestRecord], **more: Any) -> Run:
    """Return a run of ten seconds with hardly any work for the client."""
    return Run(**{"records": tuple(records), "seconds": 10.0, "cpu_seconds": 0.5, **more})


def report_of(records: list[RequestRecord], run: dict[str, Any] | None = None, **beside: Any) -> dict[str, Any]:
    """Return the report of a closed loop over some records."""
    plan = beside.pop("plan", closed_plan(1, len(records)))
    return build_report(WORK, plan, a_run(records, **(run or {})), Beside(**beside))


def limits(**values: float) -> RequestLimits:
    """Return limits of one request."""
    return RequestLimits(**values)
