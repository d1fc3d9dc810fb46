# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release modules from option to result, with fakes for the service manager and the wait."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils import _release_context
from ansible_collections.local_llm.ops.plugins.modules import llm_release, llm_release_info
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.release_host import FakeHost, host

__all__ = ["host"]


@pytest.fixture(autouse=True)
def _on_the_fake_host(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_release, "PATHS", host.paths)
    monkeypatch.setattr(llm_release_info, "PATHS", host.paths)
    monkeypatch.setattr(AnsibleModule, "run_command", lambda _self, command, **_more: host.run(command))
    monkeypatch.setattr(_release_context, "wait_ready", lambda **_arguments: host.readiness)


def call(module: Any, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def release(capsys: pytest.CaptureFixture[str], state: str, **arguments: Any) -> dict[str, Any]:
    return call(llm_release, capsys, instance="chat", state=state, **arguments)


def test_the_way_of_a_release_through_the_module(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    staged = release(capsys, "staged", release=host.description("v1"), listen_address="10.0.0.1")
    assert staged["changed"] and staged["release_id"] == host.identity("v1") and staged["current"] is None
    assert "llama-server" in (host.directory / "releases" / staged["release_id"] / "run").read_text()
    assert (host.directory / "host.env").read_text() == "LOCAL_LLM_ADDRESS=10.0.0.1\n"
    switched = release(capsys, "switched", release_id=staged["release_id"], rollout_id="r1")
    assert switched["armed"]["rollout_id"] == "r1"
    assert switched["seconds"] == {"ready": 1.0}
    committed = release(capsys, "committed")
    assert committed["instance_state"]["state"] == "healthy"
    assert not release(capsys, "committed")["changed"]
    (found,) = call(llm_release_info, capsys)["instances"]
    assert found["current"] == staged["release_id"]
    assert found["current_description"]["engine_version"] == "v1"
    assert (found["active_state"], found["problem"]) == ("active", None)
    assert (found["invocation"], found["restarts"]) == ("x", 0)
    assert release(capsys, "absent")["changed"]
    assert call(llm_release_info, capsys)["instances"] == []


def test_the_diff_of_staging_shows_the_current_and_the_new_description(
    host: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    release(capsys, "staged", release=host.description("v1"))
    release(capsys, "switched", release_id=host.identity("v1"))
    found = release(capsys, "staged", release=host.description("v2"), _ansible_check_mode=True, _ansible_diff=True)
    assert found["changed"]
    assert (found["diff"][1]["before"]["engine_version"], found["diff"][1]["after"]["engine_version"]) == ("v1", "v2")


def test_a_failure_still_says_where_the_instance_stands(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    release(capsys, "staged", release=host.description("v1"))
    found = release(capsys, "switched", release_id="0123456789ab")
    assert found["failed"]
    assert host.identity("v1") in found["msg"]
    assert found["releases"] == [host.identity("v1")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"instance": "../x"}, "instance '../x'"),
        ({"release_id": "latest"}, "release_id 'latest'"),
        ({"rollout_id": 'a"b'}, "rollout_id"),
        ({"commit_timeout_seconds": -1}, "commit_timeout_seconds -1"),
        ({"keep_releases": 0}, "keep_releases 0"),
    ],
)
def test_wrong_options_are_refused_with_name_and_value(
    capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], words: str
) -> None:
    found = call(llm_release, capsys, **{"instance": "chat", "state": "committed", **arguments})
    assert found["failed"] and words in found["msg"]


def test_unknown_engine_and_wrong_configuration_are_refused(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    (host.root / "engines" / "lamacpp" / "v1").mkdir(parents=True)
    assert "llamacpp" in release(capsys, "staged", release=host.description("v1", engine="lamacpp"))["msg"]
    assert "config.nope" in release(capsys, "staged", release=host.description("v1", config={"nope": 1}))["msg"]
    assert not host.directory.exists()


def test_damage_of_one_instance_is_told_and_hides_nothing_else(
    host: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    release(capsys, "staged", release=host.description("v1"))
    (host.directory / "state.json").write_text("{")
    (found,) = call(llm_release_info, capsys, instance="chat")["instances"]
    assert "state.json is damaged" in found["problem"]
    assert found["releases"] == [host.identity("v1")]
