# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Where a model server listens: the options that name it, the parsed address, and the TLS settings."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# Options that every module that talks to a model server has. Documented in doc_fragments/llm_endpoint.py.
ENDPOINT_ARGS: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "api_key": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}


class EndpointError(ValueError):
    """The address or the TLS settings cannot be used; the text names the value and the fix."""


@dataclass(frozen=True)
class Endpoint:
    """A parsed base address. `base_path` has no slash at its end; `headers` go with every request."""

    secure: bool
    host: str
    port: int
    base_path: str
    headers: tuple[tuple[str, str], ...]
    tls: ssl.SSLContext | None


def _tls_context(validate_certs: bool, ca_path: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_path)
    except (OSError, ssl.SSLError) as exc:
        raise EndpointError(
            f"ca_path: {ca_path!r} cannot be read as PEM certificates ({exc}); give a file of PEM certificates"
        ) from exc
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def parse_endpoint(
    url: str, api_key: str | None = None, validate_certs: bool = True, ca_path: str | None = None
) -> Endpoint:
    """Return the endpoint for a base address such as http://127.0.0.1:8001; a /v1 at its end is dropped."""
    example = "write it like http://127.0.0.1:8001"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as exc:
        raise EndpointError(f"url: {url!r} is not an address ({exc}); {example}") from exc
    if parts.scheme not in ("http", "https"):
        raise EndpointError(f"url: {url!r} does not start with http:// or https://; {example}")
    if not parts.hostname:
        raise EndpointError(f"url: {url!r} names no host; {example}")
    if parts.username is not None or parts.password is not None:
        raise EndpointError("url: it carries a user name or password; give the key in api_key, which is never logged")
    if parts.query or parts.fragment:
        raise EndpointError(f"url: {url!r} has a query or fragment; give the base address only, {example}")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise EndpointError(
            "api_key: it holds a line break or a character outside ASCII; strip it (key files often end with a newline)"
        )
    base_path = parts.path.rstrip("/")
    if base_path.endswith("/v1"):
        base_path = base_path[: -len("/v1")]
    secure = parts.scheme == "https"
    return Endpoint(
        secure=secure,
        host=parts.hostname,
        port=port or (443 if secure else 80),
        base_path=base_path,
        headers=(("Authorization", f"Bearer {api_key}"),) if api_key else (),
        tls=_tls_context(validate_certs, ca_path) if secure else None,
    )


def endpoint_from_params(params: dict[str, Any]) -> Endpoint:
    """Return the endpoint that a module's options (ENDPOINT_ARGS) name."""
    return parse_endpoint(params["url"], params["api_key"], params["validate_certs"], params["ca_path"])
