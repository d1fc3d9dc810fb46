# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for unit tests of the driver transaction: programs are answered from plain data in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _host
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import Host
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._run import run

KERNEL = "6.1.0-44-amd64"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
NAMES = ("libcuda1", "libnvidia-ml1", "nvidia-kernel-dkms")
Answer = tuple[int, str, str]


def plan(version: str, **changes: Any) -> dict[str, Any]:
    """Return a plan for a version."""
    made: dict[str, Any] = {
        "schema": 1,
        "changes": True,
        "from": None,
        "to": version,
        "modules": "open",
        "install": {name: f"{version}-1" for name in NAMES},
        "remove": [],
        "downgrade": [],
        "hold": list(NAMES),
        "pin": [{"path": "/etc/apt/preferences.d/local-llm-driver", "content": f"Pin: version {version}*\n"}],
        "reboot": "not_needed",
        "reboot_reason": "",
        "stop_units": [],
        "start_units": [],
        "refusals": [],
    }
    return {**made, **changes}


@dataclass
class FakeHost:
    """What is installed, what the mirror has, and what has been run.

    spoil: called before each change of packages with (name, version); what it returns is the status of the package.
    needs: packages that apt brings along with the others.
    """

    root: Path
    packages: dict[str, str] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    automatic: set[str] = field(default_factory=set)
    mirror: set[tuple[str, str]] = field(default_factory=set)
    needless: set[str] = field(default_factory=set)
    needs: dict[str, str] = field(default_factory=dict)
    loaded: str = ""
    in_use: bool = False
    boot: str = "boot-1"
    commands: list[str] = field(default_factory=list)
    spoil: Callable[[str, str], str] = lambda _name, _version: "installed"

    @property
    def host(self) -> Host:
        """Return the host as the code under test sees it."""
        root = str(self.root)
        self.write()
        return Host(self.run, f"{root}/driver", f"{root}/sys", f"{root}/proc", root)

    def write(self) -> None:
        """Write the files that tell what is loaded and what lies on the disk."""
        for name in (
            "sys/module",
            "proc/sys/kernel/random",
            "var/lib/dpkg/updates",
            LIBRARIES,
            f"lib/modules/{KERNEL}",
        ):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "proc/sys/kernel/random/boot_id").write_text(self.boot)
        (self.root / "proc/sys/kernel/osrelease").write_text(KERNEL)
        module = self.root / "sys/module/nvidia"
        if self.loaded:
            module.mkdir(exist_ok=True)
            (module / "version").write_text(self.loaded)
        elif module.exists():
            (module / "version").unlink()
            module.rmdir()
        for old in (self.root / LIBRARIES).iterdir():
            old.unlink()
        if "libnvidia-ml1" in self.packages:
            name = f"libnvidia-ml.so.{self.version('libnvidia-ml1')}"
            (self.root / LIBRARIES / name).touch()
            (self.root / LIBRARIES / "libnvidia-ml.so.1").symlink_to(name)
        built = self.version("nvidia-kernel-dkms") if self.state("nvidia-kernel-dkms") == "installed" else ""
        listing = "updates/dkms/nvidia.ko:\n" if built else "kernel/fs/ext4/ext4.ko:\n"
        (self.root / "lib/modules" / KERNEL / "modules.dep").write_text(listing)

    def version(self, name: str) -> str:
        """Return the version of the driver of a package."""
        return self.packages.get(name, "-").rpartition("-")[0]

    def state(self, name: str) -> str:
        """Return the status of a package."""
        return self.status.get(name, "installed") if name in self.packages else "not-installed"

    def put(self, name: str, version: str) -> None:
        """Install a package."""
        self.packages[name] = version
        self.status[name] = self.spoil(name, version)
        self.held.discard(name)
        self.automatic.discard(name)

    def holder(self, device: str = "/dev/nvidia0") -> None:
        """Let a process hold a device."""
        place = self.root / "proc/77/fd"
        place.mkdir(parents=True)
        (place / "3").symlink_to(device)
        (place.parent / "comm").write_text("nvidia-persiste\n")
        (place.parent / "cgroup").write_text("0::/system.slice/nvidia-persistenced.service\n")

    def call(self, state: str, wanted: dict[str, Any] | None = None, check_mode: bool = False) -> dict[str, Any]:
        """Run the module."""
        options = {
            "state": state,
            "plan": wanted,
            "transaction_id": "t1" if wanted else None,
            "was_drained": False,
            "window_seconds": 60,
        }
        return run(options, self.host, check_mode)

    def run(self, command: Sequence[str]) -> Answer:
        """Answer a command."""
        words = [word.rpartition("/")[2] if at == 0 else word for at, word in enumerate(command)]
        self.commands.append(" ".join(words))
        answer = getattr(self, f"_{words[0].replace('-', '_')}")(words[1:])
        self.write()
        return (0, answer, "") if isinstance(answer, str) else answer

    def _dpkg(self, words: list[str]) -> str:
        if "--install" in words:
            for path in words[words.index("--install") + 1 :]:
                name, version, _rest = Path(path).name.split("_")
                self.put(name, version)
        if "--purge" in words:
            self.status = {name: one for name, one in self.status.items() if name not in words}
        return "amd64\n"

    def _dpkg_query(self, _words: list[str]) -> str:
        rows = []
        for name in {*self.packages, *self.status}:
            state = self.state(name) if name in self.packages else self.status[name]
            want = "hold" if name in self.held else "install"
            rows.append(f"{name}\t{self.packages.get(name, '')}\t{state}\t{want}\tok\n")
        return "".join(rows)

    def _dpkg_deb(self, words: list[str]) -> str:
        name, version, rest = Path(words[-1]).name.split("_")
        return f"{name}\t{version}\t{rest.removesuffix('.deb')}"

    def _env(self, words: list[str]) -> Answer:
        directory, wanted = words[0].partition("=")[2], [word.split("=") for word in words if word.count("=") == 1]
        wanted = [one for one in wanted if not one[0].startswith(("--chdir", "APT"))]
        if any((name, version) not in self.mirror for name, version in wanted):
            return 100, "", "E: not found"
        for name, version in wanted:
            Path(directory, f"{name}_{version}_amd64.deb").write_text(f"{name} {version}")
        return 0, "", ""

    def _apt_get(self, words: list[str]) -> Answer:
        if "autoremove" in words:
            return 0, "".join(f"Remv {name} [1]\n" for name in self.needless & self.automatic), ""
        verb = next(at for at, word in enumerate(words) if word in ("install", "purge"))
        lines, broken = [], False
        along = [f"{name}={one}" for name, one in self.needs.items() if name not in self.packages]
        for word in [*words[verb + 1 :], *(along if "Dir::Etc::SourceList=/dev/null" not in words else [])]:
            name, version = word.removesuffix("-"), ""
            if word.endswith(".deb"):
                name, version, _rest = Path(word).name.split("_")
            elif "=" in word:
                name, version = word.split("=")
            now = self.packages.get(name, "")
            before = f" [{now}]" if now else ""
            if "--simulate" in words:
                if version and now != version:
                    lines.append(f"Inst {name}{before} ({version} x [amd64])")
                elif not version and now:
                    lines.append(f"Remv {name}{before}")
            elif version:
                self.put(name, version)
                broken = broken or self.status[name] != "installed"
            elif now:
                del self.packages[name]
                self.status.pop(name, None)
        return (100 if broken else 0), "\n".join(lines), "E: a script failed" if broken else ""

    def _apt_mark(self, words: list[str]) -> str:
        names = set(words[1:])
        if words[0] == "showauto":
            return "".join(f"{name}\n" for name in sorted(self.automatic))
        if words[0] == "auto":
            self.automatic |= names
        elif words[0] == "hold":
            self.held |= names
        else:
            self.held -= names
        return ""

    def _rmmod(self, words: list[str]) -> Answer:
        if self.in_use:
            return 1, "", "rmmod: ERROR: Module nvidia is in use"
        self.loaded = "" if words[0] == "nvidia" else self.loaded
        return 0, "", ""

    def _modprobe(self, _words: list[str]) -> str:
        self.loaded = self.loaded or self.version("nvidia-kernel-dkms")
        return ""

    def _modinfo(self, words: list[str]) -> str:
        return "".join(f"filename: {path}\nversion: {self.version('nvidia-kernel-dkms')}\n" for path in words)

    def _dkms(self, _words: list[str]) -> str:
        return ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Return a host with driver 1.0 and a mirror that has 1.0 and 2.0."""
    from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _cache, _kernel, _units
    from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _collect_kernel

    for module in (_host, _kernel, _collect_kernel):
        monkeypatch.setattr(module, "find_program", lambda name: None if name == "systemctl" else f"/bin/{name}")
    monkeypatch.setattr("os.fsync", lambda _number: None)  # slow on a busy disk, and no power fails here
    monkeypatch.setattr(_units, "find_program", lambda _name: None)
    monkeypatch.setattr(_cache, "APT_ARCHIVES", "/archives")
    both = {(name, f"{version}-1") for name in NAMES for version in ("1.0", "2.0")}
    return FakeHost(tmp_path, dict.fromkeys(NAMES, "1.0-1"), held=set(NAMES), mirror=both, loaded="1.0")
