# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Is the address on which a host's services will listen one that the whole internet reaches. Controller only."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector

ALLOW_VARIABLE = "local_llm_allow_public_address"
# Where services of a host listen: the first of these that is set, else its name.
ADDRESS_VARIABLES = ("local_llm_address", "ansible_host")
READ_VARIABLES = (*ADDRESS_VARIABLES, "ansible_connection", ALLOW_VARIABLE)


def is_public(address: Any) -> bool:
    """Tell whether this is an IP address that can be reached from everywhere, or stands for every address of a host.

    Loopback, private (RFC 1918, ULA), shared (100.64.0.0/10), link-local and documentation addresses are not. A name is
    not looked up: it may mean another address on the host.
    """
    text = str(address).strip().strip("[]")
    if text in ("", "*"):
        return True
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    inner = getattr(found, "ipv4_mapped", None) or found
    return bool(inner.is_global or inner.is_unspecified)


def address_findings(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the public addresses on which hosts would listen. hosts: {host: its READ_VARIABLES, None when not set}."""
    out = Collector()
    for host, variables in hosts.items():
        if boolean(variables.get(ALLOW_VARIABLE) or False, strict=False):
            continue
        name = next((key for key in ADDRESS_VARIABLES if variables.get(key)), "inventory_hostname")
        if name == "ansible_host" and variables.get("ansible_connection") == "local":
            continue
        address = variables.get(name) or host
        if not is_public(address):
            continue
        out.host = host
        action = (
            "Model servers and exporters would listen there, and neither needs a key. Set local_llm_address to the "
            f"private address of the host. Where a firewall of yours keeps others out: {ALLOW_VARIABLE}: true."
        )
        out.fail("public_address", name, str(address), "a private address", action)
    return out.findings()
