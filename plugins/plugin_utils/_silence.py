# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Silences of Alertmanager: what to send, and what its answer means. Controller only; nothing here asks anybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer

PATH = "/api/v2/silences"
CREATED_BY = "local_llm.ops"


def silence_body(
    server: str, comment: str, seconds: float, now: datetime, silence_id: str | None = None
) -> dict[str, Any]:
    """Return a silence for the alerts of one server at the gateway, from now on and with an end.

    Alerts about the host itself and its GPUs do not carry the label `server`, and are still heard.
    """
    body: dict[str, Any] = {
        "matchers": [{"name": "server", "value": server, "isRegex": False, "isEqual": True}],
        "startsAt": _text(now),
        "endsAt": _text(now + timedelta(seconds=seconds)),
        "createdBy": CREATED_BY,
        "comment": comment,
    }
    # With an id an earlier silence is prolonged; Alertmanager may give it a new id.
    return {**body, "id": silence_id} if silence_id else body


def silence_path(silence_id: str) -> str:
    """Return the path under which a silence can be ended."""
    return f"/api/v2/silence/{silence_id}"


def read_id(answer: Answer) -> str | None:
    """Return the id that Alertmanager gave a silence, None when it gave none."""
    body = answer.json() if answer.status == 200 and not answer.error else None
    found = body.get("silenceID") if isinstance(body, dict) else None
    return str(found) if found else None


def refusal(answer: Answer, url: str, what: str) -> str:
    """Return why a silence was not set or ended, in one sentence."""
    if answer.status is None or answer.error:
        told = answer.detail or str(answer.error)
    else:
        fix = " (set local_llm_alertmanager_user and local_llm_alertmanager_password)" if answer.status == 401 else ""
        told = f"{answer.status}{fix} {answer.body[:200].decode('utf-8', 'replace').strip()}"
    return f"Alertmanager at {url} did not {what}: {told}. Alerts of this restart may come; the rollout goes on."


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
