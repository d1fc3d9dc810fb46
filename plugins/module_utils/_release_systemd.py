# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The units of an instance: what the service manager says, and what it is asked to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError

# A command in, (exit status, stdout, stderr) out: AnsibleModule.run_command in the modules, a fake in tests.
Run = Callable[[list[str]], tuple[int, str, str]]

_LINE_LENGTH = 300
_PROPERTIES = (
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "InvocationID",
    "Job",
    "ControlGroup",
    "UnitFileState",
    "ExecMainStatus",
    "ActiveEnterTimestampMonotonic",
    "ActiveExitTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
)


def engine_unit(instance: str) -> str:
    return f"local-llm@{instance}.service"


def revert_timer(instance: str) -> str:
    return f"local-llm-revert@{instance}.timer"


def parse_show(text: str) -> list[dict[str, str]]:
    """Return one dictionary for each unit in the output of `systemctl show`; units are parted by an empty line."""
    units: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        if not line:
            units.append({})
            continue
        name, _equals, value = line.partition("=")
        units[-1][name] = value
    return [unit for unit in units if unit]


@dataclass(frozen=True)
class Systemd:
    """systemctl and journalctl by way of a callable."""

    run: Run

    def _must(self, arguments: Sequence[str], meaning: str) -> None:
        status, out, err = self.run(["systemctl", *arguments])
        if status != 0:
            raise ReleaseError(
                f"{meaning} failed: systemctl {' '.join(arguments)} said: {(err or out).strip() or status}"
            )

    def show_many(self, units: Sequence[str]) -> list[dict[str, str]]:
        """Return the properties of each unit, in the order asked for."""
        if not units:
            return []
        status, out, err = self.run(["systemctl", "show", "--property=" + ",".join(_PROPERTIES), *units])
        if status != 0:
            raise ReleaseError(f"systemctl show failed: {err.strip() or status}. Is this host running systemd?")
        found = parse_show(out)
        if len(found) != len(units):
            raise ReleaseError(f"systemctl show told of {len(found)} units where {len(units)} were asked for")
        return found

    def show(self, instance: str) -> dict[str, str]:
        return self.show_many([engine_unit(instance)])[0]

    def enable(self, instance: str) -> None:
        self._must(["enable", "--quiet", engine_unit(instance)], "starting the instance at boot")

    def disable(self, instance: str) -> None:
        self._must(["disable", "--quiet", engine_unit(instance)], "no longer starting the instance at boot")

    def stop(self, instance: str) -> None:
        self._must(["stop", engine_unit(instance)], "stopping the instance")

    def begin_restart(self, instance: str) -> None:
        """Ask for a restart and do not wait: the start waits for the dead-man's check, which may wait for our lock."""
        # Clears the count of starts, so that a release that kept crashing does not keep the next one from starting.
        # A unit that is not loaded cannot be reset, and need not be: its exit status says nothing of use.
        self.run(["systemctl", "reset-failed", engine_unit(instance)])
        self._must(["--no-block", "restart", engine_unit(instance)], "restarting the instance")

    def start_timer(self, instance: str) -> None:
        """Start the dead-man's timer and read back that it runs."""
        self._must(["start", revert_timer(instance)], "starting the dead-man's timer")
        if not self.timer_active(instance):
            raise ReleaseError(
                f"{revert_timer(instance)} does not run after its start. Run the role host again, then retry."
            )

    def timer_active(self, instance: str) -> bool:
        status, _out, _err = self.run(["systemctl", "is-active", "--quiet", revert_timer(instance)])
        return status == 0

    def stop_timer(self, instance: str) -> None:
        self._must(["stop", revert_timer(instance)], "stopping the dead-man's timer")

    def last_lines(self, instance: str, count: int = 20) -> list[str]:
        """Return the last journal lines of the instance, shortened. Engines log no prompts by default."""
        status, out, err = self._journal(instance, "--lines", str(count))
        if status != 0:
            return [f"(journalctl failed: {err.strip()[:_LINE_LENGTH]})"]
        # A secret that is optional and absent is no news.
        return [line[:_LINE_LENGTH] for line in out.splitlines() if "inherited credential" not in line][-count:]

    def log(self, instance: str, seconds: float, count: int = 2000) -> list[str]:
        """Return what the instance logged in the last seconds, to look for a cause in."""
        since = f"--since=@{int(time.time() - seconds) - 1}"
        status, out, _err = self._journal(instance, since, "--lines", str(count))
        return out.splitlines() if status == 0 else []

    def _journal(self, instance: str, *arguments: str) -> tuple[int, str, str]:
        unit = engine_unit(instance)
        options = ["--no-pager", "--output", "short-iso", "--quiet"]
        return self.run(["journalctl", "--unit", unit, *arguments, *options])
