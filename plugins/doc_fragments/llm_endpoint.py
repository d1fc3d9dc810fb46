# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that talk to a model server."""

from __future__ import annotations


class ModuleDocFragment:
    """Address, key and TLS; the specification is ENDPOINT_ARGS in module_utils/_endpoint.py."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Base address of the model server or gateway, such as V(http://127.0.0.1:8001).
      - V(/v1) at its end is dropped. Proxy settings of the environment are not used.
    type: str
    required: true
  api_key:
    description: Key that is sent as bearer token. It is never logged.
    type: str
  validate_certs:
    description: Whether the certificate of an V(https) address must be valid.
    type: bool
    default: true
  ca_path:
    description: PEM file with the certificates to trust, on the host where the module runs. The system's when left out.
    type: path
"""
