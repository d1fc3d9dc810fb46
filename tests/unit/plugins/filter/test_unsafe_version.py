# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that the roles of the engines ask: unsafe versions are refused by the same facts as in the inventory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.filter.unsafe_version import FilterModule, unsafe_version
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import safe_floor


@pytest.mark.parametrize(
    ("engine", "version"), [("vllm", "0.21.0"), ("ollama", "0.17.0-rocm"), ("llamacpp", "b8910"), ("vllm", "0.22.0rc1")]
)
def test_a_version_below_the_floor_is_refused_with_holes_and_way_out(engine: str, version: str) -> None:
    text = unsafe_version(version, engine, {})
    assert text.startswith(f"{engine} {version} is below {safe_floor(engine, version)}. Known holes: CVE-")
    assert f'local_llm_allow_unsafe_versions: {{{engine}: ["{version}"]}}' in text
    assert unsafe_version(version, engine, {engine: [version]}) == ""


@pytest.mark.parametrize(
    ("engine", "version"),
    [("vllm", "0.22.0"), ("ollama", "0.17.1"), ("llamacpp", "0.7.0-deb"), ("llamacpp", "b8911"), ("vllm", "mine")],
)
def test_other_versions_are_not_refused(engine: str, version: str) -> None:
    assert unsafe_version(version, engine) == ""


@pytest.mark.parametrize("allowed", [["0.21.0"], {"vllm": "0.21.0"}])
def test_a_malformed_permission_is_an_error_with_the_right_form(allowed: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r'\{vllm: \["0.21.0"\]\}'):
        unsafe_version("0.21.0", "vllm", allowed)


def test_the_filter_has_the_name_of_its_file() -> None:
    assert list(FilterModule().filters()) == ["unsafe_version"]
