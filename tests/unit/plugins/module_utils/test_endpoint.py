# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses: what is taken, and how what is not is told."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import EndpointError, parse_endpoint


@pytest.mark.parametrize(
    ("url", "host", "port", "base"),
    [
        ("http://127.0.0.1:8001", "127.0.0.1", 8001, ""),
        ("http://gw/llm/", "gw", 80, "/llm"),
        ("https://gw/v1", "gw", 443, ""),
        ("http://[::1]:9/a/v1/", "::1", 9, "/a"),
    ],
)
def test_addresses_are_taken_apart(url: str, host: str, port: int, base: str) -> None:
    endpoint = parse_endpoint(url)
    assert (endpoint.host, endpoint.port, endpoint.base_path) == (host, port, base)
    assert (endpoint.tls is not None) == url.startswith("https")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("127.0.0.1:8001", "http://"),
        ("http://", "names no host"),
        ("http://h:99999", "not an address"),
        ("http://h/?a=1", "query"),
        ("http://user:secret@h", "api_key"),
    ],
)
def test_what_is_no_address_is_refused_with_the_fix(url: str, word: str) -> None:
    with pytest.raises(EndpointError, match=word) as error:
        parse_endpoint(url)
    assert str(error.value).startswith("url:") and "secret" not in str(error.value)


def test_the_key_becomes_a_header_and_is_never_in_an_error() -> None:
    assert parse_endpoint("http://h", "abc").headers == (("Authorization", "Bearer abc"),)
    assert parse_endpoint("http://h").headers == ()
    with pytest.raises(EndpointError) as error:
        parse_endpoint("http://h", "abc\n")
    assert "abc" not in str(error.value) and "newline" in str(error.value)


def test_a_missing_certificate_file_names_the_option() -> None:
    with pytest.raises(EndpointError, match="ca_path: '/does/not/exist'"):
        parse_endpoint("https://h", ca_path="/does/not/exist")
