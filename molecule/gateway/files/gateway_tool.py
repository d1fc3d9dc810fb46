#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set and read servers of the pool chat on the gateway, through the library that the role put there.

The modules do the same by the same code, but a module run takes seconds where the tests need many quick looks.
Takes a JSON object: reset, which makes both servers full members and waits until they are up; or server, and with it
state, share_percent, wait_up_seconds, wait_idle_seconds, lease_seconds.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

sys.path.insert(0, "/usr/local/libexec/local_llm/gateway_lib")

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_store as store
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_gateway import Gateway


def main() -> None:
    """Change when a state is given, then tell."""
    order = json.loads(sys.argv[1])
    gateway = Gateway()
    if order.get("reset"):
        for name in ("fake1-chat", "fake2-chat"):
            gateway.apply("chat", name, "ready", 100, 0)
            gateway.wait_up("chat", name, 20)
        return
    result: dict[str, Any] = {}
    started = time.monotonic()
    server = order["server"]
    if "state" in order:
        share, lease_seconds = order.get("share_percent", 100), order.get("lease_seconds", 0)
        change = gateway.apply("chat", server, order["state"], share, lease_seconds)
        result = {"before": change.before, "changed": change.changed}
        if order.get("wait_up_seconds"):
            gateway.wait_up("chat", server, order["wait_up_seconds"])
        if order.get("wait_idle_seconds"):
            gateway.wait_idle("chat", server, order["wait_idle_seconds"])
    view = gateway.view("chat", server)
    result.update(view.summary())
    result["operational_state"] = view.operational_state
    result["in_flight"] = gateway.in_flight("chat", server)
    result["lease"] = store.read_lease(gateway.directory, "chat", server) is not None
    result["mapped"] = gateway.shares().get("chat", "0")
    result["seconds"] = time.monotonic() - started
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
