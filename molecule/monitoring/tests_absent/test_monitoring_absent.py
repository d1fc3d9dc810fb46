# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the role monitoring is left, what was there before is; its files on the controller are whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host
from waiting import wait_for

testinfra_hosts = ["ansible://monitoring"]
LABS = Path(os.environ.get("LOCAL_LLM_LAB_ROOT", "/var/lib/local-llm-lab"))
FILES = LABS / os.environ.get("LOCAL_LLM_MOLECULE_LAB", "mmonitoring") / "files"


# What a host that had a Prometheus of its own keeps.
OWN = ("/etc/prometheus", "/var/lib/prometheus", "/usr/bin/prometheus")


def had_its_own(host: Host) -> bool:
    """Tell whether the host had a Prometheus before the role came."""
    return bool(host.ansible.get_variables()["inventory_hostname"] == "mon3")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/local_llm",
        "/etc/prometheus",
        "/etc/prometheus/local_llm",
        "/var/lib/prometheus/alertmanager",
        "/var/lib/prometheus",
        "/etc/systemd/system/prometheus.service.d",
        "/etc/systemd/system/prometheus-alertmanager.service.d",
        "/usr/bin/prometheus",
        "/usr/bin/prometheus-alertmanager",
    ],
)
def test_the_path_is_gone(host: Host, path: str) -> None:
    if had_its_own(host) and path in OWN:
        pytest.skip("that was there before")
    assert not host.file(path).exists


def test_nothing_listens(host: Host) -> None:
    found = host.check_output("ss -Hltn")
    ports = ("9093", "9094") if had_its_own(host) else ("9090", "9093", "9094")
    assert not [port for port in ports if f":{port}" in found]


def test_what_was_there_before_is_there_and_runs_with_its_own_settings(host: Host) -> None:
    if not had_its_own(host):
        pytest.skip("nothing was there before")
    assert host.package("prometheus").is_installed
    assert host.service("prometheus").is_running
    assert "local_llm" not in host.check_output("systemctl show -p ExecStart --value prometheus")
    assert host.file("/etc/prometheus/prometheus.yml").exists
    # Also with monitoring_purge: the measurements of somebody else are not this role's.
    assert host.file("/var/lib/prometheus/metrics2/wal").exists
    wait_for("it listens", lambda: "*:9090" in host.check_output("ss -Hltn"), 30)


def test_the_files_on_the_controller_are_whole_and_hold_no_secret() -> None:
    for name in (
        "rules/local_llm_rules.yml",
        "tests/local_llm_rules_test.yml",
        "scrape.yml",
        "targets/local_llm_node.json",
    ):
        assert yaml.safe_load((FILES / name).read_text(encoding="utf-8"))
    texts = [path.read_text(encoding="utf-8") for path in FILES.rglob("*") if path.is_file()]
    assert not any("scrape-secret" in text for text in texts)
