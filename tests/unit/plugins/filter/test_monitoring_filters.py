# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role monitoring: what they return fits together, and what they refuse is told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.filter.monitoring_config import monitoring_config
from ansible_collections.local_llm.ops.plugins.filter.monitoring_differences import monitoring_differences
from ansible_collections.local_llm.ops.plugins.filter.monitoring_fleet import monitoring_fleet
from ansible_collections.local_llm.ops.plugins.filter.monitoring_rules import monitoring_rules
from ansible_collections.local_llm.ops.plugins.filter.slo_rules import rules_filter
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.slo_fleets import promtool

INSTANCE = {
    "name": "chat", "engine": "vllm", "engine_version": "0.32.0", "model": "chat-8b", "served_name": "chat",
    "port": 8001, "pool": "chat", "slo_tier": "enhanced",
}  # fmt: skip
HOSTVARS: dict[str, Any] = {
    "gpu1": {"ansible_host": "192.0.2.11", "local_llm_instances": [INSTANCE], "local_llm_pools": {"chat": {}}}
}


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "scrape_interval_seconds": 15, "scrape_timeout_seconds": 10, "evaluation_interval_seconds": 15,
        "alertmanager": "192.0.2.6:9093", "group_by": ["alertname"], "group_wait_seconds": 30,
        "group_interval_seconds": 300, "repeat_interval_seconds": 14400, **changes,
    }  # fmt: skip


def test_the_fleet_has_what_the_filter_for_rules_wants() -> None:
    fleet = monitoring_fleet(HOSTVARS, {"gpu_hosts": ["gpu1"]})
    made = rules_filter(fleet["serving"], pools=fleet["pools"], tiers=fleet["tiers"])
    assert made["rules"]["groups"]
    assert fleet["targets"].keys() == fleet["files"].keys()


def test_an_inventory_without_hosts_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no host is in the group gpu_hosts"):
        monitoring_fleet({}, {})


def test_a_rehearsal_says_so_on_top_of_its_file_and_real_rules_do_not() -> None:
    rules = rules_filter({"gpu1": [INSTANCE]})["rules"]
    assert monitoring_rules(rules, 60, 8)["rules_yaml"].startswith("# FOR A REHEARSAL ONLY.")
    assert "REHEARSAL" not in monitoring_rules(rules, 1, 60)["rules_yaml"]
    with pytest.raises(AnsibleFilterError, match="give 1 or more"):
        monitoring_rules(rules, 0, 8)


def test_prometheus_takes_the_rules_of_a_rehearsal_and_the_configuration(tmp_path: Path) -> None:
    """The whole directory, as the role lays it out."""
    made = monitoring_config(settings(access={"node": {"username": "u", "password": "p"}}), str(tmp_path))
    rules = monitoring_rules(rules_filter({"gpu1": [INSTANCE]})["rules"], 60, 8)
    for name, text in {"rules/local_llm_rules.yml": rules["rules_yaml"]}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "secrets").mkdir()
    for name, text in made["secrets"].items():
        (tmp_path / "secrets" / name).write_text(text, encoding="utf-8")
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(made["prometheus"]), encoding="utf-8")
    done = promtool("check", "config", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rule files found" in done.stdout


def test_what_is_written_is_told_from_what_runs() -> None:
    made = monitoring_config(settings())["prometheus"]
    assert monitoring_differences(made, yaml.safe_dump({**made, "storage": {"a": 1}})) == []
    other = monitoring_config(settings(scrape_interval_seconds=30))["prometheus"]
    assert monitoring_differences(made, yaml.safe_dump(other)) == [
        "global.scrape_interval: '15s' was written, '30s' runs"
    ]
    with pytest.raises(AnsibleFilterError, match="no YAML"):
        monitoring_differences(made, "a: [")


def test_a_wrong_setting_is_told_with_its_variable() -> None:
    with pytest.raises(AnsibleFilterError, match=r"monitoring_access\.nodes: there is no such job"):
        monitoring_config(settings(access={"nodes": {}}))
