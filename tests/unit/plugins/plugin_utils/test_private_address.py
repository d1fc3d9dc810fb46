# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A public address is never taken silently for the private one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.filter.public_address import FilterModule
from ansible_collections.local_llm.ops.plugins.plugin_utils._private_address import (
    ALLOW_VARIABLE,
    address_findings,
    is_public,
)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("172.31.255.254", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.1.1", False),
        ("192.0.2.11", False),
        ("0.0.0.0", True),
        ("::", True),
        ("[::]", True),
        ("*", True),
        ("", True),
        ("fd00::1", False),
        ("[fd00::1]", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("gpu1.example.net", False),
        (None, False),
        ("8.8.8.8", True),
        ("172.32.0.1", True),
        ("100.128.0.1", True),
        ("2a00:1450::1", True),
        ("[2a00:1450::1]", True),
        ("::ffff:8.8.8.8", True),
    ],
)
def test_what_everybody_reaches_is_public(address: Any, public: bool) -> None:
    assert is_public(address) is public
    assert FilterModule().filters()["public_address"](address) is public


@pytest.mark.parametrize(
    ("host", "variables", "subject"),
    [
        ("gpu1", {"ansible_host": "8.8.8.8"}, "ansible_host on gpu1"),
        ("8.8.8.8", {}, "inventory_hostname on 8.8.8.8"),
        ("gpu1", {"ansible_host": "10.0.0.1", "local_llm_address": "8.8.8.8"}, "local_llm_address on gpu1"),
        ("gpu1", {"ansible_host": "8.8.8.8", "local_llm_address": "10.0.0.1"}, None),
        ("gpu1", {"ansible_host": "8.8.8.8", "ansible_connection": "local"}, None),
        ("gpu1", {"ansible_host": "8.8.8.8", ALLOW_VARIABLE: True}, None),
        ("gpu1", {"ansible_host": "8.8.8.8", ALLOW_VARIABLE: "true"}, None),
        ("gpu1", {"ansible_host": "8.8.8.8", ALLOW_VARIABLE: "no"}, "ansible_host on gpu1"),
        ("gpu1", {"ansible_host": "gpu1.example.net"}, None),
    ],
)
def test_a_host_that_would_listen_on_a_public_address_is_refused_with_the_fix(
    host: str, variables: dict[str, Any], subject: str | None
) -> None:
    found = address_findings({host: variables})
    assert [item["subject"] for item in found] == ([] if subject is None else [subject])
    for item in found:
        assert item["status"] == "fail" and item["observed"] == "8.8.8.8"
        assert "Set local_llm_address" in item["action"] and ALLOW_VARIABLE in item["action"]


def test_hosts_with_the_same_fault_are_named_together_only_when_the_address_is_the_same() -> None:
    found = address_findings({"gpu1": {"ansible_host": "8.8.8.8"}, "gpu2": {"ansible_host": "8.8.4.4"}})
    assert [(item["subject"], item["observed"]) for item in found] == [
        ("ansible_host on gpu1", "8.8.8.8"),
        ("ansible_host on gpu2", "8.8.4.4"),
    ]
