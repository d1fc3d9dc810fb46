# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dcgm-exporter of the operator is set up with the counters that the rules need, on the port of the other kind."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


@pytest.fixture(autouse=True)
def only_where_it_is(host: Host) -> None:
    if host.backend.get_hostname() != "gpu3":
        pytest.skip("gpu3 has the dcgm-exporter")


def test_rules_find_what_they_need(host: Host) -> None:
    address = host.check_output("hostname -I").split()[0]
    command = (
        f"python3 -c 'import urllib.request as r; print(r.urlopen(\"http://{address}:9836/metrics\").read().decode())'"
    )
    metrics = host.check_output(command)
    for name in ("THERMAL_VIOLATION", "ECC_DBE_VOL_TOTAL", "ROW_REMAP_PENDING", "GPU_TEMP", "XID_ERRORS", "ENC_UTIL"):
        assert f"\nDCGM_FI_DEV_{name}{{" in metrics, name


def test_package_keeps_its_own_list_and_unit(host: Host) -> None:
    assert host.file("/etc/dcgm-exporter/default-counters.csv").size < 100
    assert "local_llm" not in host.file("/etc/systemd/system/nvidia-dcgm-exporter.service").content_string
    assert not host.file("/etc/systemd/system/local-llm-gpu-exporter.service").exists
