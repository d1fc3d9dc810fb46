# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent check in the configuration of HAProxy: off by default, and then nothing of it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

ROLE = Path(__file__).resolve().parents[4] / "roles/gateway"
SERVERS = [
    {"pool": "chat", "name": "gpu1-chat", "address": "192.0.2.1", "port": 8001},
    {"pool": "chat", "name": "gpu2-chat", "address": "2001:db8::2", "port": 8001},
]


def config(**changes: Any) -> str:
    """Return haproxy.cfg for a pool on two hosts."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    variables = {
        **defaults,
        "ansible_managed": "managed",
        "__gateway_config_directory": "/etc/haproxy/local_llm",
        "__gateway_state_directory": "/var/lib/local_llm/gateway",
        "__gateway_servers": SERVERS,
        "__gateway_pools": {"chat": {}},
        "__gateway_default_pool": "chat",
        **changes,
    }
    text = (ROLE / "templates/haproxy.cfg.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(text).render(variables)


def server_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("    server ")]


def test_nobody_is_asked_by_default() -> None:
    text = config()
    assert "agent" not in text
    assert len(server_lines(text)) == 6
    assert all(line == line.rstrip() for line in text.splitlines())


def test_both_servers_of_an_instance_ask_its_agent_by_name_and_the_spare_follows() -> None:
    before, after = server_lines(config()), server_lines(config(gateway_agent_check_port=9837))
    for old, new in zip(before, after, strict=True):
        name = old.split()[1]
        if name.startswith("fallback."):
            assert new == old
        else:
            assert new == f'{old} agent-check agent-port 9837 agent-inter 2000ms agent-send "{name}\\n"'


def test_only_lines_of_servers_differ() -> None:
    off, on = config().splitlines(), config(gateway_agent_check_port=9837).splitlines()
    assert [line for line in off if "    server " not in line] == [line for line in on if "    server " not in line]
