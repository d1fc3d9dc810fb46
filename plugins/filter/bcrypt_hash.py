# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter bcrypt_hash: the hash of a password for a web configuration of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.plugin_utils._bcrypt import HashError
from ansible_collections.local_llm.ops.plugins.plugin_utils._bcrypt import bcrypt_hash as make

DOCUMENTATION = r"""
name: bcrypt_hash
short_description: Bcrypt hash of a password, the same in every run
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Returns the hash that C(basic_auth_users) of Prometheus, Alertmanager and their exporters wants.
  - The salt comes from O(place), so that a second run changes nothing, and two places never share a salt.
  - Needs the system's C(libcrypt) on the controller, which Debian, Ubuntu and Fedora have. No Python package is needed.
positional: place
options:
  _input:
    description: The password, at most 72 bytes.
    type: str
    required: true
  place:
    description: Whose password it is, and where, such as V(mon1/prometheus).
    type: str
    required: true
"""

EXAMPLES = r"""
---
- name: Who may read the exporter
  ansible.builtin.set_fact:
    node_exporter_users:
      prometheus: "{{ vault_password | local_llm.ops.bcrypt_hash(inventory_hostname ~ '/prometheus') }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: The hash.
  type: str
"""


def bcrypt_hash(password: Any, place: Any) -> str:
    """Return the hash."""
    try:
        return make(str(password), str(place))
    except HashError as error:
        raise AnsibleFilterError(f"bcrypt_hash: {error}") from error


class FilterModule:
    """The filters of this file."""

    FILTERS: ClassVar[dict[str, Callable[..., str]]] = {"bcrypt_hash": bcrypt_hash}

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by name."""
        return self.FILTERS
