# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Services around the change of a driver: stop, start, and keep the host's own package updates away meanwhile."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, Host, told
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import find_program

# What installs packages on a host of its own accord.
UPDATERS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "apt-daily.service",
    "apt-daily-upgrade.service",
    "dnf-automatic.timer",
    "dnf-automatic-install.timer",
)
WINDOW = "local-llm-driver-window"
# Right after a stop and a change of modules a start may come too early, for its control group or its device nodes.
START_TRIES = 2


def unit_states(host: Host, units: Sequence[str]) -> dict[str, str]:
    """Return {unit: active state}, "absent" for one that the host does not have."""
    if not units or find_program("systemctl") is None:
        return dict.fromkeys(units, "absent")
    _code, out, _err = host.ask("systemctl", "show", "--property=LoadState,ActiveState", "--", *units)
    states = []
    for block in out.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        loaded = values.get("LoadState") in ("loaded", "masked")
        states.append(values.get("ActiveState", "unknown") if loaded else "absent")
    return dict(zip(units, states)) if len(states) == len(units) else dict.fromkeys(units, "unknown")


def stop(host: Host, units: Sequence[str]) -> list[str]:
    """Stop units and return those that ran."""
    running = [unit for unit, state in unit_states(host, units).items() if state not in ("absent", "inactive")]
    if running:
        host.must(f"Stopping {', '.join(running)}", "systemctl", "stop", "--", *running)
    return running


def start(host: Host, units: Sequence[str]) -> list[str]:
    """Start units in order, each of which must then be active; return those that did not run. Absent ones are left."""
    states = unit_states(host, units)
    started = []
    for unit in units:
        if states[unit] in ("absent", "active"):
            continue
        for _attempt in range(START_TRIES):
            host.ask("systemctl", "reset-failed", "--", unit)
            code, *said = host.ask("systemctl", "start", "--", unit)
            if code == 0 and unit_states(host, [unit])[unit] in ("active", "activating"):
                break
        else:
            tried = f"{unit} does not run after {START_TRIES} starts"
            raise DriverError(f"{tried}. {told(*said)} See: journalctl -u {unit}")
        started.append(unit)
    return started


def open_window(host: Host, seconds: int) -> None:
    """Keep the host's own updates away for so long at most.

    The masks lie in /run: a reboot takes them away. A timer takes them away when whoever set them is gone.
    """
    if find_program("systemctl") is None:
        return
    present = [unit for unit, state in unit_states(host, UPDATERS).items() if state != "absent"]
    if not present:
        return
    host.ask("systemctl", "stop", f"{WINDOW}.timer")
    timers = [unit for unit in present if unit.endswith(".timer")]
    script = window_end(present)
    # The end is set before the beginning: there is no moment at which nobody would take the masks away.
    host.must(
        "Setting the end of the window",
        *("systemd-run", f"--unit={WINDOW}", f"--description={WINDOW}", f"--on-active={seconds}"),
        *("--service-type=oneshot", "--collect", "--quiet", "/bin/sh", "-c", script),
    )
    # A service of them that runs now holds the lock of the packages: the transaction waits for it.
    if timers:
        host.must(f"Stopping {', '.join(timers)}", "systemctl", "stop", "--", *timers)
    host.must(f"Masking {', '.join(present)}", "systemctl", "mask", "--runtime", "--", *present)


def window_end(units: Sequence[str]) -> str:
    """Return the shell text that lets these units run again.

    One command per line: systemd 252 (Debian 12) spoils a semicolon of a transient unit when it reads its units anew.
    """
    timers = [unit for unit in units if unit.endswith(".timer")]
    starts = [f"systemctl --quiet is-enabled {timer} && systemctl start {timer}" for timer in timers]
    return "\n".join([f"systemctl unmask --runtime {' '.join(units)}", *starts, "true"])


def close_window(host: Host) -> None:
    """Let the host's own updates run again, at once.

    The window's timer goes last: it still takes the masks away when this is cut off before. A second call does all of
    it again.
    """
    if find_program("systemctl") is None:
        return
    states = unit_states(host, [f"{WINDOW}.timer", *UPDATERS])
    if states[f"{WINDOW}.timer"] == "absent":
        return
    masked = [unit for unit in UPDATERS if masked_until_reboot(host, unit)]
    if masked:
        host.must("Unmasking the host's own updates", "systemctl", "unmask", "--runtime", "--", *masked)
    for timer in UPDATERS:
        if (
            timer.endswith(".timer")
            and states[timer] != "absent"
            and host.ask("systemctl", "--quiet", "is-enabled", timer)[0] == 0
        ):
            # One that does not start, as where an operator masked its service, says nothing of the driver.
            host.ask("systemctl", "start", "--", timer)
    # One that ends by itself at this very moment, or stays, does no more than this has done.
    host.ask("systemctl", "stop", "--", f"{WINDOW}.timer")


def masked_until_reboot(host: Host, unit: str) -> bool:
    """Return whether a unit is masked in /run."""
    path = host.path("/run/systemd/system", unit)
    return os.path.islink(path) and os.readlink(path) == "/dev/null"


def active(states: Mapping[str, str]) -> list[str]:
    """Return the units of a snapshot that ran."""
    return [unit for unit, state in states.items() if state in ("active", "activating", "reloading")]
