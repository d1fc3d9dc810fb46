# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""One look at the instances of a host: their units, their engines, what the service manager said of memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import UnknownEngine, engine_info
from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_store import InstanceStore, Paths, list_instances
from ansible_collections.local_llm.ops.plugins.module_utils._release_systemd import Run, Systemd, engine_unit

# What systemd writes to the journal when the kernel killed a process of a unit for want of memory.
OOM_MESSAGE_ID = "fe6faa94e7774663a0da52717891d8ef"
CREDENTIALS = "/etc/credstore"
MOST_AT_ONCE = 8


def look(
    paths: Paths, run: Run, *, since: float, probe_seconds: float, held: Callable[[str], str]
) -> dict[str, dict[str, Any]]:
    """Return SEEN (see _memory) of every instance with a release. since: when the look before was."""
    found: dict[str, dict[str, Any]] = {}
    stores = {name: InstanceStore(paths, name) for name in list_instances(paths)}
    descriptions: dict[str, dict[str, Any]] = {}
    for name, store in stores.items():
        try:
            description = store.description(store.link("current"))
        except ReleaseError:
            continue
        if description is not None:
            descriptions[name] = description
    names = sorted(descriptions)
    units = dict(zip(names, Systemd(run).show_many([engine_unit(name) for name in names])))
    killed = oom_kills(run, names, since)

    def ask(name: str) -> dict[str, Any]:
        store = stores[name]
        return ask_engine(descriptions[name], store.listen_address(), api_key(name), probe_seconds)

    active = [name for name in names if units[name].get("ActiveState") == "active"]
    with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as pool:
        answers = dict(zip(active, pool.map(ask, active)))
    for name in names:
        unit = units[name]
        found[name] = {
            "wanted": unit.get("UnitFileState") == "enabled",
            "held": held(name),
            "active_state": unit.get("ActiveState", ""),
            "restarts": int(unit.get("NRestarts") or 0),
            "invocation": unit.get("InvocationID", ""),
            "oom_kills": killed.get(name, 0),
            **answers.get(name, NO_ANSWER),
        }
    return found


NO_ANSWER: dict[str, Any] = {"answers": False, "loading": False, "running": None, "tokens": None}


def ask_engine(description: Mapping[str, Any], address: str, key: str | None, seconds: float) -> dict[str, Any]:
    """Return whether the engine answers, and how far it has got."""
    host = f"[{address}]" if ":" in address else address
    try:
        endpoint = parse_endpoint(f"http://{host}:{description['port']}", key)
        info = engine_info(description["engine"], endpoint, seconds)
    except (ValueError, UnknownEngine):
        return {**NO_ANSWER, "loading": True}
    return engine_facts(info)


def engine_facts(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counts of engine_info's answer. Ollama with no model in memory answers all the same."""
    metrics = info["metrics"]
    parts = [metrics["prompt_tokens_total"], metrics["generated_tokens_total"]]
    tokens = None if parts[1] is None else float(sum(part or 0 for part in parts))
    idle_ollama = info["engine"] == "ollama" and info["status"] == "loading"
    return {
        "answers": info["status"] == "ready" or idle_ollama,
        "loading": info["status"] == "loading" and not idle_ollama,
        "running": info["in_flight"],
        "tokens": tokens,
    }


def api_key(instance: str, directory: str = CREDENTIALS) -> str | None:
    """Return the key that the engine asks for, None when it has none: metrics lie behind it."""
    try:
        with open(os.path.join(directory, f"local-llm.{instance}.api_key"), encoding="utf-8") as stream:
            return stream.read().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def oom_kills(run: Run, names: Sequence[str], since: float) -> dict[str, int]:
    """Return how often memory ran out in each instance since a Unix time, as the service manager wrote it down."""
    command = ["journalctl", "--no-pager", "--quiet", "--output=json", "--output-fields=UNIT"]
    status, out, _err = run([*command, f"--since=@{int(since)}", f"MESSAGE_ID={OOM_MESSAGE_ID}", "_PID=1"])
    return count_oom_kills(out, names, since) if status == 0 else {}


def count_oom_kills(lines: str, names: Sequence[str], since: float) -> dict[str, int]:
    """Return the kills by instance in journalctl's JSON lines; a line from before is not counted twice."""
    units = {engine_unit(name): name for name in names}
    counts: dict[str, int] = {}
    for line in lines.splitlines():
        try:
            entry = json.loads(line)
            at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):
            continue
        name = units.get(entry.get("UNIT", ""))
        if name is not None and at > since:
            counts[name] = counts.get(name, 0) + 1
    return counts
