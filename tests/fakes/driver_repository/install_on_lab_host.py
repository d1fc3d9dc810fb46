#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give hosts of a lab a fake GPU, the fake driver repository and the stand-ins for modprobe, rmmod and dkms.

install_on_lab_host.py --lab NAME VERSION[:fails|:silent|:module=OTHER] ... -- HOST ...
"""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
build: Any = importlib.import_module(f"{__package__ or HERE.name}.build")
gpus: Any = importlib.import_module("nvml.install_on_lab_host")

MIRROR = "srv/driver-mirror"
STAND_IN = "usr/local/lib/driver_stand_in"
SOURCES = "etc/apt/sources.list.d/fake-driver.sources"
KEY = "etc/apt/keyrings/fake-driver.asc"
LINKS = {f"usr/local/sbin/{name}": "driver_stand_in.py" for name in ("modprobe", "rmmod", "dkms")}
MIRROR_UNIT, BOOT_UNIT = "driver-mirror.service", "driver-stand-in-boot.service"
# The fake GPUs of a host begin without a driver: it comes by the packages.
NO_DRIVER = ("host.module_version", "host.disk_version", "host.library_version", "host.modules", "host.persistenced")
SOURCE = f"""Types: deb
URIs: http://127.0.0.1:8099
Suites: {build.SUITE}
Components: {build.COMPONENT}
Signed-By: /{KEY}
"""
START = (
    f"rm -rf /{MIRROR}; tar -xzf - -C / --keep-directory-symlink && systemctl daemon-reload"
    f" && systemctl restart {MIRROR_UNIT}"
    " && until (exec 3<>/dev/tcp/127.0.0.1/8099) 2>/dev/null; do sleep 0.1; done"
    f" && apt-get -q update -o Dir::Etc::SourceList=/{SOURCES} -o Dir::Etc::SourceParts=/dev/null"
    " -o APT::Get::List-Cleanup=0"
)


def archive(repository: Path, stand_ins: bool = True) -> bytes:
    """Return a tar of everything that a host needs; without stand_ins only the repository."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:

        def add(name: str, content: bytes, mode: int = 0o644, link: str = "") -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            if link:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
            tar.addfile(entry, None if link else io.BytesIO(content))

        for path in sorted(repository.rglob("*")):
            if path.is_file():
                add(f"{MIRROR}/{path.relative_to(repository)}", path.read_bytes())
        units = [MIRROR_UNIT]
        if stand_ins:
            units.append(BOOT_UNIT)
            add(f"{STAND_IN}/driver_stand_in.py", (HERE / "host/driver_stand_in.py").read_bytes(), 0o755)
            for name, target in LINKS.items():
                add(name, b"", link=f"/{STAND_IN}/{target}")
        for unit in units:
            add(f"etc/systemd/system/{unit}", (HERE / "host" / unit).read_bytes())
            add(f"etc/systemd/system/multi-user.target.wants/{unit}", b"", link=f"/etc/systemd/system/{unit}")
        add(KEY, (repository / build.KEY).read_bytes())
        add(SOURCES, SOURCE.encode())
    return buffer.getvalue()


def bare(scenario: dict[str, str]) -> dict[str, str]:
    """Return fake GPUs without a driver."""
    return {**{key: value for key, value in scenario.items() if key not in NO_DRIVER}, "init_code": "9"}


def install(lab: str, hosts: Sequence[str], repository: Path, stand_ins: bool = True) -> None:
    """Give hosts a repository in place of the one that they have.

    The stand-ins need fake GPUs (tests/fakes/nvml). Without stand_ins a host keeps its own modprobe, rmmod and dkms.
    """
    data = archive(repository, stand_ins)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda host: gpus.on_host(lab, host, f"bash -c '{START}'", data), hosts))


def main() -> int:
    """Read the command line and carry it out."""
    words = sys.argv[1:]
    if len(words) < 5 or words[0] != "--lab" or "--" not in words:
        print(__doc__, file=sys.stderr)
        return 2
    end = words.index("--")
    repository = Path(gpus.CACHE) / "runs" / words[1] / "driver-repository"
    repository.parent.mkdir(parents=True, exist_ok=True)
    try:
        library = gpus.build.build(gpus.CACHE)
        build.build(repository, [build.release_of(word) for word in words[2:end]], library)
        hosts = words[end + 1 :]
        gpus.install(words[1], dict.fromkeys(hosts, bare(gpus.scenarios.profile("l4_1"))))
        install(words[1], hosts, repository)
    except (build.BuildError, gpus.InstallError) as error:
        print(f"install_on_lab_host.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
