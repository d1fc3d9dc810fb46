# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg, apt, rpm and dnf say, from texts as they print them."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver import _apt_read as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver import _rpm_read as rpm
from ansible_collections.local_llm.ops.plugins.module_utils._driver._locks import lock_holder
from ansible_collections.local_llm.ops.plugins.module_utils._driver._origins import mirrored

DPKG = """\
nvidia-smi\tamd64\t535.247.01-1~deb12u1\thold\tok\tinstalled
libnvidia-ml1\tamd64\t535.247.01-1~deb12u1\tinstall\tok\tinstalled
libnvidia-ml1\ti386\t535.247.01-1~deb12u1\tinstall\tok\tinstalled
nvidia-kernel-dkms\tamd64\t535.247.01-1~deb12u1\tinstall\tok\thalf-configured
nvidia-modprobe\tamd64\t535.161.07-1~deb12u1\tinstall\treinstreq\tinstalled
nvidia-driver\tamd64\t525.1-1\tdeinstall\tok\tconfig-files
nvidia-settings\tamd64\t\tunknown\tok\tnot-installed
unattended-upgrades\tall\t2.9.1\tinstall\tok\tinstalled
bash\tamd64\t5.2.15-2\tinstall\tok\tinstalled
"""
POLICY = """\
Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 http://deb.example.org/debian bookworm/non-free amd64 Packages
     release v=12.15,o=Debian,a=oldstable,n=bookworm,l=Debian,c=non-free,b=amd64
     origin deb.example.org
 600 https://repo.example.org/cuda  Packages
     release o=NVIDIA,l=NVIDIA CUDA,c=
     origin repo.example.org
 500 http://mirror.example.org/lost  Packages
     release c=
     origin mirror.example.org
Pinned packages:
     nvidia-smi -> 535.247.01-1~deb12u1 with priority 1001
"""
NAMES = """\
nvidia-smi:
  Installed: 535.247.01-1~deb12u1
  Candidate: 535.261.03-1
  Version table:
     535.261.03-1 500
        500 http://deb.example.org/debian bookworm/non-free amd64 Packages
        500 http://mirror.example.org/lost  Packages
 *** 535.247.01-1~deb12u1 1001
        100 /var/lib/dpkg/status
nvidia-driver-cuda:
  Installed: (none)
  Candidate: 595.71.05-1
  Version table:
     595.71.05-1 600
        600 https://repo.example.org/cuda  Packages
     580.95.05-1 -1
        600 https://repo.example.org/cuda  Packages
libnvidia-ml1:
  Installed: 535.247.01-1~deb12u1
  Candidate: 535.247.01-1~deb12u1
  Version table:
 *** 535.247.01-1~deb12u1 500
        500 http://deb.example.org/debian bookworm/non-free amd64 Packages
        100 /var/lib/dpkg/status
"""
PKGNAMES = (
    "nvidia-smi\nnvidia-driver-cuda\nlibnvidia-ml1\nnvidia-cuda-toolkit\nlinux-modules-nvidia-580-server-6.8.0-1\n"
)


def run(command: Sequence[str]) -> tuple[int, str, str]:
    """Stand in for run_command on a Debian host."""
    program = command[0].rpartition("/")[2]
    if program == "dpkg":
        return 0, "amd64\n", ""
    if program == "dpkg-query":
        return 0, DPKG, ""
    if program == "apt-config":
        return 0, 'APT::Periodic::Unattended-Upgrade "1";\n', ""
    if command[1] == "pkgnames":
        return 0, PKGNAMES, ""
    return 0, NAMES if len(command) > 2 else POLICY, ""


def test_a_debian_host_tells_what_it_has_and_could_get(tmp_path: Path) -> None:
    found = apt.read_apt(run, ["6.1.0-35"], {}, str(tmp_path))
    smi = {"version": "535.247.01-1~deb12u1", "status": "installed", "held": True, "origin": "local"}
    assert found["packages"]["nvidia-smi"] == smi
    assert found["packages"]["libnvidia-ml1"]["origin"] == "debian"
    assert found["packages"]["libnvidia-ml1:i386"]["version"] == "535.247.01-1~deb12u1"
    assert found["packages"]["nvidia-driver"]["status"] == "config-files"
    assert "bash" not in found["packages"] and "nvidia-settings" not in found["packages"]
    assert found["broken_packages"] == ["nvidia-kernel-dkms", "nvidia-modprobe"]
    assert found["available"]["nvidia-driver-cuda"] == [
        {"version": "595.71.05-1", "origin": "nvidia"},
        {"version": "580.95.05-1", "origin": "nvidia"},
    ]
    assert {"version": "535.261.03-1", "origin": "unknown"} in found["available"]["nvidia-smi"]
    assert found["sources"] == ["debian", "nvidia", "unknown"]
    assert (found["unattended_upgrades"], found["locks_held"]) == (True, [])


def test_a_site_names_the_origin_of_its_mirror(tmp_path: Path) -> None:
    found = apt.read_apt(run, [], {"http://mirror.example.org/lost": "nvidia"}, str(tmp_path))
    assert {"version": "535.261.03-1", "origin": "nvidia"} in found["available"]["nvidia-smi"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://mirror.example.org/cuda/", "https://mirror.example.org/cuda  Packages"),
        ("https://mirror.example.org", "https://mirror.example.org/debian bookworm/main amd64 Packages"),
        ("https://user:secret@mirror.example.org/cuda", "https://mirror.example.org/cuda ./ Packages"),
        ("file:///srv/repository", "file:/srv/repository ./ Packages"),
        ("site-cuda", "site-cuda"),
    ],
)
def test_a_mirror_is_known_however_the_site_writes_its_address(given: str, address: str) -> None:
    assert mirrored(address, {given: "nvidia"}) == "nvidia"


def test_a_neighbour_of_a_mirror_is_none() -> None:
    assert (
        mirrored("https://mirror.example.org/cuda-old  Packages", {"https://mirror.example.org/cuda": "nvidia"}) is None
    )


def test_only_ready_made_modules_of_the_kernels_here_are_asked_for() -> None:
    asked: list[str] = []

    def listening(command: Sequence[str]) -> tuple[int, str, str]:
        asked.extend(command)
        return run(command)

    apt.read_apt(listening, ["6.8.0-1"], {}, "/nowhere")
    assert "linux-modules-nvidia-580-server-6.8.0-1" in asked and "nvidia-cuda-toolkit" not in asked
    asked.clear()
    apt.read_apt(listening, ["6.8.0-2"], {}, "/nowhere")
    assert "linux-modules-nvidia-580-server-6.8.0-1" not in asked


def test_a_host_upgrades_by_itself_only_when_it_says_so() -> None:
    assert apt.periodic('APT::Periodic::Unattended-Upgrade "1";')
    assert not apt.periodic('APT::Periodic::Unattended-Upgrade "0";')
    assert not apt.periodic("")


def test_a_lock_that_somebody_holds_is_seen_and_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert lock_holder(str(path)) is None and lock_holder(str(tmp_path / "missing")) is None
    code = (
        f"import fcntl,sys; f=open({str(path)!r},'w'); fcntl.lockf(f,fcntl.LOCK_EX); print('x',flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        assert lock_holder(str(path)) == f"process {holder.pid}"
        holder.stdin.close()
    with path.open("w", encoding="utf-8") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


RPM = """\
nvidia-driver-cuda\t3\t580.95.05-1.el9\tNVIDIA Corporation
kmod-nvidia-open-dkms\t3\t580.95.05-1.el9\t(none)
kernel-core\t(none)\t5.14.0-570.el9\tRed Hat, Inc.
"""
REPOQUERY = """\
nvidia-driver-cuda\t3\t595.71.05-1.el9\tNVIDIA\tcuda-rhel9-x86_64
nvidia-driver-cuda\t3\t580.95.05-1.el9\tNVIDIA\tcuda-rhel9-x86_64
nvidia-driver-cuda\t3\t580.95.05-1.el9\t(none)\tsite-cuda
nvidia-cuda-thing\t0\t1-1\tNVIDIA\tcuda-rhel9-x86_64
nvidia-container-toolkit\t0\t1.19.1-1\tNVIDIA CORPORATION\ttoolkit
"""
VERSIONLOCK = "Last metadata\nnvidia-driver-cuda-3:580.95.05-1.el9.*\n"


def run_el(command: Sequence[str]) -> tuple[int, str, str]:
    """Stand in for run_command on an Enterprise Linux host."""
    if command[0].rpartition("/")[2] == "rpm":
        return 0, RPM, ""
    if "repoquery" in command:
        return 0, REPOQUERY, ""
    if "versionlock" in command:
        return 0, VERSIONLOCK, ""
    return 1, "disabled\n", ""


def test_an_enterprise_linux_host_tells_the_same(tmp_path: Path) -> None:
    found = rpm.read_rpm(run_el, {"site-cuda": "nvidia"}, str(tmp_path))
    assert found["packages"] == {
        "nvidia-driver-cuda": {"version": "3:580.95.05-1.el9", "status": "installed", "held": True, "origin": "nvidia"},
        "kmod-nvidia-open-dkms": {
            "version": "3:580.95.05-1.el9",
            "status": "installed",
            "held": False,
            "origin": "local",
        },
    }
    assert [one["version"] for one in found["available"]["nvidia-driver-cuda"]] == [
        "3:595.71.05-1.el9",
        "3:580.95.05-1.el9",
    ]
    assert "nvidia-cuda-thing" not in found["available"] and "nvidia-container-toolkit" in found["available"]
    assert (found["unattended_upgrades"], found["sources"]) == (False, ["nvidia"])
    assert set(found) == set(apt.read_apt(run, [], {}, str(tmp_path)))
