# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The host that a transaction works on: where its files are, and how programs are run on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import (
    RunCommand,
    find_program,
    read_text,
)

# What programs of the package manager see: they may ask nobody, and answer in English.
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "",
}
# How many of the last lines of a program stand in an error, and how much of its command line.
ERROR_LINES = 15
COMMAND_LETTERS = 300


class DriverError(Exception):
    """A step of the transaction failed; the message names the thing, the value and the fix."""


@dataclass(frozen=True)
class Host:
    """Where things are on the host. run: module.run_command or a stand-in; run programs get ENVIRONMENT by it."""

    run: RunCommand
    directory: str = "/var/lib/local_llm/driver"
    sysfs_root: str = "/sys"
    procfs_root: str = "/proc"
    system_root: str = "/"

    def path(self, *parts: str) -> str:
        """Return a path under the root of the system."""
        return os.path.join(self.system_root, *(part.lstrip("/") for part in parts))

    @property
    def cache(self) -> str:
        """Return the directory of the cached packages."""
        return os.path.join(self.directory, "cache")

    def program(self, name: str) -> str:
        """Return the path of a program that must be there."""
        found = find_program(name)
        if found is None:
            raise DriverError(f"The program {name} is missing on this host. Install the package that has it.")
        return found

    def ask(self, name: str, *arguments: str) -> tuple[int, str, str]:
        """Run a program and return its exit code and what it wrote."""
        return self.run([self.program(name), *arguments])

    def must(self, what: str, name: str, *arguments: str) -> str:
        """Run a program that must succeed and return what it printed. what: the step, in words, for the error."""
        code, out, err = self.ask(name, *arguments)
        if code != 0:
            command = shortened(" ".join([name, *arguments]))
            raise DriverError(f"{what} failed: {command} ended with exit code {code}. {told(out, err)}")
        return out

    def boot_id(self) -> str | None:
        """Return the id of this boot."""
        return read_text(self.procfs_root, "sys/kernel/random/boot_id") or None

    def kernel(self) -> str:
        """Return the kernel that runs."""
        return read_text(self.procfs_root, "sys/kernel/osrelease") or os.uname().release


def shortened(command: str) -> str:
    """Return a command line for an error: some name hundreds of packages."""
    return command if len(command) <= COMMAND_LETTERS else f"{command[:COMMAND_LETTERS]} [...]"


def told(*texts: str) -> str:
    """Return the last lines that a program wrote, those that tell of an error first."""
    lines = list(dict.fromkeys(line.strip() for text in texts for line in text.splitlines() if line.strip()))
    marked = [line for line in lines if line.startswith(("E: ", "Error", "dpkg: error", "FATAL", "rmmod: ERROR"))]
    last = [line for line in lines[-ERROR_LINES:] if line not in marked]
    return "It wrote: " + " | ".join([*marked[-ERROR_LINES:], *last]) if lines else "It wrote nothing."


def listed(names: Sequence[str], limit: int = 12) -> str:
    """Return names in order for a sentence, the rest as a number."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
