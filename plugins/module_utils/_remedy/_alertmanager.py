# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Tell Alertmanager. What cannot be told now waits on disk, in bounds, and is tried again with the next run."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint, parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import request

PATH = "/api/v2/alerts"
ALERT = "LocalLlmRemediationActed"
MOST_WAITING = 100
MOST_AGE_SECONDS = 86400
# So long a message is shown; it tells of a moment, and the rules of Prometheus tell of what lasts.
SHOWN_SECONDS = 900


def alert(
    *, host: str, server: str, rule: str, action: str, reason: str, severity: str, runbook_url: str, now: float
) -> dict[str, Any]:
    """Return one alert for POST /api/v2/alerts. It holds nothing that a client wrote."""
    words = {"give_up": "gave up on", "let_in": "let in", "take_out": "took out", "restart": "restarted"}
    return {
        "labels": {
            "alertname": ALERT,
            "severity": severity,
            "host": host,
            "server": server,
            "rule": rule,
            "action": action,
        },
        "annotations": {
            "summary": f"Remediation {words.get(action, 'reports')} {server}: {reason}",
            "description": f"Rule {rule} on {host}. What was done stands in journal.jsonl of the remediation there.",
            "runbook_url": runbook_url,
        },
        "startsAt": iso(now),
        "endsAt": iso(now + SHOWN_SECONDS),
    }


def iso(seconds: float) -> str:
    """Return a Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def endpoint_of(settings: Mapping[str, Any]) -> Endpoint:
    """Return where Alertmanager is. settings: url, ca_path, user, password_path (a file that only root reads)."""
    endpoint = parse_endpoint(settings["url"], ca_path=settings.get("ca_path") or None)
    if not settings.get("user"):
        return endpoint
    with open(settings["password_path"], encoding="utf-8") as stream:
        pair = f"{settings['user']}:{stream.read().strip()}"
    header = "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
    return replace(endpoint, headers=(("Authorization", header),))


def put_aside(directory: str, payload: Mapping[str, Any], now: float) -> None:
    """Write an alert to the spool; the oldest goes when there are too many."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    taken = sum(1 for name in os.listdir(directory) if name.startswith(f"{now:017.3f}"))
    write_json_atomic(os.path.join(directory, f"{now:017.3f}-{taken:03d}.json"), dict(payload), 0o600)
    for name in waiting(directory)[:-MOST_WAITING]:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def waiting(directory: str) -> list[str]:
    """Return what waits, oldest first."""
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    except FileNotFoundError:
        return []


def send_waiting(directory: str, endpoint: Endpoint, seconds: float, now: float) -> tuple[int, int, str]:
    """Send what waits in one request. Return (sent, still waiting, what went wrong)."""
    payloads, names = [], []
    for name in waiting(directory):
        path = os.path.join(directory, name)
        try:
            too_old = now - float(name.split("-")[0]) > MOST_AGE_SECONDS
            with open(path, encoding="utf-8") as stream:
                payload = json.load(stream)
        except (OSError, ValueError):
            too_old, payload = True, None
        if too_old:
            with suppress(FileNotFoundError):
                os.unlink(path)
            continue
        names.append(name)
        # A message that was held up is shown from now on, or Alertmanager would take it for one that is over.
        payloads.append({**payload, "endsAt": iso(now + SHOWN_SECONDS)})
    if not payloads:
        return 0, 0, ""
    answer = request(endpoint, PATH, seconds, payload=payloads)
    if answer.status is None or not 200 <= answer.status < 300:
        said = f"HTTP {answer.status}" if answer.status is not None else answer.detail
        return 0, len(names), f"{endpoint.host}:{endpoint.port}{PATH}: {said}"
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
    return len(names), 0, ""
