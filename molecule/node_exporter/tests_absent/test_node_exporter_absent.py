# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the role node_exporter is left, and everything that was there before it."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


def had_its_own(host: Host) -> bool:
    """Tell whether the host had the package before the role came."""
    return bool(host.ansible.get_variables()["inventory_hostname"] == "gpu3")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/local_llm",
        "/etc/prometheus",
        "/var/lib/prometheus",
        "/opt/local_llm",
        "/etc/systemd/system/prometheus-node-exporter.service",
        "/etc/systemd/system/prometheus-node-exporter.service.d",
        "/usr/bin/prometheus-node-exporter",
    ],
)
def test_the_path_is_gone(host: Host, path: str) -> None:
    if had_its_own(host) and path in ("/var/lib/prometheus", "/usr/bin/prometheus-node-exporter"):
        pytest.skip("that was there before")
    assert not host.file(path).exists


def test_what_was_there_before_is_there_and_runs_with_its_own_settings(host: Host) -> None:
    if not had_its_own(host):
        pytest.skip("nothing was there before")
    assert host.package("prometheus-node-exporter").is_installed
    assert host.service("prometheus-node-exporter").is_running
    assert host.service("prometheus-node-exporter").is_enabled
    assert host.file("/var/lib/prometheus/node-exporter/foreign.prom").exists
    assert "*:9100" in host.check_output("ss -Hltn")


def test_nothing_listens(host: Host) -> None:
    if had_its_own(host):
        pytest.skip("the exporter of the host listens")
    assert "9100" not in host.check_output("ss -Hltn")


def test_the_user_of_the_archive_is_gone(host: Host) -> None:
    assert not host.user("node-exporter").exists
