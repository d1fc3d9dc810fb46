# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Ollama: what its pages mean. It has no metrics page, and it does not tell how many requests run or wait."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer

NAME = "ollama"


def probe(fetch: Callable[[str], Answer]) -> dict[str, Any]:
    """Ask for the version first. The server is ready when a model is in memory."""
    found: dict[str, Any] = {"status": "dead", "detail": "", "version": None, "served_models": [], "metrics": {}}
    answer = fetch("/api/version")
    found["version"] = version(answer.json())
    if answer.status != 200 or found["version"] is None:
        found["detail"] = f"/api/version: {_said(answer)}"
        if answer.status is not None:
            found["detail"] += "; is another program on this port?"
        return found
    notes = []
    models = fetch("/v1/models")
    found["served_models"] = served_models(models.json()) if models.status == 200 else []
    if not found["served_models"]:
        notes.append(f"/v1/models named no model ({_said(models)})")
    loaded = fetch("/api/ps")
    running = loaded_models(loaded.json()) if loaded.status == 200 else []
    found["status"] = "ready" if running else "loading"
    if loaded.status != 200:
        notes.append(f"/api/ps gave nothing ({_said(loaded)})")
    elif not running:
        notes.append("no model is in memory: it is still loading, could not be loaded, or was unloaded when idle")
    found["detail"] = "; ".join([*notes, *(text for text in map(spill, running) if text)])
    return found


def version(answer: Any) -> str | None:
    """Return the version that the server says."""
    text = answer.get("version") if isinstance(answer, dict) else None
    return text if isinstance(text, str) and text else None


def served_models(answer: Any) -> list[str]:
    """Return the ids of /v1/models. A model with the tag latest also answers to its name without the tag."""
    names: list[str] = []
    data = answer.get("data") if isinstance(answer, dict) else None
    for entry in data if isinstance(data, list) else []:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and name and name not in names:
            names.append(name)
            if name.endswith(":latest"):
                names.append(name[: -len(":latest")])
    return names


def loaded_models(answer: Any) -> list[dict[str, Any]]:
    """Return the models in memory, as /api/ps lists them."""
    models = answer.get("models") if isinstance(answer, dict) else None
    return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []


def spill(model: dict[str, Any]) -> str:
    """Return a text that begins with 'spill:' when a part of a loaded model is not in GPU memory, else an empty one."""
    size, in_vram = model.get("size"), model.get("size_vram")
    if not isinstance(size, int) or not isinstance(in_vram, int) or size <= 0 or in_vram >= size:
        return ""
    name = model.get("name") or model.get("model") or "?"
    if in_vram <= 0:
        return f"spill: {name} runs on the CPU alone, nothing of its {size} bytes is in GPU memory"
    return (
        f"spill: {name} has {in_vram} of {size} bytes in GPU memory ({100 * in_vram // size} %), the rest runs slowly "
        "on the CPU. Lower context_tokens or parallel_requests, or choose a smaller model"
    )


def _said(answer: Answer) -> str:
    return f"HTTP {answer.status}" if answer.status is not None else answer.detail
