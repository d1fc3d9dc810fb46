# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Is there a server at this address that can do the work? Asked before a load is sent, without generating a token."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer, request

SHOWN_MODELS = 10


def probe(endpoint: Endpoint, workload: Workload, timeout_seconds: float = 5.0) -> str | None:
    """Return why this work cannot be sent there, with thing, value and fix, or None.

    Two requests: the list of models, and for OpenAI-style servers a completion without a prompt. Servers look at the
    key before they look at the prompt, and some (llama.cpp) show their list of models to anybody. A gateway that hides
    the list is no problem when it lets the completion through.
    """
    path = "/api/tags" if workload.is_ollama else "/v1/models"
    where = address(endpoint)
    listed = request(endpoint, path, timeout_seconds)
    problem = _no_answer(listed, where) or _refused(listed, f"{where}{path}")
    if problem:
        return problem
    served = _served(listed)
    hidden = listed.status in (404, 405, 429)  # a gateway that sheds load says nothing about what is behind it
    if not hidden and (listed.status != 200 or served is None):
        return _other_server(listed, where, path, workload)
    if served and workload.model not in served and f"{workload.model}:latest" not in served:
        shown = ", ".join(served[:SHOWN_MODELS])
        more = f" and {len(served) - SHOWN_MODELS} more" if len(served) > SHOWN_MODELS else ""
        return f"model: {workload.model!r} is not served at {where}; served: {shown}{more}. Name one of these"
    if served is not None and not served:
        return f"model: {workload.model!r} is not served at {where}, and no other model is; load it, or check url"
    if workload.is_ollama:  # it has no key, and would load the model for a request without a prompt
        return _other_server(listed, where, path, workload) if hidden else None
    asked = request(endpoint, workload.url_path, timeout_seconds, {"model": workload.model})
    problem = _no_answer(asked, where) or _refused(asked, f"{where}{workload.url_path}")
    if problem or asked.status not in (404, 405):
        return problem
    if hidden:
        return _other_server(listed, where, path, workload)
    return (
        f"api: {where} knows no {workload.url_path} (HTTP {asked.status}); choose the api that the server has, "
        "or allow the path at the gateway"
    )


def _other_server(answer: Answer, where: str, path: str, workload: Workload) -> str:
    kind = "Ollama server" if workload.is_ollama else "OpenAI-style model server"
    if answer.status is not None and answer.status >= 500:
        return (
            f"url: {where} is not ready: GET {path} gave HTTP {answer.status}; wait until it has loaded its model, "
            "or look at its log"
        )
    what = f"HTTP {answer.status}" if answer.status != 200 else "no list of models"
    return f"url: {where} is no {kind}: GET {path} gave {what}; check address, port and path, and api ({workload.api})"


def address(endpoint: Endpoint) -> str:
    """Return the base address as a user would write it."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{'https' if endpoint.secure else 'http'}://{host}:{endpoint.port}{endpoint.base_path}"


def _no_answer(answer: Answer, where: str) -> str | None:
    if answer.status is not None:
        return None
    if "CERTIFICATE_VERIFY_FAILED" in answer.detail or "SSLCertVerificationError" in answer.detail:
        return (
            f"ca_path: the certificate of {where} is not trusted ({_reason(answer.detail)}); give the PEM file of the "
            "authority that signed it in ca_path, or use the name that the certificate is for"
        )
    if answer.detail.startswith("SSL"):
        return f"url: {where} does not speak TLS ({_reason(answer.detail)}); write http:// or check the port"
    if answer.error == "timeout":
        return f"url: {where} gave no answer in time ({answer.detail}); check address, port and firewall"
    if answer.detail.startswith(("BadStatusLine", "RemoteDisconnected", "ConnectionResetError")):
        return f"url: {where} does not answer in HTTP ({answer.detail}); check the port, and http against https"
    return f"url: cannot connect to {where} ({answer.detail}); check that the service runs, and address and port"


def _reason(detail: str) -> str:
    """Return OpenSSL's words without the place in its source."""
    text = detail.split("] ", 1)[-1]
    return text.rsplit(" (_ssl.c", 1)[0].strip()


def _refused(answer: Answer, what: str) -> str | None:
    if answer.status in (401, 403):
        return f"api_key: {what} refuses the key or wants one (HTTP {answer.status}); give a valid key in api_key"
    return None


def _served(answer: Answer) -> list[str] | None:
    """Return the names of the served models with their aliases, or None when the answer is no such list."""
    found = answer.json()
    if not isinstance(found, dict):
        return None
    rows = found.get("data") if isinstance(found.get("data"), list) else found.get("models")
    if not isinstance(rows, list):
        return None
    names: list[Any] = []
    for row in rows:
        if isinstance(row, dict):
            aliases = row.get("aliases")
            names += [row.get("id") or row.get("name"), *(aliases if isinstance(aliases, list) else [])]
    return sorted({name for name in names if isinstance(name, str) and name})
