# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook monitoring refuses before it touches a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_playbook


def inventory(**groups: Any) -> dict[str, Any]:
    """Return a fleet whose hosts nobody can reach."""
    hosts = {"gpu1": {"ansible_host": "192.0.2.11", "local_llm_instances": []}}
    return {"all": {"children": {"gpu_hosts": {"hosts": hosts}, **groups}}}


def test_a_fleet_that_nobody_watches_gets_no_exporters(tmp_path: Path) -> None:
    code, output = run_playbook(tmp_path, "monitoring", inventory())
    assert code == 2
    assert "No host is in the inventory group monitoring, so nothing was set up." in output
    assert "1. Exporters" not in output and "unreachable=0" in output, output
