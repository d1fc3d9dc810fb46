# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the role node_exporter is left."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/prometheus",
        "/var/lib/prometheus",
        "/opt/local_llm",
        "/etc/systemd/system/prometheus-node-exporter.service",
        "/etc/systemd/system/prometheus-node-exporter.service.d",
        "/usr/bin/prometheus-node-exporter",
    ],
)
def test_the_path_is_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_nothing_listens(host: Host) -> None:
    assert "9100" not in host.check_output("ss -Hltn")


def test_the_user_of_the_archive_is_gone(host: Host) -> None:
    assert not host.user("node-exporter").exists
