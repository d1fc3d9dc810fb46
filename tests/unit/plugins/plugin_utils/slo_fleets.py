# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets to make rules for, and promtool to try them with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

VERSIONS = {"vllm": "0.32.0", "llamacpp": "0.7.0", "ollama": "0.32.15"}
TIERS = ("standard", "enhanced", "premium")


def an_instance(engine: str = "vllm", **values: Any) -> dict[str, Any]:
    """Return an instance as in local_llm_instances."""
    return {
        "name": "chat",
        "engine": engine,
        "engine_version": VERSIONS[engine],
        "model": "chat-8b",
        "served_name": "chat",
        "port": 8001,
        "pool": "chat",
        "slo_tier": "enhanced",
        "config": {},
        **values,
    }


# Where tools/setup.sh unpacks it.
MADE_BY_SETUP = Path(__file__).resolve().parents[4] / ".build/promtool/usr/bin"


def a_fleet(engine: str = "vllm", hosts: int = 2) -> dict[str, Any]:
    """Return hosts that serve one pool for each tier."""
    return {
        f"gpu{number}": [an_instance(engine, name=tier, pool=f"pool-{tier}", slo_tier=tier) for tier in TIERS]
        for number in range(1, hosts + 1)
    }


def promtool(*arguments: str, timeout_seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Run promtool. It is never skipped: without it nobody would see a rule that Prometheus refuses."""
    program = shutil.which("promtool") or shutil.which("promtool", path=str(MADE_BY_SETUP))
    if program is None:
        raise AssertionError("promtool is missing: make setup brings it (from the package prometheus)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=timeout_seconds)


def write_made(made: dict[str, Any], directory: Path) -> tuple[str, str]:
    """Write rules and tests, and return the names of the two files."""
    rules, tests = directory / "local_llm_rules.yml", directory / "local_llm_rules_test.yml"
    rules.write_text(made["rules_yaml"], encoding="utf-8")
    tests.write_text(made["tests_yaml"], encoding="utf-8")
    return str(rules), str(tests)
