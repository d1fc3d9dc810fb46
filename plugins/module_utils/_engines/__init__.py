# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The engines that the collection can run: one file each, found here by name."""

from __future__ import annotations

import difflib

from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import Engine, EngineError
from ansible_collections.local_llm.ops.plugins.module_utils._engines._llamacpp import ENGINE as LLAMACPP
from ansible_collections.local_llm.ops.plugins.module_utils._engines._ollama import ENGINE as OLLAMA
from ansible_collections.local_llm.ops.plugins.module_utils._engines._vllm import ENGINE as VLLM

_ENGINES: dict[str, Engine] = {LLAMACPP.name: LLAMACPP, OLLAMA.name: OLLAMA, VLLM.name: VLLM}


def known_engines() -> list[str]:
    """Return the names of the engines, sorted."""
    return sorted(_ENGINES)


def get_engine(name: str) -> Engine:
    """Return the engine of that name, or raise EngineError that lists the names there are."""
    engine = _ENGINES.get(name)
    if engine is None:
        near = difflib.get_close_matches(str(name), known_engines(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise EngineError(f"engine = {name!r}: unknown engine.{hint} Use one of: {', '.join(known_engines())}.")
    return engine
