# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Causes of a recovery: what failed on which GPU, whether it is the same as before, and which instances it touches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import show
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import REMEDIES

Plain = Mapping[str, Any]
# The remedies that are rungs, the mildest first; a person does what the others say.
RUNGS = tuple(remedy for remedy in REMEDIES if remedy not in ("none", "configure"))
_XID = re.compile(r"\bxid\b\D{0,3}(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Cause:
    """One failing finding, as the ladder sees it. Without an address it concerns the whole host."""

    check: str
    remedy: str
    subject: str
    observed: str
    xid: int | None
    index: int | None
    uuid: str | None
    pci_address: str | None

    def name(self) -> str:
        """Return a short name."""
        return f"XID {self.xid} on {self.subject}" if self.xid is not None else f"{self.check} on {self.subject}"

    def text(self) -> str:
        """Return the cause as the state keeps it: the check, what it looked at, what it saw."""
        return f"{self.check}: {self.subject}: {self.observed}" if self.observed else f"{self.check}: {self.subject}"

    def gpu(self) -> dict[str, Any]:
        """Return the GPU as findings name it."""
        return {"index": self.index, "uuid": self.uuid, "pci_address": self.pci_address}

    def plain(self) -> dict[str, Any]:
        """Return the cause as plain data."""
        return {
            "check": self.check,
            "xid": self.xid,
            "gpu_uuid": self.uuid,
            "pci_address": self.pci_address,
            "reason": self.text(),
        }


def causes_of(findings: Sequence[Plain], gpus: Sequence[Plain]) -> tuple[list[Cause], list[Cause]]:
    """Return the failing findings as causes: those that a rung can mend, and those that only a person can."""
    known = {gpu["pci_address"]: gpu for gpu in gpus}
    causes = [_cause(item, known) for item in findings if item["status"] == "fail"]
    return [one for one in causes if one.remedy in RUNGS], [one for one in causes if one.remedy not in RUNGS]


def same_cause(cause: Cause, action: Plain) -> bool:
    """Tell whether an action of the state was taken for this cause: same check, same XID, same GPU."""
    check = str(action.get("reason", "")).partition(":")[0]
    return check == cause.check and action.get("xid") == cause.xid and _same_gpu(cause, action)


def _same_gpu(cause: Cause, action: Plain) -> bool:
    """Tell whether both are of one GPU. One that was lost may have told its address only."""
    uuid, address = action.get("gpu_uuid"), action.get("pci_address")
    if cause.uuid and uuid:
        return cause.uuid == uuid
    if cause.pci_address and address:
        return cause.pci_address == address
    return not (cause.uuid or uuid or cause.pci_address or address)


def touches(wanted: Any, targets: Sequence[Plain], gpus: Sequence[Plain]) -> bool:
    """Tell whether an instance with this value of gpus uses one of these GPUs. What cannot be told counts as a yes."""
    if not targets or wanted in ("none", []):
        return False
    if isinstance(wanted, str) and re.fullmatch(r"\d+(,\d+)*", wanted):
        wanted = wanted.split(",")
    if not isinstance(wanted, (list, tuple)):
        return True
    known = {gpu.get("pci_address"): gpu for gpu in gpus}
    return any(_is(one, {**target, **known.get(target.get("pci_address"), {})}) for one in wanted for target in targets)


def _is(wanted: Any, target: Plain) -> bool:
    text = str(wanted)
    key, value = ("index", text) if text.isdigit() else ("uuid", text)
    if target.get(key) is None or (key == "uuid" and not text.startswith("GPU-")):
        return True
    return str(target[key]).lower().startswith(value.lower()) if key == "uuid" else str(target[key]) == value


def _cause(item: Plain, known: Mapping[Any, Plain]) -> Cause:
    remedy = str(item["remedy"])
    if remedy not in REMEDIES:
        raise ValueError(f"finding {item['check']}: the remedy {remedy!r} is none of {', '.join(REMEDIES)}")
    gpu = item.get("gpu") or {}
    # A GPU that was lost may be known to findings by its address only.
    gpu = {**known.get(gpu.get("pci_address"), {}), **{key: value for key, value in gpu.items() if value is not None}}
    return Cause(
        check=str(item["check"]),
        remedy=remedy,
        subject=str(item["subject"]),
        observed=_shown(item.get("observed")),
        xid=_xid(item),
        index=gpu.get("index"),
        uuid=gpu.get("uuid"),
        pci_address=gpu.get("pci_address"),
    )


def _shown(observed: Any) -> str:
    if isinstance(observed, Mapping) and "xid" in observed:
        count = observed.get("count") or 1
        return f"XID {observed['xid']}" + (f", {count} times" if count > 1 else "")
    if isinstance(observed, Mapping):
        return show(", ".join(f"{key} {value}" for key, value in observed.items()), 160)
    return "" if observed is None else show(observed, 160)


def _xid(item: Plain) -> int | None:
    if item["check"] != "xid":
        return None
    observed = item.get("observed")
    if isinstance(observed, Mapping):
        code = observed.get("code", observed.get("xid"))
        return int(code) if code is not None else None
    found = _XID.search(f"{observed} {item['subject']}")
    return int(found.group(1)) if found else None
