# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight module looks and never changes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils import _preflight_host
from ansible_collections.local_llm.ops.plugins.modules import llm_preflight
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.model_headers.model_files import write_gguf


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with (
        patch_module_args({"_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False, **arguments}),
        pytest.raises(SystemExit),
    ):
        llm_preflight.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def instance(port: int, **values: Any) -> dict[str, Any]:
    description = {"engine": "llamacpp", "engine_version": "9.9", "model": "m", "model_revision": "r", "port": port}
    return {"instance": "chat", "description": description, "model_bytes": 1000, **values}


def test_a_taken_port_names_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        result = run(capsys, instances=[instance(server.getsockname()[1])])
    port = next(item for item in result["findings"] if item["check"] == "port")
    assert port["status"] == "fail"
    assert f"process {os.getpid()}" in port["observed"]
    assert (result["changed"], result["ok"], result.get("failed", False)) == (False, False, False)


def test_a_model_larger_than_the_disk_fails_when_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, instances=[instance(1, model_bytes=1 << 60)], fail=True)
    assert result["failed"]
    assert "model m r (1048576.0 TiB)" in result["msg"]


def test_every_check_reports(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys)["findings"]
    assert {item["check"] for item in found} == {"systemd", "python", "prepared", "disk", "memory", "clock"}


def test_it_tells_the_memory_and_reads_the_models_that_are_published(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_preflight_host.read_published_models, "__defaults__", (str(tmp_path),))
    for name in ("good", "bad"):
        (tmp_path / name / "r1").mkdir(parents=True)
        (tmp_path / name / "r1" / "manifest.json").write_text("{}")
    write_gguf(tmp_path / "good" / "r1" / "m.gguf", {"general.architecture": "llama"}, [("a", [32, 4], 0)])
    (tmp_path / "bad" / "r1" / "m.gguf").write_bytes(b"GGUF")
    models = {
        f"{name}@x": {"model": name, "model_revision": "r1", "model_entry": "m.gguf"}
        for name in ("good", "bad", "absent")
    }
    result = run(capsys, models=models, fail=False)
    assert result["memory_total_bytes"] > 0
    assert list(result["models"]) == ["good@x"]
    assert result["models"]["good@x"]["format"] == "gguf"
    found = [item for item in result["findings"] if item["check"] == "model_facts"]
    assert [(item["status"], item["subject"]) for item in found] == [("warn", "model bad@x")]


def test_a_model_to_read_without_its_keys_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "models: x needs model, model_revision" in run(capsys, models={"x": {"model": "m"}})["msg"]


def test_a_description_without_its_keys_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, instances=[{"instance": "chat", "description": {"port": 1}}])
    assert "the description of chat lacks engine, engine_version" in result["msg"]
