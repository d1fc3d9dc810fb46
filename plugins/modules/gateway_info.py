#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how the gateway sees its servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: Tell states, shares, traffic and errors of the servers at a gateway
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Runs on a gateway host that the role C(local_llm.ops.gateway) has set up, and reads HAProxy's admin socket.
  - With O(watch_seconds) it looks on for a while and tells how much each counter grew.
  - Counters begin at nothing with each reload of the gateway.
extends_documentation_fragment:
  - local_llm.ops.attributes
  - local_llm.ops.attributes.read_only
options:
  pool:
    description: Tell of this pool only. An unknown pool is an error. Without it, all pools.
    type: str
  watch_seconds:
    description:
      - Look on for this long and return RV(deltas).
      - Returns before the time is up when a server answers with 5xx or fails to answer.
    type: int
    default: 0
  stop_on_errors:
    description: Whether watching ends with the first error. V(false) always watches to the end.
    type: bool
    default: true
  socket_path:
    description: HAProxy's admin socket.
    type: path
    default: /run/haproxy/admin.sock
  master_socket_path:
    description: The socket of HAProxy's master process, which knows of workers that a reload has replaced.
    type: path
    default: /run/haproxy-master.sock
  directory:
    description: Where the leases are.
    type: path
    default: /var/lib/local_llm/gateway
  map_path:
    description: The map that holds the share of each pool's canaries.
    type: path
    default: /etc/haproxy/local_llm/shares.map
"""

EXAMPLES = r"""
- name: Look at all servers
  local_llm.ops.gateway_info:
  register: gateway

- name: Watch the pool for 20 seconds, and stop at the first error
  local_llm.ops.gateway_info:
    pool: chat
    watch_seconds: 20
  register: watched
  failed_when: watched.errors_seen
"""

RETURN = r"""
servers:
  description: One entry per server of each pool.
  returned: success
  type: list
  elements: dict
  contains:
    pool: {description: The pool., type: str, returned: always}
    server: {description: The server's name at the gateway., type: str, returned: always}
    admin_state: {description: "V(ready), V(drain) or V(maint).", type: str, returned: always}
    operational_state: {description: "V(up), V(down), V(starting) or V(stopping).", type: str, returned: always}
    agent:
      description: >-
        What the agent check says, as C(state) V(up) or V(down) and C(said), HAProxy's own words. Null where no agent is
        asked or none has answered yet. A server whose agent says V(down) is operationally down.
      type: dict
      returned: always
    share_percent: {description: "V(100) for a full member, V(0) for no new requests.", type: int, returned: always}
    in_flight: {description: Requests it is answering., type: int, returned: always}
    queue: {description: Requests that wait for this very server., type: int, returned: always}
    requests_total: {description: Requests sent to it since the last reload., type: int, returned: always}
    http_5xx_total: {description: Its answers with 5xx since the last reload., type: int, returned: always}
    errors_total:
      description: Failed connections and broken answers since the last reload. Some were retried elsewhere.
      type: int
      returned: always
    retries_total: {description: Retries since the last reload., type: int, returned: always}
    lease: {description: "The lease, or null; see M(local_llm.ops.gateway_backend).", type: dict, returned: always}
pools:
  description: One entry per pool, what its clients got; counts what the gateway itself answered for it too.
  returned: success
  type: list
  elements: dict
  contains:
    pool: {description: The pool., type: str, returned: always}
    canary_share_percent: {description: Percentage that goes to servers with a share., type: int, returned: always}
    servers_ready: {description: Servers that may take requests., type: int, returned: always}
    servers_up: {description: Those of them that the health check finds up., type: int, returned: always}
    queue: {description: Requests that wait., type: int, returned: always}
    requests_total: {description: Requests since the last reload., type: int, returned: always}
    http_4xx_total: {description: Answers with 4xx since the last reload., type: int, returned: always}
    http_5xx_total: {description: Answers with 5xx since the last reload., type: int, returned: always}
deltas:
  description: How much each counter of each server grew while watching. Empty without O(watch_seconds).
  returned: success
  type: list
  elements: dict
  contains:
    pool: {description: The pool., type: str, returned: always}
    server: {description: The server., type: str, returned: always}
    requests: {description: Requests., type: int, returned: always}
    http_5xx: {description: Answers with 5xx., type: int, returned: always}
    errors: {description: Failed connections and broken answers., type: int, returned: always}
    retries: {description: Retries., type: int, returned: always}
set_up:
  description: Whether the role C(local_llm.ops.gateway) has been here.
  returned: failure
  type: bool
errors_seen:
  description: Whether any server answered with 5xx or failed to answer while watching.
  returned: success
  type: bool
watched_seconds:
  description: How long it watched.
  returned: success
  type: float
  sample: 20.0
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_stats as stats
from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_store as store
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_gateway import Gateway
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

POLL_SECONDS = 0.5

ARGUMENTS = {
    "pool": {"type": "str"},
    "watch_seconds": {"type": "int", "default": 0},
    "stop_on_errors": {"type": "bool", "default": True},
    "socket_path": {"type": "path", "default": "/run/haproxy/admin.sock"},
    "master_socket_path": {"type": "path", "default": "/run/haproxy-master.sock"},
    "directory": {"type": "path", "default": "/var/lib/local_llm/gateway"},
    "map_path": {"type": "path", "default": "/etc/haproxy/local_llm/shares.map"},
}


def read(gateway: Gateway, pool: str | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the entries of servers and of pools."""
    views = gateway.views()
    if pool is not None and pool not in {view.pool for view in views.values()}:
        known = ", ".join(sorted({view.pool for view in views.values()})) or "none"
        raise GatewayError(f"The gateway has no pool {pool!r} with servers. Known pools: {known}.")
    rows = gateway.stat_rows()
    leases, problems = store.list_leases(gateway.directory)
    if problems:
        raise GatewayError(problems[0])
    now = time.time()
    shown = {(lease.pool, lease.server): lease.public(now) for lease in leases}
    servers = stats.server_entries(views, rows, gateway.old_worker_rows(), shown, pool)
    return servers, stats.pool_entries(views, rows, gateway.shares(), pool)


def run(module: AnsibleModule, gateway: Gateway) -> None:
    """Read once, or watch, and exit."""
    pool, watch_seconds = module.params["pool"], module.params["watch_seconds"]
    started = time.monotonic()
    first, pool_list = read(gateway, pool)
    servers, last, errors_seen = first, first, False
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    while watch_seconds and time.monotonic() < started + watch_seconds:
        if errors_seen and module.params["stop_on_errors"]:
            break
        time.sleep(min(POLL_SECONDS, max(0.0, started + watch_seconds - time.monotonic())))
        servers, pool_list = read(gateway, pool)
        # Step by step, so that a reload in between, which sets counters to nothing, costs one step and not the sum.
        steps = stats.server_deltas(last, servers)
        errors_seen = errors_seen or stats.has_errors(steps)
        stats.add_up(totals, steps)
        last = servers
    module.exit_json(
        changed=False,
        servers=servers,
        pools=pool_list,
        deltas=list(totals.values()),
        errors_seen=errors_seen,
        watched_seconds=round(time.monotonic() - started, 1) if watch_seconds else 0.0,
    )


def main() -> None:
    """Read the arguments, run, and turn what went wrong into a failed task."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    if params["watch_seconds"] < 0:
        module.fail_json(msg=f"watch_seconds is {params['watch_seconds']}: use 0 or more.")
    gateway = Gateway(
        socket_path=params["socket_path"],
        master_socket_path=params["master_socket_path"],
        directory=params["directory"],
        map_path=params["map_path"],
    )
    try:
        run(module, gateway)
    except GatewayError as error:
        settings = os.path.dirname(params["map_path"])
        if os.path.isdir(settings):
            module.fail_json(msg=str(error), set_up=True)
        told = f"This host is no gateway yet: {params['socket_path']} does not answer, and {settings} is missing."
        module.fail_json(msg=f"{told} Run local_llm.ops.site first; it installs and sets up HAProxy.", set_up=False)


if __name__ == "__main__":
    main()
