# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the role monitoring is left, and the files that it wrote on the controller are whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

testinfra_hosts = ["ansible://monitoring"]
FILES = Path(os.environ.get("LOCAL_LLM_LAB_ROOT", "/var/lib/local-llm-lab")) / "mmonitoring" / "files"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/prometheus",
        "/var/lib/prometheus",
        "/etc/systemd/system/prometheus.service.d",
        "/etc/systemd/system/prometheus-alertmanager.service.d",
        "/usr/bin/prometheus",
        "/usr/bin/prometheus-alertmanager",
    ],
)
def test_the_path_is_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_nothing_listens(host: Host) -> None:
    found = host.check_output("ss -Hltn")
    assert not [port for port in ("9090", "9093", "9094") if f":{port}" in found]


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
