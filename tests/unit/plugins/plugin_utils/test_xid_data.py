# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy files cover every code, are well formed, and a site can override single codes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import REMEDIES
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._xid_policy import entry
from ansible_collections.local_llm.ops.plugins.plugin_utils._xid_data import (
    PolicyError,
    load_policies,
    merge_overrides,
    policy_problems,
)

# Every code that the catalogue explains or that a tool acts on; each has an entry of its own.
EXPLAINED = {
    *(
        8,
        11,
        13,
        25,
        31,
        32,
        37,
        38,
        39,
        40,
        41,
        43,
        44,
        45,
        46,
        48,
        54,
        60,
        61,
        62,
        63,
        64,
        66,
        67,
        68,
        69,
        70,
        71,
        72,
    ),
    *(74, 75, 76, 77, 78, 79, 80, 82, 83, 84, 85, 86, 88, 89, 92, 93, 94, 95, 96, 97, 98, 99),
    *range(100, 111),
    *range(119, 138),
    *range(139, 174),
}
ALWAYS_FATAL_SXIDS = {12020, 22003, 22011, *range(23001, 23018)}


@pytest.fixture(scope="module")
def policies() -> dict[str, dict[str, Any]]:
    return load_policies()


def test_every_explained_code_has_its_own_entry_with_a_source(policies: dict[str, Any]) -> None:
    codes = policies["xid"]["codes"]
    assert set(codes) == EXPLAINED
    assert all(codes[code]["source"] in policies["xid"]["sources"] and codes[code]["nvidia"] for code in codes)
    assert all(codes[code]["reason"] for code in codes)


def test_every_number_of_the_catalogue_is_there_once(policies: dict[str, Any]) -> None:
    unused = [code for group in policies["xid"]["groups"] for code in group["codes"]]
    assert sorted([*EXPLAINED, *unused]) == list(range(1, 174))


def test_an_unknown_or_unused_code_never_resets_or_reboots(policies: dict[str, Any]) -> None:
    for code in (1, 57, 174, 999):
        found = entry(policies["xid"], code)
        assert (found["status"], found["remedy"], found.get("then")) == ("warn", "none", None)


def test_fatal_switch_errors_are_fatal_whatever_word_is_printed(policies: dict[str, Any]) -> None:
    for code in {*ALWAYS_FATAL_SXIDS, 10003, 10006, 10007, 10008, 12028, 12032, 14017}:
        assert entry(policies["sxid"], code)["status"] == "fail", code
    assert entry(policies["sxid"], 11004)["remedy"] == "configure"
    assert entry(policies["sxid"], 10004)["status"] == "warn"


def test_the_nvlink_table_covers_all_its_codes(policies: dict[str, Any]) -> None:
    units = policies["nvlink5"]["units"]
    assert {units[rule["unit"]]["xid"] for rule in policies["nvlink5"]["rules"]} == set(range(144, 151))
    assert sum(len(rule["error_status"]) for rule in policies["nvlink5"]["rules"]) == 94


def test_tools_that_contradict_each_other_are_named(policies: dict[str, Any]) -> None:
    for code in (32, 38, 44, 61, 62, 63, 68, 69, 92, 94, 109, 121):
        assert policies["xid"]["codes"][code]["disagreements"], code


def test_loading_gives_a_copy_that_may_be_changed() -> None:
    load_policies()["xid"]["codes"].clear()
    assert load_policies()["xid"]["codes"]


def test_what_goes_to_the_host_is_small_and_survives_json(policies: dict[str, Any]) -> None:
    text = json.dumps(merge_overrides(policies, {}))
    assert len(text) < 64_000
    again = json.loads(text)
    for code in (79, 13, 57, 999):
        full, lean = entry(policies["xid"], code), entry(again["xid"], code)
        assert all(full.get(key) == lean.get(key) for key in ("meaning", "status", "remedy", "then", "joins", "advice"))


@pytest.mark.parametrize(
    ("code", "wanted", "status", "remedy"),
    [
        (79, {"severity": "warning", "action": "none"}, "warn", "none"),
        ("79", {"severity": "info"}, "ok", "reboot"),
        (43, {"severity": "critical", "remedy": "reset_gpu"}, "fail", "reset_gpu"),
        (57, {"severity": "critical", "action": "hardware"}, "fail", "hardware"),
        (999, {"severity": "info", "action": "none"}, "ok", "none"),
        (31, {"action": "none"}, "warn", "none"),
    ],
)
def test_a_site_overrides_single_codes(
    policies: dict[str, Any], code: Any, wanted: dict[str, str], status: str, remedy: str
) -> None:
    merged = merge_overrides(policies, {code: wanted})
    found = entry(merged["xid"], int(code))
    assert (found["status"], found["remedy"], found["overridden"]) == (status, remedy, True)
    assert entry(merged["xid"], 48)["status"] == "fail"
    assert ("then" in found) == (code == 31), "a severity of one's own does not escalate by itself"


def test_a_number_of_a_switch_error_overrides_the_switch_policy(policies: dict[str, Any]) -> None:
    merged = merge_overrides(policies, {12028: {"severity": "info", "action": "none"}})
    assert entry(merged["sxid"], 12028)["status"] == "ok"
    assert "12028" not in merged["xid"]["codes"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([79], ["xid_overrides", "no dictionary"]),
        ({"seventy": {"severity": "info"}}, ["seventy", "whole number", "79"]),
        ({-1: {"severity": "info"}}, ["-1", "whole number"]),
        ({True: {"severity": "info"}}, ["True", "whole number"]),
        ({79: {"severity": "fatal"}}, ["xid_overrides.79.severity", "'fatal'", "info, warning, critical"]),
        ({79: {"action": "boot"}}, ["xid_overrides.79.action", "'boot'", "Did you mean reboot?"]),
        ({79: {"sevrity": "info"}}, ["xid_overrides.79", "sevrity", "Did you mean severity?"]),
        ({79: "critical"}, ["xid_overrides.79", "'critical'"]),
        ({79: {}}, ["xid_overrides.79"]),
        ({79: {"action": "none", "remedy": "reboot"}}, ["xid_overrides.79", "same thing"]),
    ],
)
def test_a_wrong_override_is_refused_with_code_value_and_fix(
    policies: dict[str, Any], overrides: Any, words: list[str]
) -> None:
    with pytest.raises(PolicyError) as caught:
        merge_overrides(policies, overrides)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        ("xid", ["schema"], 2, ["schema", "2", "schema 1"]),
        ("xid", ["sources"], {}, ["sources", "missing"]),
        ("xid", ["codes"], {}, ["codes", "missing"]),
        ("xid", ["codes", "x1"], {}, ["'x1'", "whole number"]),
        ("xid", ["codes", 79, "severity"], "fatal", ["code 79", "severity", "'fatal'"]),
        ("xid", ["codes", 79, "severity"], "info", ["code 79", "severity info", "ok"]),
        ("xid", ["codes", 79, "remedy"], "power_cycle", ["code 79", "remedy", "'power_cycle'", *REMEDIES]),
        ("xid", ["codes", 79, "meaning"], "", ["code 79", "meaning"]),
        ("xid", ["codes", 79, "sauce"], "x", ["code 79", "sauce", "Did you mean source?"]),
        ("xid", ["codes", 79, "source"], "rumour", ["code 79", "source", "'rumour'"]),
        (
            "xid",
            ["codes", 79, "then"],
            {"remedy": "hardware", "count": 0, "within_seconds": 5},
            ["code 79", "then.count"],
        ),
        ("xid", ["codes", 79, "disagreements"], [{"who": "nobody", "says": "x"}], ["code 79", "'nobody'"]),
        ("xid", ["codes", 79], "critical", ["code 79", "'critical'"]),
        ("xid", ["groups", 0, "codes"], [79], ["79", "twice"]),
        ("xid", ["rules", "burst_seconds"], "soon", ["burst_seconds", "'soon'"]),
        ("xid", ["recovery_actions", 1, "remedy"], "pray", ["recovery_actions.1", "'pray'"]),
        ("sxid", ["codes", 12028, "status"], "bad", ["code 12028", "'bad'"]),
        ("nvlink5", ["rules", 0, "unit"], "SAW", ["rules[0]", "'SAW'"]),
        ("nvlink5", ["rules", 0, "error_status"], 1, ["rules[0]", "error_status"]),
        ("nvlink5", ["units"], {}, ["units", "missing"]),
    ],
)
def test_a_malformed_policy_is_refused_with_code_key_and_value(
    policies: dict[str, Any], name: str, path: list[Any], value: Any, words: list[str]
) -> None:
    document = copy.deepcopy(policies[name])
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    problems = policy_problems(name, document)
    assert any(all(word in problem for word in words) for problem in problems), problems


def test_a_policy_that_is_no_dictionary_is_refused() -> None:
    assert policy_problems("xid", ["x"]) and policy_problems("nvlink5", None)


def test_a_missing_file_is_a_policy_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"xid_policy\.yml: it cannot be read"):
        load_policies(tmp_path)
