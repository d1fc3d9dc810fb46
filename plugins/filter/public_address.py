# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter public_address: can an address be reached from everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ansible_collections.local_llm.ops.plugins.plugin_utils._private_address import is_public

DOCUMENTATION = r"""
name: public_address
short_description: Tell whether an address can be reached from everywhere
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Returns V(true) for an IP address of the public internet, and for what means every address of a host,
    which C(0.0.0.0), C(::), C(*) and an empty text do. Returns V(false) for a loopback, private (RFC 1918, ULA),
    shared (C(100.64.0.0/10)), link-local or documentation address.
  - A name is not looked up, and gives V(false).
options:
  _input:
    description: The address.
    type: str
    required: true
"""

EXAMPLES = r"""
---
- name: Refuse to listen where everybody can ask
  ansible.builtin.assert:
    that: not local_llm_address | local_llm.ops.public_address
"""

RETURN = r"""
_value:
  description: Whether it can.
  type: bool
"""


class FilterModule:
    """The filters of this file."""

    FILTERS: ClassVar[dict[str, Callable[[Any], bool]]] = {"public_address": is_public}

    def filters(self) -> dict[str, Callable[[Any], bool]]:
        """Return the filters by name."""
        return self.FILTERS
