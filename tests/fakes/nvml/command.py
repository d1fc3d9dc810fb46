# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command fake-gpu: a profile, a fault, a line of the log, a reset or a reboot for the fake GPUs of a host."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import fake_host, scenarios
from .scenarios import Scenario

UNITS = {"host.fabric_manager": "nvidia-fabricmanager.service", "host.persistenced": "nvidia-persistenced.service"}
LIBRARIES = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu"
INSTALLED = Path("/usr/local/lib/fake_nvml")
LIBRARY = INSTALLED / "libnvidia-ml.so.1"
RUN = Path("/run/fake-nvml")
ON_LAB_HOST = Path(__file__).resolve().parent == INSTALLED


def typed(text: str) -> object:
    """Return the value of an option of a fault: a number, yes or no, nothing, or text."""
    named: dict[str, object] = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def with_fault(scenario: Scenario, fault: str) -> Scenario:
    """Return the scenario with a fault given as name:option=value,option=value."""
    name, _colon, rest = fault.partition(":")
    if name not in scenarios.FAULTS:
        raise ValueError(f"There is no fault '{name}'. There are: {', '.join(scenarios.FAULTS)}.")
    options = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    return scenarios.FAULTS[name](scenario, **{key: typed(value) for key, value in options.items()})


def switch_units(scenario: Scenario) -> None:
    """Start, stop or break the fake services of the driver as the scenario says, where that is news."""
    changes: list[tuple[str, str]] = []
    for key, unit in UNITS.items():
        state = RUN / unit
        wanted = scenario.get(key, "")
        known = state.read_text(encoding="ascii") if state.exists() else None
        if wanted == (known or ""):
            continue
        state.parent.mkdir(exist_ok=True)
        state.write_text(wanted, encoding="ascii")
        place = Path("/etc/systemd/system") / unit
        if wanted and not place.exists():
            place.write_bytes((INSTALLED / unit).read_bytes())
        changes.append(("restart" if wanted else "stop", unit))
    if not changes:
        return
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    for action, unit in changes:
        subprocess.run(["systemctl", action, unit], check=False, stderr=subprocess.DEVNULL)
        if action == "stop":
            Path("/etc/systemd/system", unit).unlink(missing_ok=True)
            subprocess.run(["systemctl", "daemon-reload"], check=True)


def place_library(scenario: Scenario) -> None:
    """Put the fake library where the loader finds it, under the version of the scenario; take it away without one."""
    version = scenario.get("host.library_version")
    link = LIBRARIES / "libnvidia-ml.so.1"
    if version and link.is_symlink() and os.readlink(link) == f"libnvidia-ml.so.{version}":
        return
    for old in LIBRARIES.glob("libnvidia-ml.so*"):
        old.unlink()
    if version:
        (LIBRARIES / f"libnvidia-ml.so.{version}").write_bytes(LIBRARY.read_bytes())
        link.symlink_to(f"libnvidia-ml.so.{version}")


def main() -> int:
    """Read the command line and carry it out."""
    parser = argparse.ArgumentParser(prog="fake-gpu", description=__doc__)
    scenario = os.environ.get("FAKE_NVML_SCENARIO", scenarios.DEFAULT_PATH)
    parser.add_argument("--scenario", type=Path, default=Path(scenario))
    parser.add_argument("--sysfs", type=Path, default=Path("/srv/fake-sys"))
    parser.add_argument("--kmsg", type=Path, default=Path("/srv/fake-kmsg"))
    root = Path("/") if ON_LAB_HOST else None
    parser.add_argument("--system-root", type=Path, default=root, help="where lib/modules is written (lab host: /)")
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("profile", help="healthy hardware, and a new kernel log").add_argument("name")
    commands.add_parser("build", help="all files anew, as the scenario says")
    commands.add_parser("fault", help="one more fault").add_argument(
        "fault", nargs="+", metavar="NAME[:OPTION=VALUE,...]"
    )
    commands.add_parser("log", help="append lines to the kernel log").add_argument("message", nargs="+")
    commands.add_parser("reset", help="what a reset of the GPU leaves").add_argument("gpu", type=int)
    commands.add_parser("reboot", help="what a reboot leaves; a lab host does this while it boots")
    commands.add_parser("set", help="set keys of the scenario").add_argument("pair", nargs="+", metavar="KEY=VALUE")
    commands.add_parser("show", help="print the scenario")
    try:
        return carry_out(parser.parse_args())
    except (ValueError, OSError, TypeError) as error:
        print(f"fake-gpu: {error}", file=sys.stderr)
        return 1


def carry_out(options: argparse.Namespace) -> int:
    """Carry out one action."""
    places = (options.sysfs, options.kmsg, options.system_root, os.uname().release)
    if options.action == "log":
        fake_host.append_kmsg(options.kmsg, options.message)
        return 0
    before = scenarios.profile(options.name) if options.action == "profile" else scenarios.read(options.scenario)
    after = before
    if options.action == "show":
        print(scenarios.render(before), end="")
        return 0
    if options.action == "fault":
        for fault in options.fault:
            after = with_fault(after, fault)
    elif options.action == "reset":
        after = scenarios.reset(before, options.gpu)
    elif options.action == "reboot":
        after = scenarios.reboot(before)
    elif options.action == "set":
        after = {**before, **dict(pair.partition("=")[::2] for pair in options.pair)}
    scenarios.write(after, options.scenario)
    if options.action in ("profile", "build", "reboot"):
        fake_host.build_host(after, *places)
    else:
        fake_host.follow(before, after, *places)
    if ON_LAB_HOST and os.geteuid() == 0 and options.system_root == Path("/"):
        place_library(after)
        switch_units(after)
    return 0
