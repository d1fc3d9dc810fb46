# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad settings are refused before anything changes, with name, value and fix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

HASH = "a" * 64
# (settings, words of the refusal; none: they are good)
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "defaults": ({}, ()),
    "users": ({"gpu_exporter_users": {"prometheus": HASH}}, ()),
    "a file as kernel log": ({"gpu_exporter_kernel_log": "/var/log/kern.log"}, ()),
    "an IPv6 address": ({"gpu_exporter_listen_address": "fd00::1"}, ()),
    "dcgm": ({"gpu_exporter_kind": "dcgm", "gpu_exporter_dcgm_counters": ["DCGM_FI_DEV_ENC_UTIL, gauge, x"]}, ()),
    "no address": (
        {"gpu_exporter_listen_address": ""},
        ("gpu_exporter_listen_address", "is no address", "local_llm_address"),
    ),
    "a sentence as address": ({"gpu_exporter_listen_address": "10.0.0.1; x"}, ("10.0.0.1; x", "is no address")),
    "a privileged port": ({"gpu_exporter_port": 80}, ("gpu_exporter_port is 80", "1024 to 65535")),
    "a port that is none": ({"gpu_exporter_port": 70000}, ("gpu_exporter_port is 70000",)),
    "no interval": ({"gpu_exporter_interval_seconds": 0}, ("gpu_exporter_interval_seconds is 0", "Use 1 to 300")),
    "a long deadline": ({"gpu_exporter_deadline_seconds": 61}, ("gpu_exporter_deadline_seconds is 61", "Use 1 to 60")),
    "an age too short": (
        {"gpu_exporter_max_age_seconds": 19},
        ("gpu_exporter_max_age_seconds is 19", "Use 20 to 3600"),
    ),
    "too little memory": (
        {"gpu_exporter_memory_max_bytes": 1000},
        ("gpu_exporter_memory_max_bytes is 1000", "50331648"),
    ),
    "a relative log": ({"gpu_exporter_kernel_log": "kern.log"}, ("kern.log", "whole path")),
    "no certificate": ({"gpu_exporter_tls": "provided"}, ("gpu_exporter_tls_certificate", "PEM")),
    "a plain password": ({"gpu_exporter_users": {"prometheus": "plain-secret"}}, ("users.prometheus", "sha256sum")),
    "a loose package": ({"gpu_exporter_packages": ["prometheus-client"]}, ("prometheus-client has no version", "==")),
    "a bad counter": (
        {"gpu_exporter_kind": "dcgm", "gpu_exporter_dcgm_counters": ["DCGM_FI_X, gauge, a, b"]},
        ("DCGM_FI_X, gauge, a, b", "without a comma"),
    ),
    "TLS with dcgm": (
        {
            "gpu_exporter_kind": "dcgm",
            "gpu_exporter_tls": "provided",
            "gpu_exporter_tls_certificate": "x",
            "gpu_exporter_tls_key": "x",
        },
        ("gpu_exporter_dcgm_arguments", "--web-config-file"),
    ),
}


def attempt(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a block that tries settings and keeps why they were refused."""
    role = {"name": "local_llm.ops.gpu_exporter", "tasks_from": "validate.yml"}
    said = (
        "{{ refusals | combine({item: ansible_failed_result.msg | default('') ~ (ansible_failed_result.results"
        " | default([]) | selectattr('failed', 'defined') | selectattr('failed') | map(attribute='msg') | join)}) }}"
    )
    keep = {"ansible.builtin.set_fact": {"refusals": said}, "loop": [name]}
    return {"block": [{"ansible.builtin.include_role": role, "vars": settings}], "rescue": [keep]}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Why each case was refused; one run of Ansible tries them all."""
    place = tmp_path_factory.mktemp("refusals")
    tasks: list[dict[str, Any]] = [{"ansible.builtin.set_fact": {"refusals": {}}}]
    tasks += [attempt(name, settings) for name, (settings, _words) in CASES.items()]
    tasks += [{"ansible.builtin.copy": {"content": "{{ refusals | to_json }}", "dest": str(place / "refusals.json")}}]
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (place / "play.yml").write_text(yaml.safe_dump(play), encoding="utf-8")
    collections = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm").is_dir())
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", "play.yml"],
        cwd=place,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_LOCAL_TEMP": str(place / "tmp")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    found: dict[str, str] = json.loads((place / "refusals.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("case", CASES)
def test_setting_is_refused_with_name_value_and_fix(case: str, refusals: dict[str, str]) -> None:
    words = CASES[case][1]
    assert (case in refusals) == bool(words), refusals.get(case)
    for word in words:
        assert word in refusals[case]


def test_no_refusal_tells_a_password(refusals: dict[str, str]) -> None:
    assert "plain-secret" not in json.dumps(refusals)
