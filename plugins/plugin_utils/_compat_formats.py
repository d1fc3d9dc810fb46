# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Do the GPUs of an instance compute the number formats of its model and its configuration. Pure, over the data file.

What does not work is refused with the nearest that does. What works slowly, or rests on a source that is not certain,
is a warning. A name that the data do not have is said to be unknown, and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._number_formats import Row, row_for, unknown_version

_WORDS = {"weights": "weights in {name}", "cache": "a cache in {name}", "computation": "{name}", "attention": "{name}"}
_CHECKS = {"weights": "quantisation", "cache": "cache_type", "computation": "dtype", "attention": "attention"}
_EMPTY = (None, "", "auto", "none")


def capability(text: Any) -> tuple[int, ...]:
    """Return a compute capability as numbers, to compare it; empty when it is not known."""
    return tuple(int(part) for part in str(text or "").split(".") if part.isdigit())


def quantisation_names(model: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return the names under which the data have the weights; config.quantization wins over the files."""
    wanted = config.get("quantization")
    method, schemes = model.get("quantisation"), model.get("quantisation_scheme")
    if wanted not in _EMPTY and (method is None or method != wanted):
        return [str(wanted)]
    if method is None:
        return []
    return [f"{method}:{scheme}" for scheme in str(schemes).split("+")] if schemes else [str(method)]


def effective_dtype(model: Mapping[str, Any], config: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]) -> str:
    """Return the dtype that vLLM computes in, with what it chooses by itself; an empty text when that is not known."""
    wanted = str(config.get("dtype") or "auto")
    if wanted != "auto":
        return wanted
    types = model.get("dtypes") or {}
    if not types.get("BF16") or types["BF16"] < int(types.get("F16") or 0):
        return "auto"
    old = [gpu for gpu in gpus if capability(gpu.get("compute_capability")) and _has(gpu) < (8, 0)]
    if not old:
        return "auto"
    row = row_for("vllm", "", "computation", "float16")
    return "float32" if row and model.get("architecture") in row.unfit_architectures else "float16"


def format_findings(
    instance: Mapping[str, Any], model: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the findings about the number formats of one instance on its GPUs."""
    engine, version = str(instance["engine"]), str(instance.get("engine_version") or "")
    config, name = instance["config"], str(instance["name"])
    asked = [("weights", one) for one in quantisation_names(model, config)]
    asked += [("cache", one) for one in _cache_names(engine, config)]
    if engine == "vllm":
        dtype = str(config.get("dtype") or "auto")
        asked += [("computation", dtype)] if dtype != "auto" else []
        asked += [("attention", "flash_attention")] if gpus else []
    findings: list[dict[str, Any]] = []
    for kind, word in asked:
        row = row_for(engine, version, kind, word)
        if row is not None:
            findings += _judge(row, kind, word, name, model, config, gpus)
        elif kind == "weights" or (kind == "cache" and gpus and unknown_version(engine, version, kind)):
            observed = f"{_WORDS[kind].format(name=word)}: which GPUs compute it is not known for {engine} {version}"
            findings.append(finding(_CHECKS[kind], "skip", name, observed=observed.rstrip()))
    if engine == "vllm" and str(config.get("dtype") or "auto") == "auto":
        findings += _fallback(name, model, effective_dtype(model, config, gpus), gpus)
    return findings


def _cache_names(engine: str, config: Mapping[str, Any]) -> list[str]:
    if engine == "vllm":
        names = [config.get("kv_cache_dtype")]
    elif engine == "llamacpp":
        key, value = config.get("cache_type_k") or "f16", config.get("cache_type_v") or "f16"
        names = [key] if key == value else ["mixed"]
    else:
        names = [config.get("kv_cache_type")]
    return [str(one) for one in names if one not in _EMPTY]


def _has(gpu: Mapping[str, Any]) -> tuple[int, ...]:
    return capability(gpu.get("compute_capability"))


def _gpu_words(gpu: Mapping[str, Any]) -> str:
    return f"{gpu.get('name') or 'GPU'} (compute capability {gpu.get('compute_capability')})"


def _judge(
    row: Row,
    kind: str,
    word: str,
    subject: str,
    model: Mapping[str, Any],
    config: Mapping[str, Any],
    gpus: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the findings of one row; the worst GPU speaks for all."""
    what, source = _WORDS[kind].format(name=word), ", ".join(row.source)
    # What is not certain warns, and never refuses.
    no = "fail" if row.verified else "warn"

    def say(status: str, observed: str, expected: str | None = None, action: str | None = None) -> dict[str, Any]:
        text = _instead(row, kind) if action is None else action
        said = f"{what}{observed}"
        return finding(_CHECKS[kind], status, subject, observed=said, expected=expected, action=text, source=source)

    if row.refused:
        return [say(no, f": {row.refused}", "a form that the engine has")]
    if model.get("architecture") in row.unfit_architectures:
        return [say(no, f" with a {model['architecture']} model: the engine refuses it", row.instead)]
    dtype = str(config.get("dtype") or "auto")
    if row.computes_in and dtype not in row.computes_in:
        allowed = " or ".join(row.computes_in)
        return [say(no, f" with dtype {dtype}", f"dtype {allowed}", f"Set dtype to {row.computes_in[-1]}.")]
    if not gpus:
        return [] if row.cpu else [say("warn", " on a host without a GPU: the engine may refuse it", "a GPU")]
    known = [gpu for gpu in gpus if _has(gpu)]
    least, newest, native = (
        capability(row.minimum_compute_capability),
        capability(row.too_new_compute_capability),
        capability(row.native_compute_capability),
    )
    for gpu in known:
        if least and _has(gpu) < least:
            expected = f"compute capability {row.minimum_compute_capability}"
            return [say(no, f" on {_gpu_words(gpu)}", expected)]
        if newest and _has(gpu) >= newest:
            return [say(no, f" on {_gpu_words(gpu)}", f"below compute capability {row.too_new_compute_capability}")]
    if row.warning and gpus:
        return [say("warn", f": {row.warning}")]
    slow = next((gpu for gpu in known if native and _has(gpu) < native), None)
    if slow is not None:
        status = "ok" if row.quiet else "warn"
        expected = f"compute capability {row.native_compute_capability} for full speed"
        return [say(status, f" on {_gpu_words(slow)}: {row.below_native}", expected, "" if row.quiet else None)]
    return []


def _instead(row: Row, kind: str) -> str:
    return f"Set dtype to {row.instead}." if kind == "computation" else row.instead


def _fallback(
    subject: str, model: Mapping[str, Any], dtype: str, gpus: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a warning when the engine takes another dtype than the model was made in."""
    if dtype == "auto":
        return []
    gpu = next(gpu for gpu in gpus if _has(gpu) and _has(gpu) < (8, 0))
    observed = f"a bfloat16 model on {_gpu_words(gpu)}: the engine takes {dtype} by itself"
    action = "Set dtype to float16, so that it is said."
    if dtype == "float32":
        action = (
            f"It takes twice the memory, since {model['architecture']} models go wrong in float16. Use a newer GPU."
        )
    return [finding("dtype", "warn", subject, observed=observed, expected="compute capability 8.0", action=action)]
