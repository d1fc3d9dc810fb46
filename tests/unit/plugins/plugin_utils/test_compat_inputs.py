# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compatibility gate is asked about, and that each model is read once for the whole fleet."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._model_headers._reader import HeaderError
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat_inputs import (
    compat_inputs,
    judged_of_plan,
    judged_of_site,
    model_key,
)

DESCRIPTION = {
    "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "model_revision": "r1",
    "model_manifest_sha256": "a" * 64, "model_entry": "m.gguf", "gpus": "none", "config": {"context_tokens": 64},
}  # fmt: skip
DIRECTORY = {"tiny": {"source": "directory", "path": "/models/tiny", "files": {"m.gguf": "a" * 64}, "allow": ["x.py"]}}
REMOTE = {"tiny": {"source": "hf"}}


class Reader:
    """Stands for the reader of headers; remembers what it was asked for."""

    def __init__(self, error: str = "") -> None:
        self.error = error
        self.asked: list[tuple[str, str]] = []

    def __call__(self, path: str, entry: str) -> dict[str, Any]:
        self.asked.append((path, entry))
        if self.error:
            raise HeaderError(self.error)
        return {"format": "gguf"}


def fleet(models: dict[str, Any], hosts: int = 3, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [f"gpu{number}" for number in range(1, hosts + 1)]
    desired = {
        host: {"chat": {"description": {**DESCRIPTION, **changes}}, "two": {"description": DESCRIPTION}}
        for host in names
    }
    return desired, {host: {"local_llm_models": models} for host in names}


def test_a_model_of_the_controller_is_read_once_for_all_hosts() -> None:
    read = Reader()
    desired, variables = fleet(DIRECTORY)
    found = compat_inputs(desired, variables, {host: ["chat"] for host in desired}, read)
    assert read.asked == [("/models/tiny", "m.gguf")]
    assert found["models"] == {model_key(DESCRIPTION): {"format": "gguf"}}
    assert found["findings"] == []


def test_only_hosts_that_change_are_judged_with_all_their_instances() -> None:
    desired, variables = fleet(DIRECTORY)
    found = compat_inputs(desired, variables, {"gpu2": ["chat"], "gpu3": []}, Reader())
    assert list(found["hosts"]) == ["gpu2"]
    assert found["hosts"]["gpu2"]["judge"] == ["chat"]
    assert [item["name"] for item in found["hosts"]["gpu2"]["instances"]] == ["chat", "two"]
    assert set(found["hosts"]["gpu2"]["instances"][0]) == {
        "name",
        "model",
        "engine",
        "engine_version",
        "gpus",
        "config",
        "allow",
        "files",
    }


def test_what_the_site_allows_of_a_model_goes_to_the_gate_with_the_files_that_belong_to_it() -> None:
    desired, variables = fleet(DIRECTORY, hosts=1)
    item = compat_inputs(desired, variables, {"gpu1": ["chat"]}, Reader())["hosts"]["gpu1"]["instances"][0]
    assert (item["allow"], item["files"]) == (["x.py"], ["m.gguf"])
    desired, variables = fleet(REMOTE, hosts=1)
    item = compat_inputs(desired, variables, {"gpu1": ["chat"]}, Reader())["hosts"]["gpu1"]["instances"][0]
    assert item["allow"] == [] and "files" not in item


def test_nothing_is_read_when_nothing_changes() -> None:
    read = Reader()
    desired, variables = fleet(DIRECTORY)
    assert compat_inputs(desired, variables, {}, read) == {"hosts": {}, "models": {}, "findings": []}
    assert read.asked == []


def test_a_model_from_the_network_is_left_to_the_host() -> None:
    read = Reader()
    desired, variables = fleet(REMOTE, hosts=1)
    found = compat_inputs(desired, variables, {"gpu1": ["chat"]}, read)
    assert (read.asked, found["models"]) == ([], {})
    assert found["hosts"]["gpu1"]["models"] == {
        model_key(DESCRIPTION): {"model": "tiny", "model_revision": "r1", "model_entry": "m.gguf"}
    }


def test_a_header_that_cannot_be_used_is_one_warning_and_no_refusal() -> None:
    read = Reader("/models/tiny/m.gguf: ends too early. Copy the file again.")
    desired, variables = fleet(DIRECTORY)
    found = compat_inputs(desired, variables, {host: ["chat"] for host in desired}, read)
    assert len(read.asked) == 1
    assert [(item["status"], item["subject"]) for item in found["findings"]] == [("warn", "model tiny r1")]
    assert "ends too early" in found["findings"][0]["observed"]


def test_two_contents_under_one_name_are_two_models() -> None:
    read = Reader()
    desired, variables = fleet(DIRECTORY, hosts=1, model_manifest_sha256="b" * 64)
    found = compat_inputs(desired, variables, {"gpu1": ["chat"]}, read)
    assert len(found["models"]) == 2
    assert len({item["model"] for item in found["hosts"]["gpu1"]["instances"]}) == 2


def test_an_upgrade_judges_what_it_moves() -> None:
    actions = {"chat": {"action": "upgrade"}, "two": {"action": "none"}, "three": {"action": "resume"}}
    assert judged_of_plan({"hosts": {"gpu1": actions}}) == {"gpu1": ["chat", "three"]}


def test_site_judges_what_does_not_serve_yet() -> None:
    desired: dict[str, Any] = {"gpu1": {"chat": {}, "new": {}, "half": {}}, "gpu2": {"chat": {}}}
    listed = [
        {"instance": "chat", "current": "abc", "instance_state": {"state": "healthy"}},
        {"instance": "half", "current": "abc", "instance_state": {"state": "warming"}},
        {"instance": "new", "current": None, "instance_state": None},
    ]
    infos = {"gpu1": {"instances": listed}, "gpu2": {"failed": True}}
    assert judged_of_site(desired, infos) == {"gpu1": ["new", "half"], "gpu2": ["chat"]}
