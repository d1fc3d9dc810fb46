# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role leaves on a host: an exporter that answers, and that may do nothing else."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]

UNIT = "local-llm-gpu-exporter.service"
READ = (
    "python3 -c 'import json, sys, urllib.request as r;"
    ' s = json.load(open("/etc/local_llm/gpu_exporter/settings.json"));'
    ' print(r.urlopen("http://%s:%s/metrics" % (s["listen_address"], s["port"]), timeout=10).read().decode())\''
)


@pytest.fixture(autouse=True)
def only_where_it_is(host: Host) -> None:
    if host.backend.get_hostname() != "gpu1":
        pytest.skip("gpu1 has the fake GPUs")


def metrics(host: Host) -> str:
    text: str = host.check_output(READ)
    return text


def test_all_gpus_are_shown(host: Host) -> None:
    found = metrics(host)
    assert len(re.findall(r"^local_llm_gpu_temperature_celsius{", found, re.M)) == 8
    assert "local_llm_gpu_driver_problem" not in found
    assert "\nlocal_llm_gpu_kernel_log_readable 1.0\n" in found


def test_it_listens_on_the_private_address_only(host: Host) -> None:
    lines = [line for line in host.check_output("ss -Hltn").splitlines() if ":9836" in line]
    assert len(lines) == 1 and "10." in lines[0].split()[3]


def test_service_runs_without_privileges(host: Host) -> None:
    pid = host.check_output(f"systemctl show -P MainPID {UNIT}")
    status = host.file(f"/proc/{pid}/status").content_string
    assert not re.search(r"^Uid:\s+0\s", status, re.M)
    assert re.search(r"^CapEff:\s+0+$", status, re.M), "this host's kernel log is a file"
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)


def test_unit_holds_what_systemd_expects_and_little_is_exposed(host: Host) -> None:
    verified = host.run(f"systemd-analyze verify {UNIT}")
    assert not [line for line in verified.stderr.splitlines() if "gpu-exporter" in line]
    output = host.check_output(f"systemd-analyze security --no-pager {UNIT}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert found is not None and float(found[1]) <= 3.0, output


def test_nothing_of_the_exporter_can_be_changed_by_its_user(host: Host) -> None:
    for path in ("/usr/local/libexec/local_llm", "/etc/local_llm"):
        assert host.check_output(f"find {path} ! -user root -o -perm /022 ! -type l") == ""
