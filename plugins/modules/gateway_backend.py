#!/usr/bin/python
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set state and share of one server at the gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_backend
short_description: Set state and share of one server at the gateway, and keep them
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Runs on a gateway host that the role C(local_llm.ops.gateway) has set up, and talks to HAProxy's admin socket.
  - Reads back what it set, and fails on anything that HAProxy answers beside success.
  - Writes the share map and the server-state file after each change, so that a reload, a restart or a power cut
    of the gateway loses nothing.
  - With several gateways, run it on each of them; it changes only the one it runs on.
  - Calls for the same gateway at the same time wait for each other.
extends_documentation_fragment:
  - local_llm.ops.attributes
attributes:
  check_mode:
    support: full
    details: Reads the gateway and predicts the change. Does not wait for O(wait_idle_seconds) or O(wait_up_seconds).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: With O(lease_seconds) greater than V(0) every call renews the lease, which is a change.
options:
  pool:
    description: The pool.
    type: str
    required: true
  server:
    description: The server's name at the gateway, which is C(<inventory host name>-<instance name>).
    type: str
    required: true
  state:
    description:
      - V(ready) takes new requests, as many as O(share_percent) says.
      - V(drain) takes no new requests, finishes the ones it has, and is still health checked.
      - V(maint) is like V(drain), and is not health checked.
    type: str
    choices: [ready, drain, maint]
    required: true
  share_percent:
    description:
      - With O(state=ready), V(100) makes the server a full member of the pool.
      - V(1) to V(99) give it that percentage of all requests of the pool, request by request and at random;
        the full members get the rest.
      - Does not matter for the other states. V(0) is taken there, as RV(before.share_percent) returns it.
    type: int
    default: 100
  wait_idle_seconds:
    description:
      - After the change, wait at most this long until the server answers no request any more; fail if some remain.
      - Counts both backends of the pool, and streams in worker processes that a reload has replaced.
      - V(0) does not wait.
    type: int
    default: 0
  wait_up_seconds:
    description:
      - After the change, wait at most this long until the gateway's health check finds the server up; else fail.
      - V(0) does not wait.
    type: int
    default: 0
  lease_seconds:
    description:
      - Put a lease on the change. When it has run out, the gateway itself brings the values from before back, without a
        controller, also after a reboot of the gateway.
      - A second call with a lease renews it and keeps the values from before the first one.
      - V(0) means a lasting change, and takes a standing lease away.
    type: int
    default: 0
  socket_path:
    description: HAProxy's admin socket.
    type: path
    default: /run/haproxy/admin.sock
  master_socket_path:
    description: The socket of HAProxy's master process, which knows of workers that a reload has replaced.
    type: path
    default: /run/haproxy-master.sock
  directory:
    description: Where the lock, the leases and the server-state file are.
    type: path
    default: /var/lib/local_llm/gateway
  map_path:
    description: The map that holds the share of each pool's canaries.
    type: path
    default: /etc/haproxy/local_llm/shares.map
"""

EXAMPLES = r"""
- name: Take an instance out and wait until its streams have ended; come back by itself after 15 minutes
  local_llm.ops.gateway_backend:
    pool: chat
    server: gpu1-chat
    state: drain
    wait_idle_seconds: 120
    lease_seconds: 900
  register: drained

- name: Let it have 10 percent of the requests
  local_llm.ops.gateway_backend:
    pool: chat
    server: gpu1-chat
    state: ready
    share_percent: 10
    wait_up_seconds: 20
    lease_seconds: 900

- name: Make it a full member again, for good
  local_llm.ops.gateway_backend:
    pool: chat
    server: gpu1-chat
    state: ready
"""

RETURN = r"""
before:
  description: State and share from before this call; while a lease stands, from before the lease.
  returned: success
  type: dict
  contains:
    state:
      description: V(ready), V(drain) or V(maint).
      type: str
      returned: always
    share_percent:
      description: V(100) for a full member, V(1) to V(99) for a share, V(0) for a server without new requests.
      type: int
      returned: always
after:
  description: State and share after this call, read back from HAProxy; in check mode as predicted.
  returned: success
  type: dict
  contains:
    state:
      description: As in RV(before.state).
      type: str
      returned: always
    share_percent:
      description: As in RV(before.share_percent).
      type: int
      returned: always
    operational_state:
      description: What the health check says, V(up), V(down), V(starting) or V(stopping).
      type: str
      returned: always
in_flight:
  description: Requests the server is answering at the end of this call.
  returned: success
  type: int
  sample: 0
seconds:
  description: How long the whole call took.
  returned: success
  type: float
  sample: 0.04
orders:
  description: The commands sent to HAProxy, or in check mode the ones it would send.
  returned: success
  type: list
  elements: str
lease:
  description: The lease that stands after this call, or null.
  returned: success
  type: dict
  contains:
    expires_at:
      description: When it runs out, in UTC.
      type: str
      returned: always
    seconds_left:
      description: How long it still stands.
      type: int
      returned: always
    before:
      description: State and share that come back then.
      type: dict
      returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_gateway import Gateway
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

ARGUMENTS = {
    "pool": {"type": "str", "required": True},
    "server": {"type": "str", "required": True},
    "state": {"type": "str", "required": True, "choices": ["ready", "drain", "maint"]},
    "share_percent": {"type": "int", "default": 100},
    "wait_idle_seconds": {"type": "int", "default": 0},
    "wait_up_seconds": {"type": "int", "default": 0},
    "lease_seconds": {"type": "int", "default": 0},
    "socket_path": {"type": "path", "default": "/run/haproxy/admin.sock"},
    "master_socket_path": {"type": "path", "default": "/run/haproxy-master.sock"},
    "directory": {"type": "path", "default": "/var/lib/local_llm/gateway"},
    "map_path": {"type": "path", "default": "/etc/haproxy/local_llm/shares.map"},
}


def run(module: AnsibleModule, gateway: Gateway) -> None:
    """Do what the arguments ask and exit."""
    params = module.params
    started = time.monotonic()
    pool, server = params["pool"], params["server"]
    wanted = (pool, server, params["state"], params["share_percent"], params["lease_seconds"])
    change = gateway.preview(*wanted) if module.check_mode else gateway.apply(*wanted)
    if not module.check_mode and params["wait_up_seconds"] > 0:
        gateway.wait_up(pool, server, params["wait_up_seconds"])
    if not module.check_mode and params["wait_idle_seconds"] > 0:
        in_flight = gateway.wait_idle(pool, server, params["wait_idle_seconds"])
    else:
        in_flight = gateway.in_flight(pool, server)
    operational = change.after.operational_state
    if not module.check_mode:
        operational = gateway.view(pool, server).operational_state
    after = {**change.after.summary(), "operational_state": operational}
    module.exit_json(
        changed=change.changed,
        before=change.before,
        after=after,
        in_flight=in_flight,
        seconds=round(time.monotonic() - started, 3),
        orders=change.orders,
        lease=change.lease.public(time.time()) if change.lease else None,
        diff={
            "before_header": f"{pool}/{server} at the gateway",
            "after_header": f"{pool}/{server} at the gateway",
            "before": change.found.summary(),
            "after": change.after.summary(),
        },
    )


def main() -> None:
    """Read the arguments, run, and turn what went wrong into a failed task."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    if not 0 <= params["share_percent"] <= 100:
        module.fail_json(msg=f"share_percent is {params['share_percent']}: use a whole number from 0 to 100.")
    for name in ("wait_idle_seconds", "wait_up_seconds", "lease_seconds"):
        if params[name] < 0:
            module.fail_json(msg=f"{name} is {params[name]}: use 0 or more.")
    gateway = Gateway(
        socket_path=params["socket_path"],
        master_socket_path=params["master_socket_path"],
        directory=params["directory"],
        map_path=params["map_path"],
    )
    try:
        run(module, gateway)
    except GatewayError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
