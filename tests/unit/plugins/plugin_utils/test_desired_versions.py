# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engine versions with known holes are refused with their names, unless the site allows them by name."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_versions import (
    check_allowed_versions,
    check_compat_mode,
    check_version,
    without_version_refusals,
)

ENGINES = ("llamacpp", "ollama", "vllm")


def check(engine: str, version: str, allowed: Any = None) -> list[dict[str, Any]]:
    out = Collector()
    out.host = "gpu1"
    names = check_allowed_versions(allowed, ENGINES, out)
    check_version("local_llm_instances[0]", {"engine": engine, "engine_version": version}, names, out)
    return out.findings()


def test_a_version_below_the_floor_is_refused_with_its_holes_and_the_way_out() -> None:
    found = check("vllm", "0.21.0")
    assert [item["status"] for item in found] == ["fail"]
    line = finding_line(found[0])
    assert "local_llm_instances[0].engine_version on gpu1" in line
    assert "found: 0.21.0; expected: vllm 0.22.0 or newer" in line
    assert "CVE-2026-48746 (critical): a client gets in without the API key" in line
    assert 'local_llm_allow_unsafe_versions: {vllm: ["0.21.0"]}' in line


def test_what_no_version_mends_is_no_reason_to_refuse_an_old_one() -> None:
    assert "vllm-invocations" not in finding_line(check("vllm", "0.21.0")[0])


def test_a_version_that_is_allowed_by_name_is_a_warning_only() -> None:
    found = check("vllm", "0.21.0", {"vllm": ["0.21.0"]})
    assert [item["status"] for item in found] == ["warn"]
    assert "Allowed by name" in found[0]["action"] and "CVE-2026-48746" in found[0]["action"]
    assert failures(check("vllm", "0.21.1", {"vllm": ["0.21.0"]})), "only the very name is allowed"
    assert failures(check("vllm", "0.21.0", {"ollama": ["0.21.0"]}))


@pytest.mark.parametrize(
    ("engine", "version"),
    [
        ("vllm", "0.33.0"),
        ("ollama", "0.17.1"),
        ("llamacpp", "0.7.0"),
        ("llamacpp", "0.7.0-exits"),
        ("llamacpp", "0.7.0-deb"),
        ("llamacpp", "9.9"),
        ("llamacpp", "b11669"),
        ("llamacpp", "mine"),
        ("vllm", "nightly"),
        ("sglang", "1"),
    ],
)
def test_safe_versions_and_free_names_have_no_findings(engine: str, version: str) -> None:
    assert check(engine, version) == []


def test_a_version_that_cannot_be_compared_is_a_warning() -> None:
    found = check("vllm", "21")
    assert [(item["check"], item["status"]) for item in found] == [("unknown_version", "warn")]
    assert check("vllm", "21", {"vllm": ["21"]}) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["0.21.0"], ["local_llm_allow_unsafe_versions", "a mapping", 'vllm: ["0.21.0"]']),
        ({"vlm": ["0.21.0"]}, ["local_llm_allow_unsafe_versions.vlm", "Did you mean vllm?"]),
        ({"vllm": "0.21.0"}, ["local_llm_allow_unsafe_versions.vllm", "a list of texts"]),
        ({"vllm": [0.21]}, ["[0.21]", "in quotes"]),
    ],
)
def test_a_malformed_permission_is_refused_and_allows_nothing(value: Any, words: list[str]) -> None:
    found = failures(check("vllm", "0.21.0", value))
    assert len(found) == 2
    assert [word for word in words if word not in finding_line(found[0])] == []


def test_a_mode_of_the_gate_that_does_not_exist_is_refused() -> None:
    out = Collector()
    for mode in (None, "refuse", "warn", "ignore"):
        check_compat_mode(mode, out)
    assert out.findings() == []
    check_compat_mode("refuze", out)
    check_compat_mode(False, out)
    lines = [finding_line(item) for item in out.findings()]
    assert "local_llm_compat" in lines[0] and "Did you mean refuse?" in lines[0]
    assert "Choose one of refuse, warn, ignore" in lines[1]


def test_on_the_way_back_holes_are_warnings_and_other_faults_stay() -> None:
    other = {"check": "engine", "status": "fail"}
    found = without_version_refusals([*check("vllm", "0.21.0"), other])
    assert [(item["check"], item["status"]) for item in found] == [("unsafe_version", "warn"), ("engine", "fail")]
