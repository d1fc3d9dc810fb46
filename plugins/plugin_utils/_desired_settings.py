# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Settings that a playbook hands over key by key: what may stand in them, by the options that take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import ARGUMENTS as BENCHMARK
from ansible_collections.local_llm.ops.plugins.module_utils._bench._options import out_of_range
from ansible_collections.local_llm.ops.plugins.module_utils._verdict import ToleranceError, parse_tolerances
from ansible_collections.local_llm.ops.plugins.modules.gpu_benchmark import ARGUMENTS as GPU_BENCHMARK
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_scenarios import scenarios
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_options import Spec, check_options, check_value
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import MEASURING_FIELDS, Report

_INT: Mapping[str, Any] = {"type": "int"}
_BOOL: Mapping[str, Any] = {"type": "bool"}
# The role _release knows the same keys; a unit test holds both together.
RUN_KEYS = (
    "api", "load", "sweep", "search", "scenario", "time_scale", "max_seconds", "shape", "prefix_tokens",
    "prefix_groups", "turns", "prompts_path", "seed", "slo", "cold_start", "client", "client_command",
    "client_tokenizer",
)  # fmt: skip
RUN: Spec = {
    "from": {"type": "str", "choices": ["target", "controller", "load_generators"]},
    **{key: BENCHMARK[key] for key in RUN_KEYS},
    "scenario": {"type": "str", "choices": list(scenarios())},
    "rebaseline": _BOOL,
    "fail": _BOOL,
}
FAN_OUT_WAYS = ("controller", "copy", "mirror")
LOAD: Spec = {key: BENCHMARK.get(key, _INT) for key in MEASURING_FIELDS["local_llm_benchmark"]}


def _by(spec: Spec) -> Callable[[str, Any, Report], None]:
    return lambda path, value, report: check_options(path, value, spec, report)


def _measuring(spec: Spec) -> Callable[[str, Any, Report], None]:
    """Check keys and types, then the numbers that llm_benchmark takes."""

    def check(path: str, value: Any, report: Report) -> None:
        wrong: list[tuple[str, str, Any, Any, str]] = []
        check_options(path, value, spec, lambda *found: wrong.append(found))
        for found in wrong:
            report(*found)
        if not wrong:
            for where, number, low, high in out_of_range(value):
                report("range", f"{path}.{where}", number, f"{low:g} to {high:g}", "Use a value between.")

    return check


def _tolerances(path: str, value: Any, report: Report) -> None:
    if not isinstance(value, Mapping):
        report("type", path, value, "a mapping", f"Write {path} as a mapping, such as {{ratio_max: 1.5}}.")
        return
    try:
        parse_tolerances(dict(value))
    except ToleranceError as error:
        where, _colon, fix = str(error).partition(": ")
        report("tolerances", where.replace("tolerances", path, 1), None, None, fix)


def _value(spec: Mapping[str, Any]) -> Callable[[str, Any, Report], None]:
    return lambda path, value, report: check_value(path, value, spec, report)


def _whole_bytes(path: str, value: Any, report: Report) -> None:
    if not re.fullmatch("[0-9]+", str(value)):
        report(
            "type", path, value, "a whole number of bytes", "Write it in digits, such as 50000000, or 0 for no limit."
        )


CHECKS: Mapping[str, Callable[[str, Any, Report], None]] = {
    "local_llm_benchmark": _measuring(LOAD),
    "local_llm_benchmark_run": _measuring(RUN),
    "local_llm_gpu_benchmark": _by(GPU_BENCHMARK),
    "local_llm_model_fan_out": _value({"type": "str", "choices": FAN_OUT_WAYS}),
    "local_llm_model_mirror_url": _value({"type": "str"}),
    "local_llm_model_share_bytes_per_second": _whole_bytes,
    "local_llm_tolerances": _tolerances,
}


def setting_findings(
    hosts: Mapping[str, Mapping[str, Any]], names: Iterable[str] = tuple(CHECKS)
) -> list[dict[str, Any]]:
    """Return what is wrong with the settings of these hosts: {host: {variable: value, None when it is not set}}."""
    out = Collector()
    for host, variables in hosts.items():
        out.host = host
        for name in names:
            if variables.get(name) is not None:
                CHECKS[name](name, variables[name], out.fail)
    return out.findings()


def mirror_findings(serving: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return which of the hosts that serve would fetch from a mirror without an address: {host: {variable: value}}."""
    out = Collector()
    name = "local_llm_model_mirror_url"
    for host, variables in serving.items():
        out.host = host
        if variables.get("local_llm_model_fan_out") == "mirror" and not variables.get(name):
            fix = f"Set {name} to the address below which models lie as <name>/<revision>/<file>, or take another way."
            out.fail("missing_key", name, "missing", "an address, since local_llm_model_fan_out is mirror", fix)
    return out.findings()
