# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""API keys at the gateway: only their keyed hashes are kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

MIN_KEY_LENGTH = 16
PEPPER_BYTES = 32
_TENANT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_KEY = re.compile(r"^[!-~]+$")


def key_hash(pepper: bytes, key: str) -> str:
    """Return the HMAC-SHA256 of a key as HAProxy computes it: 64 small hex digits."""
    return hmac.new(pepper, key.encode("ascii"), hashlib.sha256).hexdigest()


def decode_pepper(text: str) -> bytes:
    """Return the pepper from base64; raise when it is none or too short."""
    try:
        pepper = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise GatewayError("The pepper is not base64. Make one with: openssl rand -base64 32") from error
    if len(pepper) < PEPPER_BYTES:
        raise GatewayError(
            f"The pepper has {len(pepper)} bytes; at least {PEPPER_BYTES} are needed. "
            "Make one with: openssl rand -base64 32"
        )
    return pepper


def keys_of_tenants(tenants: Mapping[str, str | list[str]]) -> dict[str, list[str]]:
    """Return the keys of each tenant as a list; raise on what cannot be a tenant or a key, without showing the key."""
    result = {}
    owner: dict[str, str] = {}
    for tenant, value in sorted(tenants.items()):
        if not _TENANT.match(tenant):
            raise GatewayError(f"Tenant {tenant!r}: use at most 64 letters, digits, dots, dashes and underscores.")
        keys = [value] if isinstance(value, str) else value
        if not isinstance(keys, list) or not keys:
            raise GatewayError(f"Tenant {tenant!r} has no key: give a text, or a list of texts while keys change.")
        for key in keys:
            if not isinstance(key, str) or not _KEY.match(key):
                raise GatewayError(f"A key of tenant {tenant!r} holds characters other than printable ASCII.")
            if len(key) < MIN_KEY_LENGTH:
                raise GatewayError(
                    f"A key of tenant {tenant!r} has {len(key)} characters; at least {MIN_KEY_LENGTH} are needed. "
                    "Make one with: openssl rand -hex 24"
                )
            if key in owner:
                raise GatewayError(f"Tenants {owner[key]!r} and {tenant!r} have the same key: give each its own.")
            owner[key] = tenant
        result[tenant] = keys
    return result


def keys_map(pepper: bytes, tenants: Mapping[str, list[str]]) -> str:
    """Return the text of keys.map: one line "<keyed hash> <tenant>" per key, in a fixed order."""
    lines = sorted(f"{key_hash(pepper, key)} {tenant}" for tenant, keys in tenants.items() for key in keys)
    return "".join(line + "\n" for line in lines)
