# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about engines are well formed, agree with what the code does, and find the right range for a version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import METRIC_KEYS
from ansible_collections.local_llm.ops.plugins.module_utils._engines import (
    _llamacpp_info,
    _vllm_info,
    get_engine,
    known_engines,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts import (
    EngineFactsError,
    below_floor,
    facts_for,
    gate_facts,
    has_floor,
    load_engine_facts,
    looks_like_version,
    version_number,
    vulnerabilities,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._engine_facts_schema import engine_facts_problems, extended

ROOT = Path(__file__).parents[4]
DOCUMENT = load_engine_facts()
LINES = [(engine, line) for engine, lines in DOCUMENT["engines"].items() for line in lines]
RANGES = [(engine, line, entry) for engine, line in LINES for entry in line["ranges"]]
# Ranges with versions that are not refused: what the collection starts.
SERVED = [
    (engine, line, entry) for engine, line, entry in RANGES if line["safe_floor"] is None or entry is line["ranges"][0]
]
NAMES = [f"{engine} {line['numbering']} {entry['versions']}" for engine, line, entry in RANGES]
# The names that each engine's reader knows for a normalised metric.
METRICS: dict[str, dict[str, tuple[str, ...]]] = {
    "vllm": dict(_vllm_info.METRICS),
    "llamacpp": {key: (name,) for key, name in _llamacpp_info.METRICS.items()},
    "ollama": {},
}


def test_the_file_has_the_engines_of_the_collection() -> None:
    assert sorted(DOCUMENT["engines"]) == known_engines()


def test_every_source_is_used() -> None:
    used = {key for _e, _l, entry in RANGES for key in entry["source"]}
    used |= {key for _engine, line in LINES for item in line["vulnerabilities"] for key in item["source"]}
    assert set(DOCUMENT["sources"]) == used


@pytest.mark.parametrize(("engine", "line", "entry"), RANGES, ids=NAMES)
def test_metrics_are_those_that_llm_info_reads(engine: str, line: Any, entry: Any) -> None:
    assert set(entry["metrics"]) == set(METRICS[engine])
    assert set(entry["metrics"]) <= set(METRIC_KEYS)
    for key, name in entry["metrics"].items():
        assert name is None or name in METRICS[engine][key]


@pytest.mark.parametrize(("engine", "line", "entry"), RANGES, ids=NAMES)
def test_health_path_is_the_one_of_the_engine(engine: str, line: Any, entry: Any) -> None:
    assert entry["health_path"] == get_engine(engine).health_path


@pytest.mark.parametrize(("engine", "line", "entry"), SERVED)
def test_no_release_uses_a_flag_that_was_removed(engine: str, line: Any, entry: Any) -> None:
    assert {*entry["removed"], *entry["renamed"]}.isdisjoint(get_engine(engine).required_flags)


def test_the_gateway_lets_through_what_the_facts_say() -> None:
    defaults = yaml.safe_load((ROOT / "roles/gateway/defaults/main.yml").read_text(encoding="utf-8"))
    for _engine, _line, entry in RANGES:
        assert defaults["gateway_allowed_paths"] == entry["allowed_paths"]


@pytest.mark.parametrize("engine", known_engines())
def test_each_role_asks_the_same_place_about_unsafe_versions(engine: str) -> None:
    first = yaml.safe_load((ROOT / f"roles/{engine}/tasks/main.yml").read_text(encoding="utf-8"))[0]
    assert first["loop"] == f"{{{{ {engine}_versions }}}}"
    assert f"unsafe_version('{engine}', local_llm_allow_unsafe_versions" in first["vars"][f"__{engine}_refusal"]


@pytest.mark.parametrize(("engine", "line"), LINES)
def test_ranges_of_a_numbering_do_not_overlap(engine: str, line: Any) -> None:
    edges = {text for entry in line["ranges"] for text in re.findall(r"[\d.]+", entry["versions"])}
    for edge in edges:
        found = [e["versions"] for e in line["ranges"] if SpecifierSet(e["versions"]).contains(Version(edge))]
        assert len(found) <= 1


@pytest.mark.parametrize(("engine", "line"), LINES)
def test_a_floor_is_above_every_hole_that_was_mended_and_is_certain(engine: str, line: Any) -> None:
    for item in line["vulnerabilities"]:
        if item["fixed_in"] is not None:
            fixed = version_number(item["fixed_in"], line["numbering"])
            floor = version_number(line["safe_floor"], line["numbering"])
            assert fixed is not None and floor is not None and fixed <= floor


@pytest.mark.parametrize(
    ("engine", "version", "below"),
    [
        ("vllm", "0.21.0", True),
        ("vllm", "0.22.0rc1", True),
        ("vllm", "0.22.0", False),
        ("vllm", "v0.33.0", False),
        ("vllm", "0.33.0+cu129", False),
        ("vllm", "0.21.2-patched", True),
        ("vllm", "0.100.0", False),
        ("vllm", "nightly", None),
        ("vllm", "7", None),
        ("ollama", "0.17.0", True),
        ("ollama", "0.17.1-rocm", False),
        ("ollama", "0.9.10", True),
        ("llamacpp", "0.7.0", False),
        ("llamacpp", "0.7.0-exits", False),
        ("llamacpp", "0.7.0-deb", False),
        ("llamacpp", "1:0.7.0+dfsg-2", False),
        ("llamacpp", "b8000", True),
        ("llamacpp", "b11669", False),
        ("llamacpp", "b11669-Debian", False),
        ("llamacpp", "mine", None),
        ("sglang", "0.5.0", None),
    ],
)
def test_a_version_is_below_the_floor_or_not_or_cannot_be_told(engine: str, version: str, below: bool | None) -> None:
    assert below_floor(engine, version) is below


def test_names_that_say_a_version_are_told_from_other_text() -> None:
    assert all(looks_like_version(name) for name in ("0.21.0", "v1", "b12", "7", "1:0.7"))
    assert not any(looks_like_version(name) for name in ("nightly", "mine-2", "build", "vanilla"))
    assert [has_floor(name) for name in ("vllm", "ollama", "llamacpp", "sglang")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("engine", "version", "ids"),
    [
        ("vllm", "0.21.0", {"CVE-2026-48746"}),
        ("vllm", "0.14.0", {"CVE-2026-48746", "CVE-2026-27893", "CVE-2026-22778", "CVE-2026-24779"}),
        ("vllm", "0.33.0", set()),
        ("ollama", "0.17.0", {"CVE-2026-7482"}),
        ("ollama", "0.32.15", set()),
        ("llamacpp", "b8200", {"CVE-2026-21869"}),
        ("llamacpp", "mine", set()),
    ],
)
def test_a_version_has_the_mended_holes_of_its_range(engine: str, version: str, ids: set[str]) -> None:
    assert {item["id"] for item in vulnerabilities(engine, version) if item["fixed_in"]} == ids


@pytest.mark.parametrize(
    ("engine", "version", "driver", "capability"),
    [
        ("vllm", "0.33.0", "580", "7.5"),
        ("vllm", "0.33.0-cu129", "525", "7.5"),
        ("vllm", "0.33.0+cpu", None, None),
        ("ollama", "0.32.15", "550", "5.0"),
        ("llamacpp", "0.7.0", None, None),
    ],
)
def test_the_gate_gets_driver_and_capability(
    engine: str, version: str, driver: str | None, capability: str | None
) -> None:
    facts = gate_facts(engine, version)
    assert (facts["cuda"] or {}).get("minimum_driver") == driver
    assert facts["minimum_compute_capability"] == capability


@pytest.mark.parametrize(("engine", "version"), [("vllm", "0.15.0"), ("vllm", "9.9"), ("vllm", "x"), ("nobody", "1.0")])
def test_what_is_not_verified_or_not_known_refuses_nothing(engine: str, version: str) -> None:
    assert gate_facts(engine, version) == {}


def test_facts_of_a_version_have_every_key_of_the_contract() -> None:
    facts = facts_for("vllm", "0.33.0")
    assert facts is not None
    assert {
        "engine", "versions", "default_port", "flags", "renamed", "removed", "open_endpoints", "allowed_paths",
        "metrics", "cuda", "minimum_compute_capability", "vulnerabilities", "safe_floor", "source",
    } <= set(facts)  # fmt: skip
    facts["flags"].clear()
    again = facts_for("vllm", "0.33.0")
    assert again is not None and again["flags"], "facts are handed out as copies"


def test_only_open_paths_are_open_and_only_safe_ones_let_through() -> None:
    facts = facts_for("vllm", "0.33.0")
    assert facts is not None
    assert "/invocations" in facts["open_endpoints"] and "/invocations" in facts["blocked_paths"]
    ollama = facts_for("ollama", "0.32.15")
    assert ollama is not None
    blocked = {f"/api/{name}" for name in ("create", "push", "pull", "delete", "copy", "blobs", "signout")}
    assert blocked <= set(ollama["blocked_paths"]) <= set(ollama["open_endpoints"])


VLLM = "engines", "vllm", 0
BROKEN: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "schema": (("schema",), 2, "schema: 2 is not known"),
    "unknown key": (
        (*VLLM, "ranges", 0, "health_pth"),
        "/x",
        "vllm release >=0.23,<0.34: health_pth: no such key. Did you mean health_path?",
    ),
    "range": (
        (*VLLM, "ranges", 0, "versions"),
        "0.22",
        "vllm release 0.22: versions: '0.22' is no range. Write it as in \">=0.22,<0.34\".",
    ),
    "port": ((*VLLM, "ranges", 0, "default_port"), "8000", "default_port: '8000' is not a port."),
    "path": ((*VLLM, "ranges", 0, "open_endpoints"), ["health"], "open_endpoints: ['health'] is not a list of paths"),
    "method": (
        (*VLLM, "ranges", 0, "allowed_paths"),
        [{"path": "/v1/models", "methods": ["GETS"]}],
        "is not a list of {path: /..., methods: [GET, POST, ...]}",
    ),
    "allowed and blocked": (
        (*VLLM, "ranges", 0, "blocked_paths"),
        ["/v1/models"],
        "allowed_paths: /v1/models is among blocked_paths too",
    ),
    "flag twice": ((*VLLM, "ranges", 0, "removed"), ["--port"], "flags: --port is among removed too"),
    "driver": (
        (*VLLM, "ranges", 0, "cuda"),
        {"major": 13, "minimum_driver": 580},
        'cuda.minimum_driver: 580 is no text. Put it in quotes: "580".',
    ),
    "capability": ((*VLLM, "ranges", 0, "minimum_compute_capability"), 7.5, "minimum_compute_capability: 7.5 is not"),
    "source": ((*VLLM, "ranges", 0, "source"), ["vllm_sorce"], "'vllm_sorce' is not among the sources. Did you mean"),
    "floor": ((*VLLM, "safe_floor"), "0.22.x", "vllm release: safe_floor: '0.22.x' is no version of this numbering"),
    "severity": ((*VLLM, "vulnerabilities", 0, "severity"), "bad", "CVE-2026-48746: severity: 'bad' is none of"),
    "fixed in": ((*VLLM, "vulnerabilities", 0, "fixed_in"), 0.22, "CVE-2026-48746: fixed_in: 0.22 is no version"),
    "verified": ((*VLLM, "vulnerabilities", 0, "verified"), "no", "verified: 'no' is neither true nor false"),
    "no ranges": ((*VLLM, "ranges"), [], "vllm release: ranges: [] is no list with at least one range"),
    "numbering": ((*VLLM, "numbering"), "dates", "vllm: numbering: 'dates' is none of release, build"),
    "no engines": (("engines",), {}, "engines: it is missing"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_fault_in_the_file_names_engine_range_key_value_and_fix(case: str) -> None:
    where, value, text = BROKEN[case]
    document: Any = load_engine_facts()
    place = document
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    assert [line for line in engine_facts_problems(document) if text in line], engine_facts_problems(document)


def test_a_range_takes_from_the_one_that_it_extends_what_it_does_not_say_itself() -> None:
    raw = yaml.safe_load((ROOT / "plugins/plugin_utils/engine_facts.yml").read_text(encoding="utf-8"))
    assert not any("<<" in entry for lines in raw["engines"].values() for line in lines for entry in line["ranges"])
    whole, problems = extended(raw)
    first, second = whole["engines"]["vllm"][0]["ranges"][:2]
    assert problems == [] and not {"name", "extends"} & {*first, *second}
    assert second["flags"] == first["flags"] and second["versions"] != first["versions"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"extends": "vllm_nwo"}, "extends: 'vllm_nwo' is no such range. Did you mean vllm_now?"),
        ({"name": "vllm_now"}, "vllm: name: vllm_now is there twice"),
    ],
)
def test_a_range_that_extends_nothing_that_is_there_is_told(change: dict[str, str], text: str) -> None:
    raw = yaml.safe_load((ROOT / "plugins/plugin_utils/engine_facts.yml").read_text(encoding="utf-8"))
    raw["engines"]["vllm"][0]["ranges"][1].update(change)
    assert any(text in line for line in extended(raw)[1])


def test_a_missing_key_is_told() -> None:
    document = load_engine_facts()
    del document["engines"]["ollama"][0]["ranges"][0]["cuda"]
    assert engine_facts_problems(document) == ["ollama release >=0.17.1,<0.34: cuda: it is missing. Add it."]


@pytest.mark.parametrize("text", ["", "[", "schema: 1"])
def test_a_file_that_cannot_be_used_is_an_error_with_a_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "facts.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EngineFactsError, match=r"no dictionary|cannot be read|is missing"):
        load_engine_facts(path)


def test_a_file_that_is_not_there_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EngineFactsError, match="cannot be read"):
        load_engine_facts(tmp_path / "nowhere.yml")
