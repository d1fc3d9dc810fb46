# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of roles say the same as their defaults: names, types, values; and they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

CHECKOUT = Path(__file__).resolve().parents[2]
ROLES = sorted(p.name for p in (CHECKOUT / "roles").glob("*") if p.is_dir() and not p.name.startswith("_"))
# What a role may ask of the inventory without a default of its own: variables that all roles share.
SHARED_PREFIX = "local_llm_"
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "bytes": (int, str),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "raw": (object,),
    "str": (str,),
}


def load(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an absent or empty file is an empty mapping."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def entry_points(role: str) -> dict[str, dict[str, Any]]:
    """Return the argument specs of a role by entry point."""
    return load(CHECKOUT / "roles" / role / "meta" / "argument_specs.yml").get("argument_specs", {})


def is_template(value: Any) -> bool:
    """Say whether a default is worked out only when the role runs."""
    return isinstance(value, str) and "{{" in value


def unstatable(option: dict[str, Any], value: Any) -> bool:
    """Say whether a spec cannot state a default: a template is a text, which antsibull-docs takes for a wrong type."""
    return is_template(value) and option.get("type") not in ("str", "path", "raw") and not option.get("required")


def fits_type(value: Any, wanted: str) -> bool:
    """Say whether a value is of the type in a spec; true and false are no numbers."""
    if isinstance(value, bool):
        return wanted in ("bool", "raw")
    return isinstance(value, PYTHON_TYPES[wanted])


def incomplete(options: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield what options lack, also in their suboptions: type, description, elements."""
    for name, option in options.items():
        where = f"{path}{name}"
        if option.get("type") not in PYTHON_TYPES:
            yield f"{where}: type is {option.get('type')!r}; without a type nothing is checked"
        if not option.get("description"):
            yield f"{where}: description is missing"
        if option.get("type") == "list" and "elements" not in option:
            yield f"{where}: elements is missing"
        if "default" in option and option.get("required"):
            yield f"{where}: is required and has a default"
        yield from incomplete(option.get("options", {}), f"{where}.")


def differences(role: str, options: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """Yield where the main entry point of a role and its defaults disagree."""
    for name in defaults.keys() - options.keys():
        yield f"{name}: is in defaults/main.yml and not in meta/argument_specs.yml"
    for name, option in options.items():
        if not name.startswith((f"{role}_", SHARED_PREFIX)):
            yield f"{name}: does not begin with {role}_ or {SHARED_PREFIX}"
        if "default" not in option:
            if name in defaults and not unstatable(option, defaults[name]):
                yield f"{name}: has a default in defaults/main.yml and none in meta/argument_specs.yml"
            elif name not in defaults and not option.get("required") and not name.startswith(SHARED_PREFIX):
                yield f"{name}: is neither required nor has it a default"
            continue
        if name not in defaults:
            yield f"{name}: has a default in meta/argument_specs.yml and none in defaults/main.yml"
            continue
        stated, value = option["default"], defaults[name]
        if unstatable(option, value):
            yield f"{name}: the default is a template; leave it out of the spec, describe it in words"
            continue
        if stated != value or type(stated) is not type(value):
            yield f"{name}: meta/argument_specs.yml says {stated!r}, defaults/main.yml says {value!r}"
        if value is None or is_template(value) or option.get("type") not in PYTHON_TYPES:
            continue
        if not fits_type(value, option["type"]):
            yield f"{name}: the default {value!r} is not of type {option['type']}"
            continue
        yield from refused(name, option, value)


def refused(name: str, option: dict[str, Any], value: Any) -> Iterator[str]:
    """Yield what ansible-core's own validation says against a default, suboptions and choices included."""
    result = ArgumentSpecValidator({name: _without_prose(option)}).validate({name: value})
    yield from (f"{name}: the default {value!r} does not pass its own spec: {text}" for text in result.error_messages)


def _without_prose(option: dict[str, Any]) -> dict[str, Any]:
    """Return an option of an argument spec as a module would declare it."""
    kept = {k: v for k, v in option.items() if k in ("type", "elements", "choices", "required", "no_log", "aliases")}
    if "options" in option:
        kept["options"] = {k: _without_prose(v) for k, v in option["options"].items()}
    return kept


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_described_and_every_option_is_typed(role: str) -> None:
    specs = entry_points(role)
    assert "main" in specs, f"roles/{role}/meta/argument_specs.yml: there is no entry point main"
    problems = [
        f"{point}: short_description is missing" for point, s in specs.items() if not s.get("short_description")
    ]
    problems += [f"{point}: {text}" for point, spec in specs.items() for text in incomplete(spec.get("options", {}))]
    assert not problems, f"roles/{role}/meta/argument_specs.yml:\n" + "\n".join(problems)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_argument_spec(role: str) -> None:
    options = entry_points(role).get("main", {}).get("options", {})
    problems = list(differences(role, options, load(CHECKOUT / "roles" / role / "defaults" / "main.yml")))
    assert not problems, f"roles/{role}:\n" + "\n".join(problems)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_can_be_removed_again(role: str) -> None:
    option = entry_points(role).get("main", {}).get("options", {}).get(f"{role}_state", {})
    assert sorted(option.get("choices", [])) == ["absent", "present"], (
        f"roles/{role}: {role}_state: present or absent is missing"
    )
    assert option.get("default") == "present"


SPEC_INT = {"type": "int", "description": "x", "default": 1}


@pytest.mark.parametrize(
    ("options", "defaults", "words"),
    [
        ({}, {"r_a": 1}, "not in meta/argument_specs.yml"),
        ({"r_a": SPEC_INT}, {}, "none in defaults/main.yml"),
        ({"r_a": SPEC_INT}, {"r_a": 2}, "says 1"),
        ({"r_a": {**SPEC_INT, "default": True}}, {"r_a": True}, "not of type int"),
        ({"r_a": {**SPEC_INT, "default": 1}}, {"r_a": True}, "says True"),
        ({"r_a": {"type": "int"}}, {"r_a": 1}, "none in meta/argument_specs.yml"),
        ({"r_a": {"type": "int"}}, {}, "neither required nor"),
        ({"b": SPEC_INT}, {"b": 1}, "does not begin with r_"),
        ({"r_a": {"type": "str", "choices": ["x"], "default": "y"}}, {"r_a": "y"}, "does not pass its own spec"),
        (
            {"r_a": {"type": "list", "elements": "dict", "options": {"k": {"type": "int"}}, "default": [{"typo": 1}]}},
            {"r_a": [{"typo": 1}]},
            "does not pass its own spec",
        ),
    ],
)
def test_a_difference_between_spec_and_defaults_is_found(
    options: dict[str, Any], defaults: dict[str, Any], words: str
) -> None:
    found = list(differences("r", options, defaults))
    assert any(words in text for text in found), found


def test_equal_spec_and_defaults_pass_also_with_templates_and_shared_variables() -> None:
    options = {
        "r_a": SPEC_INT,
        "r_b": {"type": "int"},
        "r_d": {"type": "str", "default": "{{ r_a }}"},
        "r_c": {"type": "list", "elements": "dict", "options": {"k": {"type": "int"}}, "default": [{"k": 1}]},
        "r_must": {"type": "str", "required": True},
        "local_llm_models": {"type": "dict"},
    }
    assert (
        list(differences("r", options, {"r_a": 1, "r_b": "{{ r_a * 2 }}", "r_c": [{"k": 1}], "r_d": "{{ r_a }}"})) == []
    )


def test_an_option_without_type_or_elements_is_found_at_any_depth() -> None:
    options = {"a": {"type": "dict", "description": "x", "options": {"b": {"description": "x"}, "c": {"type": "list"}}}}
    assert [text.split(":")[0] for text in incomplete(options)] == ["a.b", "a.c", "a.c"]
