# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Ask Prometheus: one query, its series as plain data. Whatever goes wrong is one error with one sentence.

Controller only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint, EndpointError, parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer, request

# What every action has that asks Prometheus or Alertmanager.
SERVER_ARGS: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "url_username": {"type": "str", "default": ""},
    "url_password": {"type": "str", "default": "", "no_log": True},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "ca_path": {"type": "path"},
    "timeout_seconds": {"type": "float", "default": 10.0},
}
_MAX_TEXT = 300


class PrometheusError(Exception):
    """Prometheus cannot be asked, or its answer is none."""


@dataclass(frozen=True)
class Series:
    """A series: its labels, and (Unix time, value) of each sample, the oldest first."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


# Asks one expression; raises PrometheusError.
Ask = Callable[[str], list[Series]]


def open_server(arguments: Mapping[str, Any], what: str) -> Endpoint:
    """Return where a server is, from SERVER_ARGS. Raises PrometheusError when the address cannot be used."""
    try:
        endpoint = parse_endpoint(str(arguments["url"]), ca_path=arguments["ca_path"])
    except EndpointError as error:
        raise PrometheusError(f"{what}: {error}") from error
    given = arguments["headers"] or {}
    headers = tuple((str(name), str(value)) for name, value in given.items())
    user, password = str(arguments.get("url_username") or ""), str(arguments.get("url_password") or "")
    if bool(user) != bool(password):
        raise PrometheusError(f"{what}: user and password belong together, and one is missing; give both or none")
    if user and any(name.lower() == "authorization" for name, _value in headers):
        raise PrometheusError(f"{what}: there is a user, and headers have Authorization; give one of them")
    if user:
        # As in RFC 7617: the name ends at the first colon.
        if ":" in user:
            raise PrometheusError(f"{what}: the user has a colon, which ends the name; use another name")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        headers = (*headers, ("Authorization", f"Basic {pair}"))
    if not all(text.isascii() and text.isprintable() for pair in headers for text in pair):
        raise PrometheusError(f"{what}: headers: one holds a line break or a character outside ASCII; strip it")
    return replace(endpoint, headers=headers)


def asker(arguments: Mapping[str, Any]) -> Ask:
    """Return what asks the Prometheus of SERVER_ARGS."""
    endpoint = open_server(arguments, "local_llm_prometheus_url")

    def ask(expression: str) -> list[Series]:
        path = f"/api/v1/query?{urlencode({'query': expression})}"
        return read_answer(request(endpoint, path, arguments["timeout_seconds"]), str(arguments["url"]))

    return ask


def read_answer(answer: Answer, url: str) -> list[Series]:
    """Return the series of an answer of /api/v1/query. Raises PrometheusError."""
    if answer.status is None or answer.error:
        raise PrometheusError(f"Prometheus at {url} does not answer: {answer.detail or answer.error}")
    if answer.status == 401:
        fix = "set local_llm_prometheus_user and local_llm_prometheus_password to what it knows"
        raise PrometheusError(f"Prometheus at {url} answers 401: it wants another name or password; {fix}")
    body = answer.json()
    if not isinstance(body, dict) or body.get("status") != "success":
        told = body.get("error") if isinstance(body, dict) else None
        text = str(told or answer.body[:_MAX_TEXT].decode("utf-8", "replace")).strip()
        raise PrometheusError(f"Prometheus at {url} answers {answer.status}: {text[:_MAX_TEXT] or 'nothing'}")
    try:
        kind, found = body["data"]["resultType"], body["data"]["result"]
        if kind in ("scalar", "string"):
            return [Series({}, (_sample(found),))]
        key = {"vector": "value", "matrix": "values"}[kind]
        listed = [(item["metric"], [item[key]] if kind == "vector" else item[key]) for item in found]
        return [
            Series({str(k): str(v) for k, v in labels.items()}, tuple(_sample(pair) for pair in pairs))
            for labels, pairs in listed
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        shown = json.dumps(body)[:_MAX_TEXT]
        raise PrometheusError(f"Prometheus at {url} answers something else than series: {shown}") from error


def quoted(text: str) -> str:
    """Return a text as a string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def _sample(pair: Any) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
