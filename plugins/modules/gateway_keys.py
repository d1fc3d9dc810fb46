#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the keyed hashes of API keys on a gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_keys
short_description: Keep the keyed hashes of API keys on a gateway
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Writes the files with which the gateway knows its clients. The keys themselves are stored nowhere.
  - The pepper is the secret of the keyed hash. Without O(pepper) one is made on the gateway, once.
  - HAProxy reads the files when it is reloaded; this module does not reload it.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the names of tenants and how many keys each has, never a key or a hash.
  idempotent:
    support: full
options:
  api_keys:
    description: Key of each tenant, or a list of keys while they change. Printable ASCII, 16 characters or more.
    type: dict
    default: {}
  pepper:
    description:
      - The secret of the keyed hash, 32 bytes or more in base64. Give it when several gateways shall write the same
        client ids into their logs.
      - Without it, the pepper on the gateway stays, or a random one is made.
    type: str
  directory:
    description: Where C(keys.map) and C(pepper.map) are.
    type: path
    default: /etc/haproxy/local_llm
"""

EXAMPLES = r"""
- name: Two clients, one of them changing its key
  local_llm.ops.gateway_keys:
    api_keys:
      editor: "{{ vault_editor_key }}"
      batch: ["{{ vault_batch_key_new }}", "{{ vault_batch_key_old }}"]
  no_log: true
"""

RETURN = r"""
tenants:
  description: How many keys each tenant has.
  returned: success
  type: dict
  sample: {editor: 1, batch: 2}
"""

import base64
import os
import secrets

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_keys as keys
from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_store as store
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

ARGUMENTS = {
    "api_keys": {"type": "dict", "default": {}, "no_log": True},
    "pepper": {"type": "str", "no_log": True},
    "directory": {"type": "path", "default": "/etc/haproxy/local_llm"},
}


def pepper_text(given: str | None, kept: str | None) -> str:
    """Return the pepper in base64: the given one, else the one on the gateway, else a new one."""
    if given:
        return given
    if kept and kept.startswith("pepper "):
        return kept.split(None, 1)[1].strip()
    return base64.b64encode(secrets.token_bytes(keys.PEPPER_BYTES)).decode("ascii")


def tenants_of_map(text: str) -> dict[str, int]:
    """Return how many keys each tenant has in a keys.map."""
    counts: dict[str, int] = {}
    for line in text.splitlines():
        tenant = line.split()[-1] if line.split() else ""
        if tenant:
            counts[tenant] = counts.get(tenant, 0) + 1
    return counts


def run(module: AnsibleModule) -> None:
    """Compare and write both files and exit."""
    directory = module.params["directory"]
    pepper_path, keys_path = os.path.join(directory, "pepper.map"), os.path.join(directory, "keys.map")
    old_pepper, old_keys = store.read_text(pepper_path), store.read_text(keys_path)
    pepper = pepper_text(module.params["pepper"], old_pepper)
    tenants = keys.keys_of_tenants(module.params["api_keys"])
    new = {
        pepper_path: f"pepper {pepper}\n",
        keys_path: keys.keys_map(keys.decode_pepper(pepper), tenants),
    }
    changed = False
    for path, old in ((pepper_path, old_pepper), (keys_path, old_keys)):
        if old != new[path]:
            changed = True
            if not module.check_mode:
                store.atomic_write(path, new[path], 0o600)
    counts = {tenant: len(values) for tenant, values in tenants.items()}
    diff = {"before": tenants_of_map(old_keys or ""), "after": counts, "before_header": keys_path}
    module.exit_json(changed=changed, tenants=counts, diff={**diff, "after_header": keys_path})


def main() -> None:
    """Read the arguments, run, and turn what went wrong into a failed task."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        run(module)
    except GatewayError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
