# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After state absent nothing of the role is left, and a dcgm-exporter runs as before."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/local_llm",
        "/usr/local/libexec/local_llm",
        "/opt/local_llm",
        "/etc/systemd/system/local-llm-gpu-exporter.service",
        "/etc/systemd/system/nvidia-dcgm-exporter.service.d",
        "/etc/dcgm-exporter/local_llm.csv",
    ],
)
def test_path_is_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_nothing_listens_any_more(host: Host) -> None:
    assert ":9836" not in host.check_output("ss -Hltn")


def test_dcgm_exporter_has_its_own_settings_back(host: Host) -> None:
    if host.file("/usr/bin/dcgm-exporter").exists:
        assert ":9400" in host.check_output("ss -Hltn")
