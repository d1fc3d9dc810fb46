# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the actions that ask Prometheus or Alertmanager from the controller."""

from __future__ import annotations


class ModuleDocFragment:
    """Address, headers and TLS; the specification is SERVER_ARGS in plugin_utils/_prometheus.py."""

    DOCUMENTATION = r"""
options:
  url:
    description: Base address as the controller reaches it, such as V(http://mon1:9090)
      or V(https://mon1:9090).
    type: str
    required: true
  url_username:
    description: Name for basic authentication.
    type: str
    default: ""
  url_password:
    description: Password for basic authentication. It is never logged.
    type: str
    default: ""
  headers:
    description: Headers of every request, such as C(Authorization) or the one that names a tenant. They are never
      logged.
    type: dict
    default: {}
  ca_path:
    description: PEM file on the controller with the certificates to trust. The system's when left out.
    type: path
  timeout_seconds:
    description: Time for one request.
    type: float
    default: 10.0
"""
