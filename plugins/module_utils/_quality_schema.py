# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""A small part of JSON Schema, checked on hosts that have nothing but the standard library.

What is not in it is refused by name: a keyword that nobody looks at would pass everything. Problems name the place in
the answer and the keyword, never the answer itself.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._quality_pattern import found

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
KEYWORDS = (
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "pattern", "minimum",
    "maximum", "minLength", "maxLength", "minItems", "maxItems", "title", "description",
)  # fmt: skip
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
_FENCE = "```"


def schema_problem(schema: Any, path: str = "schema") -> str | None:
    """Return what is wrong with a schema, or None: the place, the value and the fix."""
    if isinstance(schema, bool):
        return f"{path} is {schema}; write a mapping with keywords such as type"
    if not isinstance(schema, dict):
        return f"{path} is a {type(schema).__name__}; write a mapping with keywords such as type"
    for keyword, value in schema.items():
        if keyword not in KEYWORDS:
            known = ", ".join(KEYWORDS)
            return f"{path}.{keyword} is not supported and would be overlooked; leave it out, or use: {known}"
        problem = _keyword_problem(keyword, value, f"{path}.{keyword}")
        if problem:
            return problem
    return None


def _keyword_problem(keyword: str, value: Any, path: str) -> str | None:
    if keyword == "type":
        wanted = value if isinstance(value, list) else [value]
        unknown = [name for name in wanted if not isinstance(name, str) or name not in _TYPES]
        return f"{path} is {value!r}; use one or several of {', '.join(_TYPES)}" if unknown or not wanted else None
    if keyword == "properties":
        if not isinstance(value, dict):
            return f"{path} is a {type(value).__name__}; write a mapping of name to schema"
        return next(filter(None, (schema_problem(part, f"{path}.{name}") for name, part in value.items())), None)
    if keyword == "items":
        return schema_problem(value, path)
    if keyword == "additionalProperties":
        return None if isinstance(value, bool) else schema_problem(value, path)
    if keyword == "required":
        good = isinstance(value, list) and all(isinstance(name, str) for name in value)
        return None if good else f"{path} is {value!r}; write a list of names"
    if keyword == "enum":
        return None if isinstance(value, list) and value else f"{path} is {value!r}; write a list of values"
    if keyword == "pattern":
        return _pattern_problem(value, path)
    if keyword in ("minimum", "maximum"):
        return None if _is_number(value) else f"{path} is {value!r}; write a number"
    if keyword in _COUNTS:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return None if good else f"{path} is {value!r}; write a whole number of 0 or more"
    return None


def _pattern_problem(value: Any, path: str) -> str | None:
    if not isinstance(value, str):
        return f"{path} is {value!r}; write a regular expression"
    try:
        re.compile(value)
    except re.error as exc:
        return f"{path} is {value!r}, no regular expression ({exc}); mend it"
    return None


def read_json(text: str) -> tuple[Any, str | None]:
    """Return (value, None), or (None, why not). A single fenced block around the JSON is taken off."""
    try:
        return json.loads(_unfenced(text), parse_constant=_no_constant), None
    except (ValueError, RecursionError):
        return None, "the answer is no JSON"


def _unfenced(text: str) -> str:
    text = text.strip()
    first, line_end, rest = text.partition("\n")
    label = first[len(_FENCE) :].rstrip(" \t")
    fenced = first.startswith(_FENCE) and line_end and rest.endswith(_FENCE) and (not label or label.isalpha())
    return rest[: -len(_FENCE)] if fenced else text


def _no_constant(name: str) -> Any:
    """NaN and the like are no JSON, and would pass every minimum and maximum."""
    raise ValueError(name)


def mismatch(value: Any, schema: dict[str, Any], place: str = "$") -> str | None:
    """Return where and by which keyword a value does not fit, or None. Assumes a schema without problems."""
    if "type" in schema and not _is_type(value, schema["type"]):
        return f"{place}: type"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{place}: const"
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        return f"{place}: enum"
    if isinstance(value, str):
        return _string_mismatch(value, schema, place)
    if _is_number(value):
        if value < schema.get("minimum", value):
            return f"{place}: minimum"
        return f"{place}: maximum" if value > schema.get("maximum", value) else None
    if isinstance(value, list):
        return _array_mismatch(value, schema, place)
    return _object_mismatch(value, schema, place) if isinstance(value, dict) else None


def _string_mismatch(value: str, schema: dict[str, Any], place: str) -> str | None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return f"{place}: minLength or maxLength"
    return f"{place}: pattern" if "pattern" in schema and not found(schema["pattern"], value) else None


def _array_mismatch(value: list[Any], schema: dict[str, Any], place: str) -> str | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"{place}: minItems or maxItems"
    if "items" not in schema:
        return None
    wrong = (mismatch(item, schema["items"], f"{place}[{number}]") for number, item in enumerate(value))
    return next(filter(None, wrong), None)


def _object_mismatch(value: dict[str, Any], schema: dict[str, Any], place: str) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{place}: required {name}"
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    # Names that the schema does not know are the answer's own words, so they are not repeated.
    for name, item in value.items():
        if name in properties:
            problem = mismatch(item, properties[name], f"{place}.{name}")
        elif more is False:
            return f"{place}: additionalProperties"
        else:
            problem = mismatch(item, more, f"{place}.*") if isinstance(more, dict) else None
        if problem:
            return problem
    return None


def _is_type(value: Any, wanted: Any) -> bool:
    for name in wanted if isinstance(wanted, list) else [wanted]:
        if isinstance(value, bool) and name != "boolean":
            continue
        if isinstance(value, _TYPES[name]) or (name == "integer" and isinstance(value, float) and value.is_integer()):
            return True
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal; true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
