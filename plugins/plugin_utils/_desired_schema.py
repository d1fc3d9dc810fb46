# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The shape of the desired state: which keys an instance, a model, a pool and an artefact have, and of what type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest

# report(check, path, observed, expected, action)
Report = Callable[[str, str, Any, Any, str], None]

_TYPE_NAMES: dict[str, str] = {
    "str": "a text",
    "int": "a whole number",
    "number": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


@dataclass(frozen=True)
class Name:
    """A pattern for names and how to say it in words."""

    pattern: str
    words: str

    def fits(self, value: str) -> bool:
        """Tell whether a name has the pattern."""
        return re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Field:
    """One key of an object."""

    type: str
    required: bool = False
    default: Any = None
    name: Name | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = field(default=())


SLUG = Name(
    r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?", "small letters, digits, - and _, at most 63, not - or _ at either end"
)
LABEL = Name(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "letters, digits, dot, - and _, at most 100, starting with a letter or digit"
)
VERSION = Name(
    r"[A-Za-z0-9][A-Za-z0-9._+~:-]{0,99}",
    "letters, digits and . _ + ~ : -, at most 100, starting with a letter or digit",
)
SERVED = Name(
    r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", "letters, digits and . _ : / -, at most 128, starting with a letter or digit"
)
PROGRAM = Name(r"/?[A-Za-z0-9_.][A-Za-z0-9_./+-]*", "a program's name or path, such as python3.12")
SHA256 = Name(r"[0-9a-f]{64}", "64 hex digits in small letters, as sha256sum prints them")
RELATIVE_PATH = Name(
    r"(?!.*(^|/)\.{1,2}(/|$))[A-Za-z0-9_.][A-Za-z0-9_.+@=,-]*(/[A-Za-z0-9_.][A-Za-z0-9_.+@=,-]*)*",
    "a path inside the model directory, without .. and without a leading /",
)

INSTANCE_FIELDS: dict[str, Field] = {
    "name": Field("str", required=True, name=SLUG),
    "engine": Field("str", required=True),
    "engine_version": Field("str", required=True, name=VERSION),
    "model": Field("str", required=True, name=LABEL),
    "served_name": Field("str", required=True, name=SERVED),
    "port": Field("int", required=True, minimum=1024, maximum=65535),
    "gpus": Field("any", default="all"),
    "pool": Field("str", required=True, name=SLUG),
    "slo_tier": Field("str", default="standard", name=SLUG),
    "config": Field("dict", default={}),
}

# The role gateway knows the same keys; a unit test holds both together.
POOL_FIELDS: dict[str, Field] = {
    "max_queue": Field("int", minimum=0),
    "queue_timeout_seconds": Field("number", minimum=1),
    "max_connections_per_server": Field("int", minimum=1),
    "allowed_paths": Field("list"),
    "health_path": Field("str"),
    "host_names": Field("list"),
    "port": Field("int", minimum=1, maximum=65535),
    "description": Field("str"),
    "slo_tier": Field("str", name=SLUG),
    "slo": Field("dict"),
    "min_available": Field("int", minimum=0),
    "capacity": Field("dict"),
}

ARTIFACT_FIELDS: dict[str, dict[str, Field]] = {
    "archive": {
        "method": Field("str", required=True),
        "src": Field("str", required=True),
        "sha256": Field("dict", required=True),
        "entry": Field("str", name=RELATIVE_PATH),
    },
    "package": {
        "method": Field("str", required=True),
        "package": Field("str", required=True),
        "package_version": Field("str", required=True),
    },
    "venv": {
        "method": Field("str", required=True),
        "python": Field("str", name=PROGRAM, default="python3"),
        "requirements": Field("list", default=[]),
        "lock_file": Field("str"),
        "index_url": Field("str"),
        "extra_arguments": Field("list", default=[]),
        "size_bytes": Field("int", minimum=0, default=12884901888),
    },
}


# The role _release knows the same keys; a unit test holds both together.
MEASURING_FIELDS: dict[str, dict[str, Field]] = {
    "local_llm_benchmark": {
        key: Field("any")
        for key in (
            "users",
            "requests",
            "warmup_requests",
            "rounds",
            "pause_seconds",
            "prompt_tokens",
            "output_tokens",
            "max_seconds",
            "request_timeout_seconds",
        )
    },
    "local_llm_quality": {
        "suite": Field("list"),
        "suite_file": Field("str"),
        "compare": Field("str", choices=("auto", "exact", "checks")),
        "min_similarity": Field("number", minimum=0, maximum=1),
        "min_pass_share": Field("number", minimum=0, maximum=1),
        "embedding": Field("dict"),
        "models": Field("dict"),
        "pools": Field("dict"),
    },
}

# Every variable of a site that roles and playbooks read; a unit test holds the list equal to what they use.
VARIABLE_PREFIX = "local_llm_"
KNOWN_VARIABLES: tuple[str, ...] = (
    "local_llm_accept_alerts",
    "local_llm_accept_without_evidence",
    "local_llm_address",
    "local_llm_alertmanager_headers",
    "local_llm_alertmanager_password",
    "local_llm_alertmanager_url",
    "local_llm_alertmanager_user",
    "local_llm_allow_pool_outage",
    "local_llm_allow_public_address",
    "local_llm_allow_short_pools",
    "local_llm_allow_unsafe_versions",
    "local_llm_benchmark",
    "local_llm_benchmark_root",
    "local_llm_benchmark_run",
    "local_llm_bundle_root",
    "local_llm_canary_host",
    "local_llm_canary_share_percent",
    "local_llm_commit_timeout_seconds",
    "local_llm_compat",
    "local_llm_drain_timeout_seconds",
    "local_llm_freeze_windows",
    "local_llm_gpu_benchmark",
    "local_llm_gpu_health",
    "local_llm_gpu_reference",
    "local_llm_gpu_reset",
    "local_llm_health_root",
    "local_llm_ignore_freeze",
    "local_llm_instances",
    "local_llm_keep_releases",
    "local_llm_hf_endpoint",
    "local_llm_hf_token",
    "local_llm_http_token",
    "local_llm_lease_seconds",
    "local_llm_metric_contract",
    "local_llm_model_archive_bytes_per_second",
    "local_llm_model_archive_directory",
    "local_llm_model_ca_path",
    "local_llm_model_cache",
    "local_llm_model_fan_out",
    "local_llm_model_mirror_url",
    "local_llm_model_quota_bytes",
    "local_llm_model_retention",
    "local_llm_model_share_address",
    "local_llm_model_share_bytes_per_second",
    "local_llm_models",
    "local_llm_models_apply",
    "local_llm_models_delete",
    "local_llm_models_root",
    "local_llm_plan_directory",
    "local_llm_pools",
    "local_llm_prometheus_ca_path",
    "local_llm_prometheus_headers",
    "local_llm_prometheus_password",
    "local_llm_prometheus_url",
    "local_llm_prometheus_user",
    "local_llm_prometheus_wait_seconds",
    "local_llm_quality",
    "local_llm_ready_timeout_seconds",
    "local_llm_reboot_consent",
    "local_llm_reboot_timeout_seconds",
    "local_llm_recovery_cooldown_seconds",
    "local_llm_rollback_release",
    "local_llm_rollback_serial",
    "local_llm_rollout_approval",
    "local_llm_rollout_approved",
    "local_llm_rollout_root",
    "local_llm_rollout_scope",
    "local_llm_rollout_serial",
    "local_llm_rollout_take_over",
    "local_llm_slo_tiers",
    "local_llm_textfile_directory",
    "local_llm_tolerances",
    "local_llm_watch_limit_seconds",
    "local_llm_watch_min_requests",
    "local_llm_watch_seconds",
)


def right_type(value: Any, wanted: str) -> bool:
    """Tell whether a value has the type; true and false are no numbers."""
    if wanted == "any":
        return True
    if wanted == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    kinds: dict[str, Any] = {"str": str, "int": int, "number": (int, float), "list": list, "dict": dict}
    return isinstance(value, kinds[wanted])


def check_object(path: str, value: Any, fields: Mapping[str, Field], report: Report) -> dict[str, Any] | None:
    """Report what is wrong with an object; return it with defaults filled in, or None when it is not usable."""
    if not isinstance(value, dict):
        report("type", path, value, "a mapping", f"Write {path} as a mapping with the keys {', '.join(fields)}.")
        return None
    usable = True
    meant: set[str] = set()
    for key in value:
        if key not in fields:
            near = nearest(key, fields)
            hint = f"Did you mean {near}?" if near else f"Known keys: {', '.join(fields)}."
            report("unknown_key", f"{path}.{key}", value[key], None, f"Unknown key {key}. {hint}")
            meant.add(near or "")
    filled: dict[str, Any] = {}
    for key, spec in fields.items():
        if key not in value or value[key] is None:
            if spec.required and key in meant:
                usable = False
            elif spec.required:
                report("missing_key", f"{path}.{key}", "missing", _words(spec), f"Add {key} to {path}.")
                usable = False
            filled[key] = dict(spec.default) if isinstance(spec.default, dict) else spec.default
            continue
        filled[key] = value[key]
        usable = _check_value(f"{path}.{key}", value[key], spec, report) and usable
    return filled if usable else None


def check_sha256(path: str, value: Any, report: Report) -> bool:
    """Report a digest that is not 64 hex digits."""
    if isinstance(value, str) and SHA256.fits(value):
        return True
    near = isinstance(value, str) and SHA256.fits(value.lower())
    report(
        "sha256", path, value, SHA256.words, "Write it in small letters." if near else "Take it from `sha256sum FILE`."
    )
    return False


def _check_value(path: str, value: Any, spec: Field, report: Report) -> bool:
    if not right_type(value, spec.type):
        fix = f"Write {_TYPE_NAMES[spec.type]}."
        if spec.type == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
            fix = f'Put it in quotes: "{value}".'
        elif spec.type in ("int", "number") and isinstance(value, str):
            fix = "Write the number without quotes." if value.strip().isdigit() else "Write a number."
        report("type", path, value, _TYPE_NAMES[spec.type], fix)
        return False
    if spec.choices and value not in spec.choices:
        near = nearest(str(value), spec.choices)
        fix = f"Did you mean {near}?" if near else f"Choose one of {', '.join(spec.choices)}."
        report("choice", path, value, f"one of {', '.join(spec.choices)}", fix)
        return False
    if spec.name is not None and not spec.name.fits(value):
        report("name", path, value, spec.name.words, "Write a name that fits.")
        return False
    if (spec.minimum is not None and value < spec.minimum) or (spec.maximum is not None and value > spec.maximum):
        limits = _limits(spec)
        report("range", path, value, limits, f"Choose a value {limits}.")
        return False
    return True


def _limits(spec: Field) -> str:
    if spec.maximum is None:
        return f"of at least {spec.minimum}"
    if spec.minimum is None:
        return f"of at most {spec.maximum}"
    return f"from {spec.minimum} to {spec.maximum}"


def _words(spec: Field) -> str:
    if spec.name is not None:
        return spec.name.words
    if spec.choices:
        return f"one of {', '.join(spec.choices)}"
    return _TYPE_NAMES.get(spec.type, "a value")
