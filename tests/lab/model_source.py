# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model on a fake mirror and a fake hub outside, that hosts of a lab bring through the collection."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fleet import CHECKOUT, Fleet
from rollouts import HOSTS

sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import (
    COMMIT,
    Content,
    Fault,
    Mirror,
)

__all__ = ["MODELS", "NAME", "SIZE", "Content", "Fault", "Source", "flipped", "source"]

MODELS = "/var/lib/local_llm/models"
NAME = "faulty"
SIZE = 6_000_000
PLAY = f"""
- hosts: gpu_hosts
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: local_llm.ops._model
      vars:
        _model_name: {NAME}
"""


@dataclass
class Source:
    """A model on a mirror and on a hub, and the play that brings it to hosts."""

    fleet: Fleet
    work: Path
    data: bytes
    content: Content
    url: str
    kind: str = "http"

    @property
    def digest(self) -> str:
        """SHA-256 of its only file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def revision(self) -> str:
        """Its revision."""
        return COMMIT if self.kind == "hf" else self.digest[:12]

    @property
    def published(self) -> str:
        """Where it lies on a host once it is published."""
        return f"{MODELS}/{NAME}/{self.revision}"

    @property
    def incoming(self) -> str:
        """Where it arrives on a host."""
        return f"{MODELS}/.incoming/{NAME}@{self.revision}"

    def definition(self) -> dict[str, Any]:
        """Return what stands in local_llm_models."""
        files = {"model.gguf": self.digest}
        if self.kind == "hf":
            pin = sha256_hex(canonical_json(files))
            repository = {"repo": "lab/faulty", "revision": COMMIT, "endpoint": self.url}
            return {"source": "hf", **repository, "manifest_sha256": pin}
        return {"source": "http", "url": f"{self.url}/m", "revision": self.revision, "files": files}

    def start(self, limit: str, **variables: Any) -> subprocess.Popen[str]:
        """Start to bring it."""
        (self.work / "play.yml").write_text(PLAY, encoding="utf-8")
        extra: dict[str, Any] = {"local_llm_models": {NAME: self.definition()}}
        extra.update(local_llm_model_cache=str(self.work / "cache"), _model_reserve_bytes=0, **variables)
        (self.work / "extra.json").write_text(json.dumps(extra), encoding="utf-8")
        command = self.fleet.playbook_command("-", "-e", f"@{self.work / 'extra.json'}", "-v", "--limit", limit)
        command[command.index("local_llm.ops.-")] = str(self.work / "play.yml")
        return subprocess.Popen(
            command,
            env=self.fleet.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def bring(self, limit: str, **variables: Any) -> tuple[int, str]:
        """Bring it; return exit code and output."""
        play = self.start(limit, **variables)
        output, _nothing = play.communicate(timeout=300)
        return play.returncode, output

    def sent_bytes(self) -> int:
        """Return how many bytes of it left the mirror so far. The byte with which its size is asked counts for none."""
        asked = [request for request in self.content.requests if request.path.endswith("model.gguf")]
        return sum(request.sent_bytes for request in asked if request.range != "bytes=0-0")

    def state_on(self, host: str) -> str:
        """Return whole or nothing; fail when something half is published."""
        listed = self.fleet.shell(host, f"ls -A {self.published} 2>/dev/null || true").split()
        if not listed:
            return "nothing"
        assert sorted(listed) == ["manifest.json", "model.gguf"], f"half published on {host}: {listed}"
        shown = self.fleet.shell(host, f"cat {self.published}/manifest.json; sha256sum < {self.published}/model.gguf")
        brace = shown.rindex("}") + 1
        assert json.loads(shown[:brace])["files"] == {"model.gguf": self.digest}, f"wrong manifest on {host}"
        assert shown[brace:].split()[0] == self.digest, f"wrong bytes are published on {host}"
        return "whole"


def flipped(data: bytes) -> bytes:
    """Return the bytes with one bit of the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.fixture
def source(fleet: Fleet, tmp_path: Path) -> Iterator[Source]:
    """A model that no host has yet; what is left of it is taken away."""
    data = os.urandom(SIZE)
    content = Content(files={"/m/model.gguf": data}, repositories={"lab/faulty": {"model.gguf": data}})
    with Mirror(content) as mirror:
        yield Source(fleet, tmp_path, data, content, mirror.url)
    for host in HOSTS:
        fleet.shell(host, f"rm -rf {MODELS}/{NAME} {MODELS}/.incoming/{NAME}@*")
