# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What facts about engines and drivers are held against: known keys, and a source for each. Controller only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest


def key_problems(where: str, values: Any, keys: Mapping[str, bool]) -> Iterator[str]:
    """Yield what is wrong with the keys of a dictionary. keys: {key: whether it is needed}."""
    if not isinstance(values, Mapping):
        yield f"{where}: {values!r} is no dictionary with {', '.join(key for key, needed in keys.items() if needed)}."
        return
    for key in values:
        if key not in keys:
            near = nearest(str(key), keys)
            yield f"{where}: {key}: no such key.{f' Did you mean {near}?' if near else ''}"
    for key, needed in keys.items():
        if needed and key not in values:
            yield f"{where}: {key}: it is missing. Add it."
    if not isinstance(values.get("verified", False), bool):
        yield f"{where}: verified: {values['verified']!r} is neither true nor false."


def source_problems(where: str, values: Any, sources: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the sources of a fact. sources: those that the file lists."""
    named = values.get("source") if isinstance(values, Mapping) else None
    if not isinstance(named, list) or not named:
        yield f"{where}: source: {named!r} is no list of sources. Name at least one."
        return
    for source in named:
        if source not in sources:
            near = nearest(str(source), [str(name) for name in sources])
            yield f"{where}: source: {source!r} is not among the sources.{f' Did you mean {near}?' if near else ''}"


def is_text(value: Any) -> bool:
    """Tell whether a value is text with something in it."""
    return isinstance(value, str) and bool(value.strip())
