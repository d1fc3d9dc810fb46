# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch Debian packages with all they need, without installing anything on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from local_lab.images import mirror
from local_lab.shell import LabError, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def fetch(package: str, suite: str, work: Path, say: Callable[[str], None]) -> list[Path]:
    """Return the .deb files of a package and of everything it depends on, checked by apt against Debian's keys."""
    if not KEYRING.is_file():
        raise LabError(f"{KEYRING} is missing. Run: apt-get install debian-archive-keyring")
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "status").write_text("", encoding="ascii")
    (work / "etc" / "lab.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n", encoding="ascii"
    )
    settings = {
        "APT::Architecture": "amd64",
        "APT::Architectures::": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        # Mirrors of a lab may be frozen copies. The signature is still checked. Never do this on a real host.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Retries": "3",
        "Dir::Cache": str(work / "cache"),
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(work / "etc"),
        "Dir::State": str(work / "state"),
        "Dir::State::status": str(work / "status"),
        "Debug::NoLocking": "true",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    say(f"fetching {package} and what it needs from Debian {suite} (once, about 20 MB)")
    run("apt-get", *options, "update", "-q")
    run("apt-get", *options, "install", "-q", "-y", "--no-install-recommends", "--download-only", package)
    files = sorted((work / "cache/archives").glob("*.deb"))
    if not any(file.name.startswith(f"{package}_") for file in files):
        raise LabError(f"apt fetched no {package} from {suite}. Look at {work} and try again.")
    return files


def version_of(package: str, files: list[Path]) -> str:
    """Return the full Debian version of a package among fetched files."""
    for file in files:
        if file.name.startswith(f"{package}_"):
            return run("dpkg-deb", "-f", str(file), "Version").stdout.strip()
    raise LabError(f"{package} is not among the fetched packages: {', '.join(file.name for file in files)}.")
