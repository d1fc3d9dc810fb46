# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small fleet whose one instance per host runs any engine, and what those engines are installed from."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "collections"))

from fleet import CHECKOUT, CLIENT_KEY, GATEWAY_PORT, Fleet, PlaybookRun
from local_lab import images, state

HERE = Path(__file__).resolve().parents[1] / "engines"
LAB = os.environ.get("LOCAL_LLM_TEST_ENGINE_LAB", "engines")
KEEP = os.environ.get("LOCAL_LLM_KEEP_LAB", "") != ""
# What the hosts ran before a test is of no interest to it; other words of a new engine are no fault.
PATTERNS = ("-e", f"@{HERE / 'patterns.yml'}")
PACK_STAND_IN = CHECKOUT / "tests/fakes/ollama_stand_in/pack.py"
OLLAMA_ARCHIVE = CHECKOUT / "tests/lab/artefacts/ollama_archive.py"
STAND_IN_VERSIONS = ("0.32.15", "0.33.0")
VLLM = state.CACHE / "artefacts/vllm"
# Debian 13 has no llama.cpp. The newer suite comes with a low priority, so that nothing else is taken from it. A mirror
# of a lab may be a frozen copy, hence the last file; never write it on a real host.
APT_FILES = {
    "preferences.d/forky": "Package: *\nPin: release n=forky\nPin-Priority: 100\n",
    "sources.list.d/forky.sources": "Types: deb\nURIs: {mirror}\nSuites: forky\nComponents: main\n"
    "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
    "apt.conf.d/99lab": 'Acquire::Check-Valid-Until "false";\n',
}


class EngineFleet(Fleet):
    """A fleet for the tests of engines."""

    client_rate = 10

    @property
    def index_path(self) -> Path:
        """Where what the inventory names is listed."""
        return state.CACHE / "engines" / "index.json"

    @property
    def hosts(self) -> list[str]:
        """The hosts that serve."""
        return [host.name for host in self.lab.hosts.values() if host.group == "gpu_hosts"]

    def playbook_command(self, playbook: str, *extra: str) -> list[str]:
        """Return the command line of a playbook with the variables of these tests."""
        return super().playbook_command(playbook, "-e", f"@{HERE / 'variables.yml'}", *extra)

    def up(self, hosts: Sequence[str] = ()) -> None:
        """Bring the lab up, and make what its engines are installed from."""
        super().up(hosts)
        self.index_path.parent.mkdir(parents=True, exist_ok=True)
        lab = json.loads((state.CACHE / "artefacts/index.json").read_text(encoding="utf-8"))
        made = {name: lab["models"][name] for name in ("tiny", "tiny-other")}
        models = {
            name: {"directory": model["directory"], "files": {"model.gguf": model["sha256"]}}
            for name, model in made.items()
        }
        index: dict[str, Any] = {"ollama": self._ollama(), "vllm": {"version": "none", "artifacts": {}}}
        if (VLLM / "vllm.json").is_file():
            vllm = json.loads((VLLM / "vllm.json").read_text(encoding="utf-8"))
            index["vllm"] = {"version": vllm["version"], "artifacts": {vllm["version"]: vllm["artifact"]}}
            models["tiny-llama"] = {**vllm["models"]["tiny-llama"], "entry": "config.json"}
            models["tiny-llama-next"] = {**vllm["models"]["tiny-llama-other"], "entry": "config.json"}
        index["models"] = {
            name: {"source": "directory", "revision": "r1", "path": model.pop("directory"), **model}
            for name, model in models.items()
        }
        self.index_path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def _ollama(self) -> dict[str, Any]:
        """Return the versions of Ollama: a real archive when one is named, else two versions of the stand-in."""
        real = os.environ.get("LOCAL_LLM_OLLAMA_ARCHIVE", "")
        if real:
            # A process of its own: the same as the molecule scenario asks.
            asked = [sys.executable, str(OLLAMA_ARCHIVE), real]
            found = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
            version, digest = found["version"], found["sha256"]
            artifact = {"method": "archive", "src": real, "sha256": {"x86_64": digest, "aarch64": digest}}
            return {"version": version, "next_version": version, "artifacts": {version: artifact}}
        artifacts = {}
        for version in STAND_IN_VERSIONS:
            path = self.index_path.parent / f"ollama-stand-in-{version}.tar.zst"
            command = [sys.executable, str(PACK_STAND_IN), str(path), "--version", version]
            digest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            artifacts[version] = {"method": "archive", "src": str(path), "sha256": {"x86_64": digest}}
        return {"version": STAND_IN_VERSIONS[0], "next_version": STAND_IN_VERSIONS[1], "artifacts": artifacts}

    def give_newer_suite(self) -> None:
        """Let the hosts that serve get packages of the suite that has llama.cpp."""
        for host in self.hosts:
            for path, text in APT_FILES.items():
                content = text.replace("{mirror}", images.mirror() or "http://deb.debian.org/debian")
                self.shell(host, f"printf %s '{content}' > /etc/apt/{path}")

    def site(self, release: str, *extra: str) -> PlaybookRun:
        """Run site with a release as the desired state."""
        return self.playbook("site", "-e", f"engine_release={release}", *PATTERNS, *extra)

    def move(self, release: str, *extra: str) -> PlaybookRun:
        """Run upgrade with a release as the desired state."""
        return self.playbook("upgrade", "-e", f"engine_release={release}", *extra)

    def begin(self, release: str) -> None:
        """See to it that the engine of a release serves: by site on bare hosts, by an upgrade on others."""
        served = self.shell(self.hosts[0], "ls /var/lib/local_llm/instances 2>/dev/null || true").split()
        if "chat" in served and self.description(self.hosts[0])["engine"] == release.partition("_")[0]:
            return
        done = self.move(release, *PATTERNS) if "chat" in served else self.site(release)
        assert done.code == 0, done.output[-6000:]

    def description(self, host: str) -> dict[str, Any]:
        """Return what a host serves."""
        text = self.shell(host, "cat /var/lib/local_llm/instances/chat/current/release.json")
        found: dict[str, Any] = json.loads(text)["description"]
        return found

    def complete(self, prompt: str = "The capital of France is") -> dict[str, Any]:
        """Ask the gateway for one completion, as a client does."""
        gateway = next(host for host in self.lab.hosts.values() if host.group == "gateway")
        connection = http.client.HTTPConnection(gateway.address, GATEWAY_PORT, timeout=60)
        body = {"model": "chat", "max_tokens": 12, "temperature": 0, "messages": [{"role": "user", "content": prompt}]}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {CLIENT_KEY}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found
