# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk of its own for a directory of a lab host, which can be full, and which forgets in a power cut.

The host's other files lie in the page cache of this machine and survive the end of the host. This disk is a file behind
a loop device: what the host has not written out when the copy is made is lost, as on a real machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from fleet import Fleet
from local_lab import hosts as lab_hosts

DEVICE = "/dev/local-llm-test-disk"


class HostDisk:
    """A file system of some megabytes, mounted over a directory of a host together with what lies there."""

    def __init__(self, fleet: Fleet, host: str, directory: str, image: Path, megabytes: int) -> None:
        self.fleet, self.host, self.directory, self.image = fleet, host, directory, image
        self._loop = ""
        with image.open("wb") as stream:
            stream.truncate(megabytes * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)

    def _leader(self) -> int:
        """Return the host's first process, as it is now: another one after each boot."""
        return lab_hosts._leader(self.fleet.lab.host(self.host))

    def _inside(self, script: str) -> None:
        """Run a script in the host's own view of its file systems."""
        subprocess.run(["nsenter", "-t", str(self._leader()), "-m", "-p", "sh", "-euc", script], check=True)

    def path(self) -> Path:
        """Return the directory as this machine sees it while the host runs."""
        return Path(f"/proc/{self._leader()}/root{self.directory}")

    def attach(self, copy: bool = False) -> None:
        """Mount it. copy: bring along what lies in the directory."""
        shown = subprocess.run(
            ["losetup", "-f", "--show", str(self.image)], check=True, capture_output=True, text=True
        ).stdout
        self._loop = shown.strip()
        number = os.stat(self._loop).st_rdev
        script = f"rm -f {DEVICE}; mknod {DEVICE} b {os.major(number)} {os.minor(number)}\n"
        if copy:
            script += (
                f"mkdir -p {DEVICE}.mount; mount {DEVICE} {DEVICE}.mount; cp -a {self.directory}/. {DEVICE}.mount/\n"
            )
            script += f"umount {DEVICE}.mount; rmdir {DEVICE}.mount\n"
        self._inside(f"{script}mount {DEVICE} {self.directory}; rm {DEVICE}")

    def detach(self) -> None:
        """Take it away; what was below the mount is there again."""
        if self.fleet.is_on(self.host):
            self._inside(f"umount -l {self.directory}")
        self.unplug()

    def unplug(self) -> None:
        """Let go of the file behind it. The host is off or has unmounted it."""
        if self._loop:
            subprocess.run(["losetup", "-d", self._loop], check=True)
            self._loop = ""

    def as_written(self, to: Path) -> Path:
        """Copy what has been written out by now: what is left after a power cut at this moment."""
        shutil.copyfile(self.image, to)
        return to
