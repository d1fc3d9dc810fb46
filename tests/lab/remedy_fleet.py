# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway and one host that helps itself, with a fake engine whose faults a test chooses."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from fleet import GATEWAY_PORT, Fleet
from waiting import wait_for

HERE = Path(__file__).resolve().parents[1] / "remediation"
LAB = os.environ.get("LOCAL_LLM_TEST_REMEDIATION_LAB", "remedy")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""
DIRECTORY = "/var/lib/local_llm/remediation"
HOME = "/var/cache/local-llm/chat"
OUT = "/run/local-llm-remediation/out.json"


class Remedied(Fleet):
    """The host gpu1 with a fake engine, behind the gateway gw1."""

    def site(self) -> str:
        """Set everything up."""
        command = [str(self.venv / "bin/ansible-playbook"), "-i", str(self.lab.directory / "inventory.yml")]
        done = subprocess.run(
            [*command, str(HERE / "site.yml")],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    def remediation(self, **settings: Any) -> None:
        """Run the role remediation alone, with other settings."""
        command = [str(self.venv / "bin/ansible"), "gpu1", "-i", str(self.lab.directory / "inventory.yml")]
        command += ["-m", "ansible.builtin.include_role", "-a", "name=local_llm.ops.remediation"]
        command += ["-e", f"@{HERE / 'variables.yml'}", "-e", json.dumps(settings)]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]

    def on(self, command: str) -> str:
        """Run a command on the host with the engine."""
        return self.shell("gpu1", command)

    def engine(self, *moods: str) -> None:
        """Let the engine be so from now on."""
        self.on(f"cd {HOME} && rm -f crash mute stuck" + "".join(f" && touch {mood}" for mood in moods))

    def journal(self) -> list[dict[str, Any]]:
        """Return what remediation wrote down."""
        return [json.loads(line) for line in self.on(f"cat {DIRECTORY}/journal.jsonl 2>/dev/null || true").splitlines()]

    def told(self, since: int = 0) -> list[tuple[str, str, str]]:
        """Return (rule, action, result) of the lines after the first so many."""
        return [(str(x["rule"]), str(x["action"]), str(x["result"])) for x in self.journal()[since:]]

    def looks(self) -> float:
        """Return when remediation looked last."""
        return float(json.loads(self.on(f"cat {DIRECTORY}/state.json"))["looked_at"])

    def wait_looks(self, number: int) -> None:
        """Wait until it has looked so many times more."""
        for _count in range(number):
            last = self.looks()
            wait_for("the next look", partial(self._has_looked_since, last), 60)

    def _has_looked_since(self, last: float) -> bool:
        return self.looks() > last

    def metrics(self) -> str:
        """Return what node_exporter would show."""
        return self.on("cat /var/lib/prometheus/node-exporter/local_llm_remediation.prom")

    def server(self) -> dict[str, Any]:
        """Return what the gateway says of the server."""
        (found,) = self.ad_hoc("gateway", "local_llm.ops.gateway_info")["servers"]
        return dict(found)

    def client_gets(self) -> int:
        """Return the status that a client gets at the gateway for a page that the engine answers at once."""
        connection = self._connection(10)
        try:
            connection.request("GET", "/v1/models")
            return connection.getresponse().status
        finally:
            connection.close()

    def stream(self) -> http.client.HTTPResponse:
        """Begin a streamed answer of some seconds; what it returns is read by the caller."""
        connection = self._connection(40)
        connection.request("POST", "/v1/chat/completions", b"{}", {"Content-Type": "application/json"})
        return connection.getresponse()

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.lab.hosts["gw1"].address, GATEWAY_PORT, timeout=seconds)

    def reset(self) -> None:
        """Bring the engine and remediation back to where a test begins."""
        self.engine()
        self.on("rm -f /var/lib/local_llm/instances/chat/armed.json")
        self.on("/usr/local/libexec/local_llm/remediate reset")
        self.on("systemctl reset-failed local-llm@chat; systemctl restart local-llm@chat local-llm-remediation.timer")
        wait_for("the server to be up at the gateway", lambda: self.server()["operational_state"] == "up", 90)
