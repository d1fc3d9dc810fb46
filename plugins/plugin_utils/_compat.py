# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Do the instances of a host work there: model, engine, driver, GPU and memory together. Pure.

Several instances may share a GPU: each is checked with what the others take of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import AUTO_MAP, name_problem
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._compat_formats import (
    capability,
    effective_dtype,
    format_findings,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit import fit, version_numbers
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_overhead import gib

# The format of models that an engine of this collection loads.
_FORMATS = {"llamacpp": "gguf", "vllm": "safetensors"}


def chosen_gpus(wanted: Any, gpus: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return the GPUs that `gpus` of an instance names, and the names that no GPU of the host has."""
    if wanted in ("all", None):
        return list(gpus), []
    if wanted in ("none", "", []):
        return [], []
    names = wanted.split(",") if isinstance(wanted, str) else [str(name) for name in wanted]
    by_name = {str(gpu.get("uuid")): gpu for gpu in gpus}
    by_name.update({str(gpu.get("index", number)): gpu for number, gpu in enumerate(gpus)})
    return [by_name[name] for name in names if name in by_name], [name for name in names if name not in by_name]


def _claims(
    instance: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]
) -> dict[int, int]:
    """Return the bytes that an instance takes of each of its GPUs, by identity of the GPU."""
    config = instance["config"]
    if instance["engine"] == "vllm" and not config.get("kv_cache_memory_bytes"):
        count = int(config.get("tensor_parallel_size") or 1) * int(config.get("pipeline_parallel_size") or 1)
        share = float(config.get("gpu_memory_utilization") or 0)
        return {id(gpu): int(int(gpu["total_bytes"] or 0) * share) for gpu in gpus[:count]}
    needed = int(answer["needed_bytes"] or 0)
    return {id(gpu): -(-needed // len(gpus)) for gpu in gpus}


def _plain_checks(
    instance: Mapping[str, Any],
    model: Mapping[str, Any],
    gpus: Sequence[Mapping[str, Any]],
    missing: Sequence[str],
    driver_version: str | None,
    facts: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return findings about everything but memory."""
    name, engine = str(instance["name"]), str(instance["engine"])
    findings = [
        finding("gpu", "fail", name, observed="not on this host", expected=f"GPU {gpu}", action="Correct gpus of it.")
        for gpu in missing
    ]
    wanted = _FORMATS.get(engine)
    if wanted and model["format"] != wanted:
        findings.append(
            finding(
                "model_format",
                "fail",
                name,
                observed=model["format"],
                expected=wanted,
                action=f"Take the {wanted} files of the model, or another engine.",
            )
        )
    return findings + _unsafe(instance, model) + _driver(name, gpus, driver_version, facts.get("cuda") or {})


def _unsafe(instance: Mapping[str, Any], model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return findings about code that a model brings, unless its files are allowed by name (`allow` of the model)."""
    name, allow = str(instance["name"]), [str(item) for item in instance.get("allow") or []]
    listed = instance.get("files")
    files = [
        path
        for path in model.get("unsafe_files") or []
        if (listed is None or path in listed) and name_problem(path, allow)
    ]
    findings = []
    if files:
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        findings.append(
            finding(
                "unsafe_files",
                "fail",
                name,
                observed=f"the model has {', '.join(files[:5])}{more}, which can run code",
                expected="safetensors, GGUF and plain text",
                action="Leave them out. When you have read them and trust them, name them in allow of the model.",
            )
        )
    allowed = AUTO_MAP in allow or instance["config"].get("allow_remote_code_of")
    if instance["engine"] == "vllm" and model["needs_remote_code"] and not allowed:
        findings.append(
            finding(
                "remote_code",
                "fail",
                name,
                observed="the model brings code of its own (auto_map)",
                expected="none",
                action="Take another model, or read its code, name auto_map in allow of the model and set "
                "allow_remote_code_of.",
            )
        )
    return findings


def _driver(
    name: str, gpus: Sequence[Mapping[str, Any]], version: str | None, cuda: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a finding when the driver is too old for the CUDA of the engine's build, or not known.

    Builds of one CUDA major version run on every driver from the first one of that major version on. The package for
    forward compatibility (cuda-compat) lets data-centre GPUs go below that; it is not looked for.
    """
    least = str(cuda.get("minimum_driver") or "")
    older = cuda.get("older_gpus") or {}
    limit = capability(older.get("below_compute_capability"))
    if any(capability(gpu.get("compute_capability")) and capability(gpu["compute_capability"]) < limit for gpu in gpus):
        least = str(older["minimum_driver"])
    if not gpus or not least:
        return []
    if not version:
        return [finding("driver", "skip", name, observed="the driver's version is not known")]
    if version_numbers(version) >= version_numbers(least):
        return []
    runtime = f" (CUDA {cuda['major']})" if cuda.get("major") else ""
    action = (
        "Install a newer driver, or a build of the engine for an older CUDA. The package cuda-compat, which helps some "
        "data-centre GPUs, is not looked for: with it, set local_llm_compat to warn."
    )
    return [finding("driver", "fail", name, observed=version, expected=f"at least {least}{runtime}", action=action)]


def _loaded(instance: Mapping[str, Any], model: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the configuration with the dtype that the engine takes, which decides how large the weights become."""
    config = dict(instance["config"])
    if instance["engine"] == "vllm" and effective_dtype(model, config, gpus) == "float32":
        config["dtype"] = "float32"
    return config


def _named(name: str, entry: Mapping[str, Any], beside: Sequence[str], taken: int) -> dict[str, Any]:
    """Return a finding with the name of its instance, and with what others take of the memory."""
    named = {**entry, "subject": f"{name}: {entry['subject']}"}
    if beside and entry["status"] == "fail" and entry["check"] == "memory_fit" and entry["expected"]:
        named["expected"] = f"{entry['expected']}, beside {', '.join(beside)} with {gib(taken)}"
    return named


def compat(
    instances: Sequence[Mapping[str, Any]],
    host: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    engine_facts: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return for each instance {"instance", "status", "fit", "findings"}.

    instances: name, engine, model, config (completed), gpus; optional engine_version, allow (names that a model may
    have although they can run code), files (those of its directory that belong to it; all when not given).
    host: gpus, driver_version, ram_total_bytes, and
    gpus_unknown: why the GPUs could not be read; then nothing is said about an instance that wants any.
    models: name to model_facts. engine_facts: name of an instance, or else of an engine, to its facts.
    """
    every = [dict(gpu) for gpu in host.get("gpus") or []]
    ram = host.get("ram_total_bytes")
    chosen = {str(item["name"]): chosen_gpus(item.get("gpus"), every) for item in instances}
    claims: dict[str, dict[int, int]] = {}
    ram_claims: dict[str, int] = {}
    for item in instances:
        name, model = str(item["name"]), models.get(item["model"])
        if model is not None and not chosen[name][1]:
            gpus = chosen[name][0]
            alone = fit(model, item["engine"], _loaded(item, model, gpus), gpus, None, ram)
            claims[name] = _claims(item, gpus, alone) if gpus else {}
            ram_claims[name] = 0 if gpus else int(alone["needed_bytes"] or 0)
    results: list[dict[str, Any]] = []
    for item in instances:
        name, model = str(item["name"]), models.get(item["model"])
        if model is None:
            text = f"the facts of model {item['model']} are not there"
            unknown = finding("memory_fit", "skip", name, observed=text, action="Read them with model_facts first.")
            results.append({"instance": name, "status": "unknown", "fit": None, "findings": [unknown]})
            continue
        if host.get("gpus_unknown") and item.get("gpus") not in ("none", "", []):
            action = "Whether it fits is not known. Mend the driver first."
            unknown = finding("memory_fit", "skip", name, observed=str(host["gpus_unknown"]), action=action)
            unsafe = _unsafe(item, model)
            status = "does_not_fit" if unsafe else "unknown"
            results.append({"instance": name, "status": status, "fit": None, "findings": [*unsafe, unknown]})
            continue
        gpus, missing = chosen[name]
        facts = engine_facts.get(name) or engine_facts.get(item["engine"]) or {}
        findings = _plain_checks(item, model, gpus, missing, host.get("driver_version"), facts)
        findings += format_findings(item, model, gpus)
        answer = None
        if not missing:
            others = [other for other in claims if other != name]
            shared = [{**gpu, "reserved_bytes": sum(claims[other].get(id(gpu), 0) for other in others)} for gpu in gpus]
            left = None if ram is None else max(1, int(ram) - sum(ram_claims[other] for other in others))
            answer = fit(model, item["engine"], _loaded(item, model, gpus), shared, facts, left)
            beside = [other for other in others if any(claims[other].values()) or ram_claims[other]]
            taken = sum(int(gpu["reserved_bytes"]) for gpu in shared) if gpus else int(ram or 0) - int(left or 0)
            findings += [_named(name, entry, beside if taken else [], taken) for entry in answer["findings"]]
        failed = any(entry["status"] == "fail" for entry in findings)
        status = "does_not_fit" if failed else answer["status"] if answer else "unknown"
        results.append({"instance": name, "status": status, "fit": answer, "findings": findings})
    return results
