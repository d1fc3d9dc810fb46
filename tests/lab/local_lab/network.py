# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge of a lab, its way out, and the cable of each host."""

from __future__ import annotations

import json

from .shell import LabError, run
from .state import Host, Lab


def _rules(lab: Lab) -> list[list[str]]:
    """The firewall rules of a lab, each as table, chain and match; marked with the lab's name."""
    mark = ["-m", "comment", "--comment", f"local-llm-lab {lab.name}"]
    return [
        ["nat", "POSTROUTING", "-s", lab.network, "!", "-d", lab.network, *mark, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-s", lab.network, *mark, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-d", lab.network, *mark, "-j", "ACCEPT"],
    ]


def up(lab: Lab) -> None:
    """Make the bridge, this machine's address on it, and the way out."""
    if run("ip", "link", "show", lab.bridge, check=False).returncode != 0:
        run("ip", "link", "add", lab.bridge, "type", "bridge")
    if lab.gateway_address not in run("ip", "-4", "addr", "show", lab.bridge).stdout:
        run("ip", "addr", "add", f"{lab.gateway_address}/24", "dev", lab.bridge)
    run("ip", "link", "set", lab.bridge, "up")
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    for table, chain, *match in _rules(lab):
        if run("iptables", "-w", "-t", table, "-C", chain, *match, check=False).returncode != 0:
            run("iptables", "-w", "-t", table, "-I", chain, *match)


def down(lab: Lab) -> None:
    """Take the bridge and the rules away."""
    for table, chain, *match in _rules(lab):
        while run("iptables", "-w", "-t", table, "-D", chain, *match, check=False).returncode == 0:
            pass
    run("ip", "link", "del", lab.bridge, check=False)


def cable(leader_pid: int) -> str:
    """Return this machine's end of the host's cable, by the host's process id."""
    shown = run("nsenter", "-t", str(leader_pid), "-n", "ip", "-j", "link", "show", "host0", check=False)
    if shown.returncode != 0:
        raise LabError("The host's network is not there; is the host running? See: lab.py list")
    peer = json.loads(shown.stdout)[0]["link_index"]
    for link in json.loads(run("ip", "-j", "link").stdout):
        if link["ifindex"] == peer:
            return str(link["ifname"])
    raise LabError(f"No interface with index {peer} on this machine.")


def plug(host: Host, leader_pid: int, connected: bool) -> None:
    """Cut the host off from the network, or connect it again."""
    run("ip", "link", "set", cable(leader_pid), "up" if connected else "down")
