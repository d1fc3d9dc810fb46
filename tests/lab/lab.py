#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build, list, enter, break, heal and end labs of real systemd hosts. See README.md beside this file."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from local_lab import hosts, inventory, network, requirements, state
from local_lab.shell import LabError, run

DEFAULT_HOSTS = ["gw1=bookworm", "gpu1=trixie", "gpu2=bookworm", "gpu3=trixie"]


def say(text: str) -> None:
    """Print a progress line."""
    print(f"lab: {text}", flush=True)


def parse_host(text: str) -> tuple[str, str, str]:
    """Split NAME=SUITE[:GROUP]; the group defaults to gateway for names that begin with gw, else gpu_hosts."""
    name, _sign, rest = text.partition("=")
    suite, _sign, group = (rest or "trixie").partition(":")
    state.check_name("Host name", name)
    return name, suite, group or ("gateway" if name.startswith("gw") else "gpu_hosts")


def prepare_machine() -> None:
    """Set what nspawn needs of this machine."""
    place = Path("/run/systemd/nspawn")
    place.mkdir(parents=True, exist_ok=True)
    if run("stat", "-f", "-c", "%T", str(place)).stdout.strip() != "tmpfs":
        run("mount", "-t", "tmpfs", "tmpfs", str(place))
    for key, least in (("max_user_instances", 8192), ("max_user_watches", 524288)):
        path = Path("/proc/sys/fs/inotify") / key
        if int(path.read_text(encoding="ascii")) < least:
            path.write_text(f"{least}\n", encoding="ascii")


def existing(name: str) -> state.Lab:
    """Return the lab, or say that there is none and which there are."""
    lab = state.load(name)
    if lab is None:
        raise LabError(f"There is no lab '{name}'. Labs here: {', '.join(x.name for x in state.load_all()) or 'none'}.")
    return lab


def command_up(options: argparse.Namespace) -> None:
    """Bring a lab up: make what is missing, boot what is off, leave what runs."""
    requirements.demand()
    started = time.monotonic()
    with state.locked():
        prepare_machine()
        lab = state.load(options.lab) or state.Lab(options.lab, state.free_number())
        lab.save()
        if not (lab.directory / "key").exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(lab.directory / "key"))
        network.up(lab)
        wanted = options.host or ([] if lab.hosts else DEFAULT_HOSTS)
        for name, suite, group in map(parse_host, wanted):
            used = {host.address for host in lab.hosts.values()}
            if name not in lab.hosts:
                addresses = (f"{state.NETWORK_PREFIX}.{lab.number}.{n}" for n in range(11, 255))
                free = next(address for address in addresses if address not in used)
                lab.hosts[name] = state.Host(name, suite, group, free)
        lab.save()
        for host in lab.hosts.values():
            hosts.boot(lab, host, say)
        inventory.write(lab)
    for host in lab.hosts.values():
        hosts.wait_ready(lab, host)
        say(f"{host.name} ({host.suite}) is up at {host.address}")
    say(f"lab {lab.name} is up after {time.monotonic() - started:.1f} s; inventory: {lab.directory / 'inventory.yml'}")


def command_down(options: argparse.Namespace) -> None:
    """End a lab and delete its disks; images stay cached."""
    with state.locked():
        labs = state.load_all() if options.all else [x for x in [state.load(options.lab)] if x is not None]
        for lab in labs:
            for host in list(lab.hosts.values()):
                hosts.remove(lab, host)
            network.down(lab)
            shutil.rmtree(lab.directory)
            say(f"lab {lab.name} is gone")
    if not labs:
        say("there is no such lab; nothing to do")


def command_list(_options: argparse.Namespace) -> None:
    """List labs and hosts."""
    for lab in state.load_all():
        print(f"{lab.name}  network {lab.network}  inventory {lab.directory / 'inventory.yml'}")
        for host in lab.hosts.values():
            power = "on" if hosts.is_on(host) else "off"
            print(f"  {host.name:<10} {host.suite:<10} {host.group:<10} {host.address:<14} {power}")


def command_enter(options: argparse.Namespace) -> None:
    """Open a shell on a host, or run a command there."""
    lab = existing(options.lab)
    command = hosts.ssh(lab, lab.host(options.name))
    if not options.command:
        command.insert(1, "-t")
    os.execvp(command[0], [*command, *options.command])


def command_break(options: argparse.Namespace) -> None:
    """Carry out power-cut, boot, shutdown, cut or heal on the named hosts."""
    with state.locked():
        lab = existing(options.lab)
        chosen = [lab.host(name) for name in options.name]
        for host in chosen:
            if options.action == "power-cut":
                hosts.power_cut(lab, host)
            elif options.action == "shutdown":
                hosts.shut_down(lab, host)
            elif options.action == "boot":
                hosts.boot(lab, host, say)
            else:
                hosts.set_network(lab, host, connected=options.action == "heal")
    for host in chosen:
        if options.action == "boot":
            hosts.wait_ready(lab, host)
        say(f"{host.name}: {options.action} done")


def main() -> int:
    """Read the command line and carry it out."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="action", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.add_argument("--lab", default="demo", help="name of the lab (default: demo)")
        return command

    up = add("up", "make and boot a lab")
    up.add_argument("--host", action="append", metavar="NAME=SUITE[:GROUP]", help=f"default: {' '.join(DEFAULT_HOSTS)}")
    down = add("down", "end a lab and delete its disks")
    down.add_argument("--all", action="store_true", help="every lab on this machine")
    add("list", "show labs and hosts")
    for name in ("enter", "exec"):
        enter = add(name, "open a shell on a host, or run a command there")
        enter.add_argument("name", metavar="HOST")
        enter.add_argument("command", nargs=argparse.REMAINDER, help="command to run instead of a shell")
    for name, text in (
        ("power-cut", "pull the plug of hosts"),
        ("boot", "power hosts on"),
        ("shutdown", "shut hosts down"),
        ("cut", "cut hosts off from the network"),
        ("heal", "connect hosts again"),
    ):
        add(name, text).add_argument("name", metavar="HOST", nargs="+")
    options = parser.parse_args()
    actions = {
        "up": command_up,
        "down": command_down,
        "list": command_list,
        "enter": command_enter,
        "exec": command_enter,
    }
    try:
        if options.action not in ("up", "list"):
            requirements.demand()
        actions.get(options.action, command_break)(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
