# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems that hosts share as their lower layer; built once, kept by content."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from .shell import LabError, run
from .state import CACHE

SUITES = ("bookworm", "trixie")
PACKAGES = (
    "apt", "ca-certificates", "dbus", "iproute2", "iptables", "logrotate", "openssh-server", "procps", "python3",
    "python3-venv", "sudo", "systemd", "systemd-sysv", "zstd",
)  # fmt: skip
CONFIGURATION = Path("/etc/apt")


def mirror() -> str:
    """Return the Debian mirror that this machine itself uses; an empty text leaves the choice to mmdebstrap."""
    files = [CONFIGURATION / "sources.list", *sorted((CONFIGURATION / "sources.list.d").glob("*"))]
    for path in files:
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lstrip().startswith("#"):
                continue
            found = re.search(r"(https?://\S+/debian)/?(?:\s|$)", line)
            if found:
                return found.group(1)
    return ""


def ensure(suite: str, say: Callable[[str], None]) -> Path:
    """Return the directory of the suite's root file system; build it when it is not there yet (15 to 60 s)."""
    if suite not in SUITES:
        raise LabError(f"Distribution '{suite}' is not known. Known: {', '.join(SUITES)}.")
    key = hashlib.sha256("\n".join((suite, mirror(), *PACKAGES)).encode()).hexdigest()[:10]
    directory = CACHE / "images" / f"{suite}-{key}"
    if directory.exists():
        return directory
    say(f"building the {suite} image with mmdebstrap (once, 15 to 60 s)")
    building = directory.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    building.parent.mkdir(parents=True, exist_ok=True)
    source = [mirror()] if mirror() else []
    run("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(building), *source)
    (building / "etc/machine-id").write_text("uninitialized\n", encoding="ascii")
    for key_file in (building / "etc/ssh").glob("ssh_host_*"):
        key_file.unlink()
    building.replace(directory)
    return directory
