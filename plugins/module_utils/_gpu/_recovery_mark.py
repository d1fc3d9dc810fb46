# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""recovery.json on a host: what was drained for a recovery, which GPUs wait for hardware service, what people cleared.

{"schema": 1, "mark": MARK | null, "parked": [PARKED], "cleared": [CLEARED]}
MARK: {"since", "since_seconds", "by", "rung", "reason", "boot_id", "action_at_seconds", "count_from_seconds",
 "waits_for", "message", "services": [unit],
 "servers": [{"gateway", "pool", "server", "instance", "state", "share_percent"}]}
 rung and boot_id: of the step that has not ended, else null. action_at_seconds: of the action under way in state.json.
 count_from_seconds: events after it count against that action.
PARKED: {"pci_address" ("*": the whole host), "gpu_uuid", "at_seconds", "reason"}
CLEARED: {"pci_address" ("*": all), "gpu_uuids", "at_seconds", "at", "reason", "by"}
The mark is written before the first server is drained and goes when the last one is let in again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._atomic_json import write_json_atomic

SCHEMA = 1
FILE_NAME = "recovery.json"
MODE = 0o600
MAX_CLEARED = 100
SERVER_KEYS = ("gateway", "pool", "server", "instance", "state", "share_percent")
_NOTHING_UNDER_WAY = {"action_at_seconds": None, "count_from_seconds": None}

Document = dict[str, Any]


class MarkError(ValueError):
    """recovery.json cannot be used; the message names the file and the way out."""


def mark_path(directory: str) -> str:
    """Return the path of recovery.json."""
    return os.path.join(directory, FILE_NAME)


def read_document(directory: str) -> Document:
    """Return recovery.json; an empty one when there is none."""
    path = mark_path(directory)
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except FileNotFoundError:
        return {"schema": SCHEMA, "mark": None, "parked": [], "cleared": []}
    except (OSError, ValueError) as error:
        raise MarkError(
            f"{path} cannot be read ({error}). It remembers what is drained for a recovery: look at it, let the "
            "servers in by hand (gateway_backend), then remove it."
        ) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or "parked" not in document:
        raise MarkError(f"{path} is no recovery.json of schema {SCHEMA}. Move it away and look at the gateways.")
    return document


def write_document(directory: str, document: Mapping[str, Any]) -> None:
    """Write recovery.json, whole or not at all."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    write_json_atomic(mark_path(directory), dict(document), MODE)


def begin(
    document: Document,
    *,
    rung: str,
    reason: str,
    servers: Sequence[Mapping[str, Any]],
    services: Sequence[str],
    by: str,
    boot_id: str | None,
    now_seconds: float,
    act: bool,
    verify_only: bool,
) -> Document:
    """Return the document with the mark of a step. What was remembered first of a server stays: that was before us.

    An action under way stays so until the next one is done. A step that does nothing keeps what the host waits for, and
    one that only verifies a reboot keeps the boot from before it: either may be left half way and begun again.
    """
    before = document["mark"] or {}
    known = {(one["gateway"], one["server"]): one for one in before.get("servers", ())}
    for server in servers:
        known.setdefault((server["gateway"], server["server"]), {key: server[key] for key in SERVER_KEYS})
    mark = {
        "since": before.get("since") or iso(now_seconds),
        "since_seconds": before.get("since_seconds") or now_seconds,
        "by": by or before.get("by", ""),
        "rung": rung,
        "reason": reason,
        "boot_id": before.get("boot_id") if verify_only else boot_id,
        "action_at_seconds": before.get("action_at_seconds"),
        "count_from_seconds": before.get("count_from_seconds"),
        "waits_for": None if act else before.get("waits_for"),
        "message": "" if act else before.get("message", ""),
        "servers": [known[key] for key in sorted(known)],
        "services": sorted({*before.get("services", ()), *services}),
    }
    return {**document, "mark": mark}


def act(document: Document, at_seconds: float, count_from_seconds: float) -> Document:
    """Return the document of a host on which an action is under way: it waits for nobody."""
    mark = {**document["mark"], "action_at_seconds": at_seconds, "count_from_seconds": count_from_seconds}
    return {**document, "mark": {**mark, "waits_for": None, "message": ""}}


def under_way(mark: Mapping[str, Any] | None, actions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the actions of the mark that have not ended: one for each cause, all of the same moment."""
    at = (mark or {}).get("action_at_seconds")
    return [one for one in actions if at is not None and one["at_seconds"] == at and one["result"] == "started"]


def wait(
    document: Document, waits_for: str, message: str, gpus: Sequence[Mapping[str, Any]], now_seconds: float
) -> Document:
    """Return the document of a host that waits: for consent to reboot, or for a person and hardware service."""
    mark = document["mark"]
    if mark is not None:
        mark = {**mark, "waits_for": waits_for, "message": message, **_NOTHING_UNDER_WAY}
    parked = list(document["parked"])
    if waits_for == "person":
        found = {entry["pci_address"] for entry in parked}
        for gpu in gpus or ({"pci_address": "*", "uuid": None},):
            if gpu["pci_address"] not in found:
                parked.append(
                    {
                        "pci_address": gpu["pci_address"],
                        "gpu_uuid": gpu.get("uuid"),
                        "at_seconds": now_seconds,
                        "reason": message,
                    }
                )
    return {**document, "mark": mark, "parked": parked}


def settle(document: Document) -> Document:
    """Return the document once an action has ended, well or not: nothing is under way, and no reboot is waited for."""
    mark = document["mark"]
    if mark is not None:
        mark = {**mark, **_NOTHING_UNDER_WAY, "rung": None, "boot_id": None}
    return {**document, "mark": mark}


def let_in(document: Document, instances: Sequence[str]) -> Document:
    """Return the document without these instances; the mark goes with the last of them."""
    mark = document["mark"]
    if mark is None:
        return document
    servers = [server for server in mark["servers"] if server["instance"] not in instances]
    return {**document, "mark": {**mark, "servers": servers} if servers else None}


def clear(
    document: Document, pci_address: str, gpu_uuids: Sequence[str], reason: str, by: str, now_seconds: float
) -> Document:
    """Return the document after a person said that a GPU ("*": all) was mended: nothing from before counts."""
    gone = [entry for entry in document["parked"] if pci_address in ("*", entry["pci_address"])]
    uuids = sorted({*gpu_uuids, *(entry["gpu_uuid"] for entry in gone if entry["gpu_uuid"])})
    entry = {
        "pci_address": pci_address,
        "gpu_uuids": uuids,
        "at_seconds": now_seconds,
        "at": iso(now_seconds),
        "reason": reason,
        "by": by,
    }
    mark = document["mark"]
    if mark is not None and mark["waits_for"] == "person" and len(gone) == len(document["parked"]):
        mark = {**mark, "waits_for": None, "message": ""}
    return {
        **document,
        "mark": mark,
        "parked": [entry for entry in document["parked"] if entry not in gone],
        "cleared": [*document["cleared"], entry][-MAX_CLEARED:],
    }


def mark_line(document: Mapping[str, Any]) -> str:
    """Return what a report says of a host that is drained for a recovery; empty when it is not."""
    mark = document["mark"]
    if mark is None:
        return "; ".join(str(entry["reason"]) for entry in document["parked"])
    names = ", ".join(dict.fromkeys(server["server"] for server in mark["servers"])) or "nothing at the gateways"
    state = {"consent": "waits for consent to reboot", "person": "waits for hardware service"}.get(
        str(mark["waits_for"]), "was not finished: run health with remediate=true again"
    )
    why = "" if mark["waits_for"] == "person" else f" ({mark['reason']})"
    text = f"{names}: drained for recovery since {mark['since']} by {mark['by'] or '?'}{why}; {state}"
    return f"{text}. {mark['message']}" if mark["message"] else text


def iso(seconds: float) -> str:
    """Return a Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
