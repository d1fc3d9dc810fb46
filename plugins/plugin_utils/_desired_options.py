# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Check a mapping of the inventory against the argument specification of what it is handed to, before that happens.

A playbook hands such mappings over key by key, so a misspelt key would be lost, and a wrong type end in a template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import BOOLEANS

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import Report

_WORDS = {
    "str": "a text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}
Spec = Mapping[str, Mapping[str, Any]]


def check_options(path: str, value: Any, spec: Spec, report: Report) -> None:
    """Report unknown and missing keys, wrong types and values that are no choice. None counts as left out."""
    if not isinstance(value, Mapping):
        fix = f"Write {path} as a mapping with some of the keys {', '.join(spec)}."
        report("type", path, value, _WORDS["dict"], fix)
        return
    for key, given in value.items():
        if key not in spec:
            near = nearest(str(key), spec)
            hint = f"Did you mean {near}?" if near else f"Known keys: {', '.join(spec)}."
            report("unknown_key", f"{path}.{key}", given, None, f"Unknown key {key}. {hint}")
        elif given is not None:
            check_value(f"{path}.{key}", given, spec[key], report)
    for key, one in spec.items():
        if one.get("required") and value.get(key) is None:
            report("missing_key", f"{path}.{key}", "missing", _WORDS[str(one["type"])], f"Add {key} to {path}.")


def check_value(path: str, value: Any, spec: Mapping[str, Any], report: Report) -> None:
    """Report a value of the wrong type, or one that is no choice."""
    kind = str(spec.get("type", "str"))
    choices = spec.get("choices") or ()
    if not _fits(value, kind, str(spec.get("elements", ""))):
        example = f"Write {_WORDS[kind]}." if not choices else f"Choose one of {', '.join(map(str, choices))}."
        report("type", path, value, _WORDS[kind], example)
        return
    if kind == "dict" and spec.get("options"):
        check_options(path, value, spec["options"], report)
    elif kind == "list":
        each = {"type": spec.get("elements", "raw"), "choices": choices, "options": spec.get("options")}
        for number, item in enumerate(value if isinstance(value, list) else str(value).split(",")):
            check_value(f"{path}[{number}]", item, each, report)
    elif choices and value not in choices:
        near = nearest(str(value), [str(choice) for choice in choices])
        known = ", ".join(map(str, choices))
        report("choice", path, value, f"one of {known}", f"Did you mean {near}?" if near else f"Choose one of {known}.")


def _fits(value: Any, kind: str, elements: str) -> bool:
    """Tell whether a value has a type, or is a text that Ansible turns into it; true and false are no numbers."""
    if kind == "list":
        # One text is a list that Ansible splits at its commas.
        return isinstance(value, list) or (elements != "dict" and _flat(value) and not isinstance(value, bool))
    if kind == "dict":
        return isinstance(value, Mapping)
    if kind == "bool":
        return (value.strip().lower() if isinstance(value, str) else value) in BOOLEANS if _flat(value) else False
    if kind in ("str", "path"):
        return _flat(value) and not isinstance(value, bool)
    if kind in ("int", "float"):
        return _flat(value) and not isinstance(value, bool) and _number(value, whole=kind == "int")
    return True


def _flat(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _number(value: str | int | float, whole: bool) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return math.isfinite(number) and (not whole or number == int(number))
