# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the role remediation is left, and what it looked after still runs."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/local_llm",
        "/var/lib/local_llm/remediation",
        "/run/local-llm-remediation",
        "/usr/local/libexec/local_llm/remediate",
        "/usr/local/libexec/local_llm/remediation_agent",
        "/usr/local/libexec/local_llm/remediation_lib",
        "/var/lib/prometheus/node-exporter/local_llm_remediation.prom",
        "/etc/systemd/system/local-llm-remediation.timer",
        "/etc/systemd/system/local-llm-remediation-agent.socket",
    ],
)
def test_path_is_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_no_unit_is_loaded_and_nobody_listens(host: Host) -> None:
    loaded = host.check_output("systemctl list-units --all --plain --no-legend --state=loaded 'local-llm-remediation*'")
    assert loaded == ""
    assert ":9837 " not in host.check_output("ss -Hltn")


def test_the_instance_still_runs(host: Host) -> None:
    assert host.service("local-llm@chat").is_running
