# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of the driver: its address on each system, when it is written, and when it is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.roles.task_runs import defaults_of, run_tasks, tasks_of

UBUNTU = {"distribution": "Ubuntu", "distribution_version": "24.04", "distribution_release": "noble"}
DEBIAN = {"distribution": "Debian", "distribution_major_version": "13", "distribution_release": "trixie"}
EL = {"distribution": "Rocky", "distribution_major_version": "9", "distribution_release": "x", "pkg_mgr": "dnf"}
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"
SHOW = """
- name: Show
  ansible.builtin.debug:
    msg: "CASE {{ __nvidia_driver_repository.uri }} {{ __nvidia_driver_repository.suite }}."
"""
CASES = """
- name: Each system
  ansible.builtin.include_tasks: source.yml
  loop: "{{ cases }}"
  vars:
    nvidia_driver_source: "{{ item }}"
"""
# In the place of what would change this machine, or look at it.
REAL = {
    f"ansible.builtin.{name}:": f"host_{name}:" for name in ("setup", "command", "stat", "file", "template", "copy")
}


def facts(values: dict[str, str], architecture: str) -> dict[str, Any]:
    return {"ansible_facts": {"pkg_mgr": "apt", "architecture": architecture, **values}, "changed": False}


def run(
    place: Path, answers: dict[str, Any], cases: list[str], apt: str | None = None, transaction: Any = None
) -> tuple[str, list[str]]:
    tasks = {**tasks_of("nvidia_driver", "source.yml", "source_apt.yml"), "cases.yml": CASES}
    if apt:
        tasks.update(dict.fromkeys(("source_apt.yml", "source_dnf.yml"), apt))
    for real, double in REAL.items():
        tasks = {name: text.replace(real, double) for name, text in tasks.items()}
    variables = {**defaults_of("nvidia_driver"), "cases": cases}
    del variables["nvidia_driver_source"]
    known = {
        "gpu_driver_info": {"driver_facts": {"transaction": transaction}},
        "host_command": {"stdout": ""},
        **answers,
    }
    modules = ("gpu_driver_info", *(double.rstrip(":") for double in REAL.values()))
    code, output, calls = run_tasks(place, tasks, "cases.yml", variables, known, modules=modules)
    assert code == 0, output
    return output, calls


def test_each_system_has_its_address(tmp_path: Path) -> None:
    table = [
        (UBUNTU, "x86_64", "distribution", "http://archive.ubuntu.com/ubuntu noble noble-updates noble-security."),
        (UBUNTU, "aarch64", "distribution", "http://ports.ubuntu.com/ubuntu-ports noble noble-updates noble-security."),
        (DEBIAN, "aarch64", "distribution", "http://deb.debian.org/debian trixie."),
        (UBUNTU, "aarch64", "nvidia", f"{CUDA}/ubuntu2404/sbsa/ /."),
        (DEBIAN, "x86_64", "nvidia", f"{CUDA}/debian13/x86_64/ /."),
        (EL, "aarch64", "nvidia", f"{CUDA}/rhel9/sbsa/ /."),
    ]
    answers = {"host_setup": [facts(system, architecture) for system, architecture, _source, _shown in table]}
    output, _calls = run(tmp_path, answers, [source for _system, _architecture, source, _shown in table], SHOW)
    found = [line.partition("CASE ")[2].strip('" ') for line in output.splitlines() if "CASE " in line]
    assert found == [shown for _system, _architecture, _source, shown in table]


def policy(*components: str, distribution: str = "Debian") -> dict[str, Any]:
    lines = (
        f" 500 http://deb.debian.org/debian trixie/{one} amd64 Packages\n"
        f"     release v=13.1,o={distribution},a=stable,n=trixie,l=Debian,c={one},b=amd64\n"
        for one in components
    )
    return {"stdout": "".join(lines), "changed": False}


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (policy("main", "contrib", "non-free", "non-free-firmware"), False),
        (policy("main", "non-free"), True),
        (policy("contrib", "non-free", "non-free-firmware", distribution="Somebody"), True),
    ],
)
def test_the_source_is_written_unless_every_component_is_there(
    tmp_path: Path, found: dict[str, Any], written: bool
) -> None:
    answers = {
        "host_setup": facts(DEBIAN, "x86_64"),
        "host_command": found,
        "host_stat": {"stat": {"exists": False}, "changed": False},
    }
    output, calls = run(tmp_path, answers, ["distribution"])
    assert ("host_template" in calls) is written, output


@pytest.mark.parametrize(
    ("transaction", "left_alone"),
    [
        ({"state": "installed", "closed": False}, True),
        ({"state": "rolled_back", "closed": False}, True),
        ({"state": "downloaded", "closed": False}, False),
        ({"state": "rolled_back", "closed": True}, False),
        ({"state": "committed"}, False),
    ],
)
def test_a_host_in_the_middle_of_a_change_needs_no_mirror(
    tmp_path: Path, transaction: dict[str, Any], left_alone: bool
) -> None:
    gone = {"failed": True, "msg": "the mirror is gone"} if left_alone else {"stdout": "", "changed": False}
    output, calls = run(
        tmp_path, {"host_setup": facts(DEBIAN, "x86_64"), "host_command": gone}, ["distribution"], SHOW, transaction
    )
    assert ("host_command" not in calls, "CASE" not in output) == (left_alone, left_alone), output
