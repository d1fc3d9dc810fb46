# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyed hashes of API keys."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_keys as keys
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

PEPPER = b"0123456789abcdef0123456789abcdef"


def test_the_hash_is_the_one_that_haproxy_computes() -> None:
    # Read from HAProxy 2.6 and 3.0: hmac(sha256,<pepper>),hex,lower of this key with this pepper.
    assert keys.key_hash(PEPPER, "sk-one") == "fe141b51df02958d8321fbd46e85a874fbe291a55ff9a1230dcdc8fe3c81e987"


def test_the_map_holds_hashes_and_tenants_in_a_fixed_order() -> None:
    text = keys.keys_map(PEPPER, {"b": ["k" * 16], "a": ["l" * 16, "m" * 16]})
    lines = text.splitlines()
    assert lines == sorted(lines)
    assert [len(line.split()[0]) for line in lines] == [64, 64, 64]
    assert sorted(line.split()[1] for line in lines) == ["a", "a", "b"]


def test_a_tenant_may_have_two_keys_while_it_changes_them() -> None:
    assert keys.keys_of_tenants({"a": "k" * 16, "b": ["l" * 16, "m" * 16]}) == {
        "a": ["k" * 16],
        "b": ["l" * 16, "m" * 16],
    }


@pytest.mark.parametrize(
    ("tenants", "words"),
    [
        ({"a b": "k" * 16}, "Tenant 'a b'"),
        ({"a": "short-secret"}, "at least 16"),
        ({"a": "with space in the secret"}, "printable ASCII"),
        ({"a": []}, "has no key"),
        ({"a": 5}, "has no key"),
        ({"a": [5]}, "printable ASCII"),
        ({"a": "k" * 16, "b": "k" * 16}, "same key"),
    ],
)
def test_bad_keys_are_refused_without_showing_them(tenants: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewayError, match=words) as caught:
        keys.keys_of_tenants(tenants)
    assert "secret" not in str(caught.value)
    assert "kkkk" not in str(caught.value)


@pytest.mark.parametrize("text", ["not base64!", base64.b64encode(b"short").decode()])
def test_a_weak_pepper_is_refused(text: str) -> None:
    with pytest.raises(GatewayError, match="openssl rand"):
        keys.decode_pepper(text)
