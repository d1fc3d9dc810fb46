# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What may be asked of another load tool. It is chosen by name only, and what it cannot do is refused by name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUILTIN = "builtin"
# tool -> arrivals that its open loop can do
ARRIVALS: dict[str, tuple[str, ...]] = {
    "vllm_bench": ("poisson",),
    "guidellm": ("constant", "poisson"),
    "aiperf": ("constant", "poisson"),
}
CLIENTS = [BUILTIN, *ARRIVALS]
CLIENT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "client": {"type": "str", "choices": CLIENTS, "default": BUILTIN},
    "client_command": {"type": "path"},
    "client_tokenizer": {"type": "path"},
}
_APIS = ("openai_chat", "openai_completions")
# Options that only the own client knows, with the value that asks for nothing.
_OWN: dict[str, Any] = {
    "sweep": None,
    "search": None,
    "scenario": None,
    "shape": "synthetic",
    "prompts_path": None,
    "cold_start": None,
    "start_at_unix_seconds": None,
    "ca_path": None,
    "validate_certs": True,
}


def client_problem(params: Mapping[str, Any]) -> str | None:
    """Return why this load cannot be given to the tool that `client` names, with option, value and fix, or None."""
    client = params.get("client") or BUILTIN
    given = [name for name in ("client_command", "client_tokenizer") if params.get(name)]
    if client == BUILTIN:
        return f"{given[0]}: client is {BUILTIN}, which needs none; leave it out, or name a client" if given else None
    for name, what in (("client_command", "the program"), ("client_tokenizer", "a directory with a tokenizer")):
        if not params.get(name):
            return f"{name}: client {client} needs it; give the path of {what} on the host that sends"
    if params["api"] not in _APIS:
        return f"api: client {client} cannot do {params['api']}; use one of {', '.join(_APIS)}, or client {BUILTIN}"
    for name, nothing in _OWN.items():
        if name in params and params[name] != nothing:
            return f"{name}: client {client} cannot do it; leave it out, or use client {BUILTIN}"
    if client == "guidellm" and not params["ignore_eos"]:
        return f"ignore_eos: client {client} always sends it; leave it true, or use client {BUILTIN}"
    return _load_problem(client, params.get("load"))


def _load_problem(client: str, load: Mapping[str, Any] | None) -> str | None:
    stages = load["stages"] if load else []
    if not load or not stages:
        return None
    if len(stages) > 1:
        return f"load.stages: client {client} does one stage, not {len(stages)}; use client {BUILTIN}"
    only = stages[0]
    if not only.get("requests") or only.get("seconds"):
        return f"load.stages[0]: client {client} ends with its requests; give requests, and no seconds"
    arrivals = only.get("arrivals") or "poisson"
    if load["mode"] == "open" and arrivals not in ARRIVALS[client]:
        can = ", ".join(ARRIVALS[client])
        return f"load.stages[0].arrivals: client {client} cannot do {arrivals}; use {can}, or client {BUILTIN}"
    return None
