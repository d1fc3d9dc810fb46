# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a script imports of this collection's module_utils, and what that imports in turn."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

MODULE_UTILS = Path(__file__).resolve().parents[1] / "module_utils"
PACKAGE = "ansible_collections.local_llm.ops.plugins.module_utils"


def needed(scripts: Iterable[Path], modules: Iterable[str] = ()) -> set[str]:
    """Return the files below module_utils that scripts need, such as _remedy/_run.py, with their packages.

    modules: files that a script imports in a way that cannot be read here, such as in a program of its own.
    """
    found: set[str] = set()
    left = {file for module in modules for file in _with_packages(module.split("/"))}
    left |= {file for script in scripts for file in imported(script.read_text(encoding="utf-8"))}
    while left:
        found |= left
        texts = [(MODULE_UTILS / file).read_text(encoding="utf-8") for file in sorted(left)]
        left = {file for text in texts for file in imported(text)} - found
    return found


def imported(text: str) -> Iterator[str]:
    """Yield the files that a Python text needs directly."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(PACKAGE):
            continue
        parts = (node.module or "")[len(PACKAGE) :].strip(".").split(".") if node.module != PACKAGE else []
        for name in node.names:
            # "from a import b": b is a module of the package a, or a name in the module a.
            inner = [*parts, name.name]
            is_module = (MODULE_UTILS.joinpath(*inner)).is_dir() or MODULE_UTILS.joinpath(*inner).with_suffix(
                ".py"
            ).is_file()
            yield from _with_packages(inner if is_module else parts)


def _with_packages(parts: list[str]) -> Iterator[str]:
    """Yield a module's file and the __init__.py of every package on the way to it."""
    place = MODULE_UTILS.joinpath(*parts)
    if place.is_dir():
        yield "/".join([*parts, "__init__.py"])
    elif parts:
        yield "/".join(parts) if parts[-1].endswith(".py") else "/".join(parts) + ".py"
    for depth in range(1, len(parts)):
        yield "/".join([*parts[:depth], "__init__.py"])
