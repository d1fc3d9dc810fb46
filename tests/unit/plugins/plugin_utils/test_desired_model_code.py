# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model on the controller that brings code of its own is refused with the inventory, unless it is allowed by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import ControllerFiles
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_sources import check_model_use, check_models

PLAIN = {"model_type": "llama"}
AUTO_MAP = {"model_type": "x", "auto_map": {"AutoModel": "modeling_x.Model"}}


def check(tmp_path: Path, allow: list[str], files: dict[str, Any]) -> list[str]:
    digests = {}
    for name, content in files.items():
        data = json.dumps(content).encode()
        (tmp_path / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    out = Collector()
    model = {"source": "directory", "path": str(tmp_path), "revision": "r1", "files": digests, "allow": allow}
    models = check_models({"m": model}, out)
    check_model_use("local_llm_instances[0]", {"model": "m", "engine": "vllm"}, models, ControllerFiles(), out)
    return [finding_line(item) for item in out.findings()]


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_a_configuration_that_names_code_is_refused_and_says_how_to_allow_it(tmp_path: Path, name: str) -> None:
    (line,) = check(tmp_path, [], {"config.json": PLAIN, name: AUTO_MAP})
    assert f"local_llm_models.m.files[{name}]" in line
    assert "auto_map" in line and "list auto_map in allow" in line
    assert check(tmp_path, ["auto_map"], {"config.json": PLAIN, name: AUTO_MAP}) == []


def test_a_plain_model_is_fine(tmp_path: Path) -> None:
    assert check(tmp_path, [], {"config.json": PLAIN, "tokenizer.json": AUTO_MAP}) == []


def test_a_file_of_code_is_refused_unless_it_is_named(tmp_path: Path) -> None:
    assert "modeling_x.py, which is program code" in check(tmp_path, [], {"config.json": PLAIN, "modeling_x.py": ""})[0]
    assert check(tmp_path, ["modeling_x.py"], {"config.json": PLAIN, "modeling_x.py": ""}) == []
