# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab consists of, kept on disk so that every command and a crash can find it again."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .shell import LabError

ROOT = Path(os.environ.get("LOCAL_LLM_LAB_ROOT", "/var/lib/local-llm-lab"))
CACHE = Path(os.environ.get("LOCAL_LLM_LAB_CACHE", "/var/cache/local-llm-lab"))
NETWORK_PREFIX = os.environ.get("LOCAL_LLM_LAB_NETWORK", "10.231")
NAME_PATTERN = re.compile(r"^[a-z][a-z0-9]{0,11}$")


@dataclass
class Host:
    """One host: its name, distribution, address, and the process that runs it (0 when it is off)."""

    name: str
    suite: str
    group: str
    address: str
    pid: int = 0
    pid_start_ticks: int = 0


@dataclass
class Lab:
    """One lab: a name, a number from which bridge and network follow, and its hosts."""

    name: str
    number: int
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Everything of this lab lies here; removing it removes the lab's disks."""
        return ROOT / self.name

    @property
    def bridge(self) -> str:
        """Name of the bridge that joins the hosts."""
        return f"llmlab{self.number}"

    @property
    def network(self) -> str:
        """The /24 network of the lab in CIDR form."""
        return f"{NETWORK_PREFIX}.{self.number}.0/24"

    @property
    def gateway_address(self) -> str:
        """This machine's address on the bridge."""
        return f"{NETWORK_PREFIX}.{self.number}.1"

    def host(self, name: str) -> Host:
        """Return the host of that name, or say which there are."""
        if name not in self.hosts:
            raise LabError(f"Lab {self.name} has no host '{name}'. It has: {', '.join(self.hosts) or 'none'}.")
        return self.hosts[name]

    def save(self) -> None:
        """Write the state atomically."""
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / "lab.json.new"
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.directory / "lab.json")


def check_name(what: str, name: str) -> None:
    """Refuse a name that could not be part of a host name or an interface."""
    if not NAME_PATTERN.match(name):
        raise LabError(f"{what} '{name}' does not fit: use 1 to 12 small letters and digits, a letter first.")


def load(name: str) -> Lab | None:
    """Return the lab of that name, or None when there is none."""
    check_name("Lab name", name)
    path = ROOT / name / "lab.json"
    if not path.exists():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Lab(raw["name"], raw["number"], {key: Host(**value) for key, value in raw["hosts"].items()})


def load_all() -> list[Lab]:
    """Return every lab on this machine."""
    names = sorted(path.parent.name for path in ROOT.glob("*/lab.json"))
    return [lab for name in names if (lab := load(name)) is not None]


def free_number() -> int:
    """Return the lowest network number that no lab uses."""
    taken = {lab.number for lab in load_all()}
    for number in range(1, 255):
        if number not in taken:
            return number
    raise LabError("All 254 lab networks are in use. End one: lab.py down --lab NAME")


@contextmanager
def locked() -> Iterator[None]:
    """Let one command at a time change labs."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
