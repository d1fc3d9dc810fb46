# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host_reboot in a real run: what it waits for is said, and the reboot itself is that of ansible-core."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_plays

# Answers as a host whose boot id is another one a second after it was told to reboot; nothing is rebooted.
CONNECTION = """
from __future__ import annotations
DOCUMENTATION = "name: rebooting\\nshort_description: x\\ndescription: x\\nauthor: x\\noptions: {}"
import time
from ansible.plugins.connection.local import Connection as Local
AT = []

class Connection(Local):
    transport = "rebooting"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        if "shutdown" in cmd and "find" not in cmd:
            AT.append(time.monotonic())
            return 0, b"", b""
        if "boot_id" in cmd:
            again = AT and time.monotonic() > AT[0] + 1
            return 0, b"second" if again else b"first", b""
        return super().exec_command(cmd, in_data, sudoable)
"""


def play(*tasks: dict[str, Any], connection: str) -> list[dict[str, Any]]:
    variables = {"ansible_python_interpreter": sys.executable, "ansible_connection": connection}
    return [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": list(tasks)}]


def test_a_reboot_says_what_it_waits_for(tmp_path: Path) -> None:
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "rebooting.py").write_text(CONNECTION, encoding="utf-8")
    reboot = {"local_llm.ops.host_reboot": {"timeout_seconds": 30, "tell_seconds": 0.2}, "register": "done"}
    proof = {"ansible.builtin.assert": {"that": ["done.rebooted", "done.changed", "done.elapsed >= 1"]}}
    code, output = run_plays(tmp_path, play(reboot, proof, connection="rebooting"))
    assert code == 0, output
    assert "localhost: waiting for it to go down, to answer again and to show another boot id: " in output
    assert " s left" in output


def test_the_controller_is_not_rebooted(tmp_path: Path) -> None:
    code, output = run_plays(tmp_path, play({"local_llm.ops.host_reboot": {}}, connection="local"))
    assert code != 0 and "would reboot the control node" in output
