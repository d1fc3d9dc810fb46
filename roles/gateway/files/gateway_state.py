#!/usr/bin/python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep run-time states of the gateway over reloads and restarts, and give back what a lease ran out on.

save       write states and shares of the running HAProxy to disk (before a reload or a stop)
reconcile  give the kept states the ports of the configuration (before a start)
watch      stay while there are leases, and restore the values from before each one that runs out
"""

from __future__ import annotations

import sys
import time

sys.path.insert(0, "/usr/local/libexec/local_llm/gateway_lib")

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_store as store
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_gateway import Gateway
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

POLL_SECONDS = 1.0
LOCK_SECONDS = 3.0


def save(gateway: Gateway) -> None:
    """Write what HAProxy runs with to disk."""
    if not gateway.views():
        # HAProxy runs with another configuration, such as its package's own before the first reload.
        return
    with store.locked(gateway.directory, LOCK_SECONDS):
        gateway.persist()


def reconcile(gateway: Gateway) -> None:
    """Mend the kept states before a start."""
    with store.locked(gateway.directory, LOCK_SECONDS):
        gateway.reconcile()


def watch(gateway: Gateway) -> None:
    """Restore each lease when its time is up; return when no lease is left."""
    told = ""
    while True:
        leases, problems = store.list_leases(gateway.directory)
        if not leases and not problems:
            return
        try:
            lines = gateway.restore_expired(time.time())
        except GatewayError as error:
            lines = [f"a lease has expired but cannot be restored yet: {error}"]
        # What cannot be done yet is tried again; the reason is told once, and again when it changes.
        text = "\n".join(lines)
        if text and text != told:
            print(text, flush=True)
            told = text
        time.sleep(POLL_SECONDS)


def main() -> int:
    """Run one command; tell what went wrong on standard error."""
    commands = {"save": save, "reconcile": reconcile, "watch": watch}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[sys.argv[1]](Gateway())
    except GatewayError as error:
        print(f"gateway_state {sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
