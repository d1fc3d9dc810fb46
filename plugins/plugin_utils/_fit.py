# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does a model fit into the memory that an instance may use, and if not, which setting would. Pure.

fit() takes the facts about the model (module model_facts), the engine, the completed configuration, the GPUs of the
instance [{"name", "total_bytes", "compute_capability", optional "reserved_bytes"}] and the facts about the engine.
With no GPU the host's RAM counts. It answers fits, does_not_fit, or unknown with the reasons; it never guesses a fact.

`nearest` names settings that fit; each of them alone is enough. They are worked out, not tried: see _fit_kv.KvShape.
Memory is counted on the side of safety where it must be estimated; every estimate is in `reasons`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_ggml import (
    ggml_fit,
    llamacpp_settings,
    ollama_settings,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_kv import missing_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_result import Fit, gpus_problem
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_vllm import vllm_fit

ENGINES = ("llamacpp", "ollama", "vllm")
_NEEDED = ("weights_bytes", "hidden_size", "vocabulary_size")


def _old_gpus(gpus: Sequence[Mapping[str, Any]], engine_facts: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return a finding for each GPU that the engine's build does not run on."""
    least = str((engine_facts or {}).get("minimum_compute_capability") or "")
    findings = []
    for gpu in gpus:
        has = str(gpu.get("compute_capability") or "")
        if least and has and version_numbers(has) < version_numbers(least):
            findings.append(
                finding(
                    "compute_capability",
                    "fail",
                    str(gpu.get("name") or "GPU"),
                    observed=has,
                    expected=f"at least {least}",
                    action="Use a newer GPU, or an older version of the engine.",
                )
            )
    return findings


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare it."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def fit(
    model_facts: Mapping[str, Any],
    engine: str,
    config: Mapping[str, Any],
    gpus: Sequence[Mapping[str, Any]],
    engine_facts: Mapping[str, Any] | None = None,
    ram_total_bytes: int | None = None,
) -> dict[str, Any]:
    """Return whether the model fits, what it needs, and the nearest settings that fit."""
    where = f"{len(gpus)} GPU(s)" if gpus else "RAM"
    subject = f"{model_facts.get('architecture') or 'model'} with {engine} on {where}"
    answer = Fit(where, weights_bytes=model_facts.get("weights_bytes"))
    old = _old_gpus(gpus, engine_facts)
    reasons = missing_facts(model_facts)
    reasons += [f"The model's files do not say {key}." for key in _NEEDED if not model_facts.get(key)]
    if engine not in ENGINES:
        reasons.append(f"The memory of the engine {engine!r} is not known; known are {', '.join(ENGINES)}.")
    problem = gpus_problem(gpus)
    if reasons or problem:
        return answer.unknown(*reasons, *filter(None, [problem])).result(subject, old)
    if engine == "vllm":
        return vllm_fit(model_facts, config, gpus, ram_total_bytes, answer).result(subject, old)
    word = ""
    if engine == "ollama":
        settings, word = ollama_settings(config, model_facts, gpus)
    else:
        settings = llamacpp_settings(config)
    answer.reasons += [word] if word else []
    return ggml_fit(model_facts, settings, gpus, ram_total_bytes, answer).result(subject, old)
