# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The evidence for the vendor: one directory of plain files, and an archive of it. No secrets and no prompts."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex

KEEP_BUNDLES = 10
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_DMI = ("sys_vendor", "product_name", "product_serial", "board_vendor", "board_name", "board_serial", "bios_version")
# What a summary says of a GPU, besides its slot.
_GPU_KEYS = ("index", "name", "uuid", "serial", "vbios_version", "inforom_version", "gsp_firmware_version")
# Programs and users are nobody's business at the vendor.
_LEFT_OUT = ("processes",)


class BundleError(ValueError):
    """A bundle cannot be written; the message names the value and the fix."""


def check_name(name: str) -> None:
    """Raise BundleError unless a bundle may be called so: the names sort by time, and none leaves its directory."""
    if not _NAME.fullmatch(name):
        raise BundleError(f"bundle_name: {name!r}: use a time stamp such as 20261121T070623Z.")


def documents(
    *,
    health: Mapping[str, Any],
    state: Mapping[str, Any],
    recovery: Mapping[str, Any],
    snapshot: Mapping[str, Any],
    host: Mapping[str, Any],
    slots: Mapping[str, str],
) -> dict[str, str]:
    """Return the files of a bundle by name. snapshot: what gpu_info returned; empty when it could not be read."""
    findings = [item for item in health.get("findings", ()) if item["status"] in ("fail", "warn")]
    events = [*state.get("events", ())]
    gpus = list(snapshot.get("gpus") or health.get("gpus") or ())
    addresses = {_address(gpu) for gpu in gpus} - {""}
    return {
        "README.txt": _readme(host, findings, gpus, slots),
        "findings.json": _json({"status": health.get("status"), "findings": list(health.get("findings", ()))}),
        "xid_timeline.txt": timeline(events),
        "events.json": _json(events),
        "state.json": _json({"actions": state.get("actions", []), "cleared": state.get("cleared_at_seconds", {})}),
        "recovery.json": _json(recovery),
        "snapshot.json": _json(_without_processes(snapshot)),
        "host.json": _json({**host, "slots": {key: slots[key] for key in sorted(slots) if key in addresses}}),
    }


def timeline(events: Sequence[Mapping[str, Any]]) -> str:
    """Return the events of the kernel log, oldest first, one per line."""
    ordered = sorted(events, key=lambda event: event.get("at_seconds") or 0.0)
    lines = [
        f"{event.get('at') or '?':<28} {event.get('pci') or '-':<14} "
        f"{event.get('kind')} {event.get('code') if event.get('code') is not None else ''}".rstrip()
        + f"  {str(event.get('message', '')).strip()}"
        for event in ordered
    ]
    return "\n".join(lines or ["no event of the kernel log is kept"]) + "\n"


def read_slots(sysfs_root: str) -> dict[str, str]:
    """Return {PCI address without function 0: physical slot}, as far as the firmware names slots."""
    base = os.path.join(sysfs_root, "bus/pci/slots")
    result = {}
    for name in _listed(base):
        address = _read(os.path.join(base, name, "address"))
        if address:
            result[f"{address}.0"] = name
    return result


def read_host(sysfs_root: str, procfs_root: str, node: str) -> dict[str, Any]:
    """Return what names the machine for its vendor."""
    dmi = {key: _read(os.path.join(sysfs_root, "class/dmi/id", key)) for key in _DMI}
    return {
        "host": node,
        "kernel": _read(os.path.join(procfs_root, "sys/kernel/osrelease")),
        "driver_loaded": _read(os.path.join(sysfs_root, "module/nvidia/version")),
        "dmi": dmi,
    }


def write_bundle(root: str, name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Write the files, and an archive of everything in the bundle's directory. Return paths, size and digest.

    A file that lies in the directory already, such as the vendor's own report, goes into the archive too.
    """
    check_name(name)
    directory = os.path.join(root, name)
    os.makedirs(root, mode=DIRECTORY_MODE, exist_ok=True)
    os.makedirs(directory, mode=DIRECTORY_MODE, exist_ok=True)
    for file_name, text in files.items():
        path = os.path.join(directory, file_name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    archive = f"{directory}.tar.gz"
    temporary = f"{archive}.part"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as packed:
        packed.add(directory, arcname=name)
    os.replace(temporary, archive)
    with open(archive, "rb") as whole:
        content = whole.read()
    return {
        "directory": directory,
        "archive": archive,
        "bytes": len(content),
        "sha256": sha256_hex(content),
        "files": sorted(os.listdir(directory)),
    }


def remove_old(root: str, keep: int = KEEP_BUNDLES) -> list[str]:
    """Remove all but the newest bundles; return the names that went."""
    names = sorted(name for name in _listed(root) if _NAME.fullmatch(name))
    gone = names[:-keep] if keep else names
    for name in gone:
        shutil.rmtree(os.path.join(root, name))
        archive = os.path.join(root, f"{name}.tar.gz")
        if os.path.exists(archive):
            os.unlink(archive)
    return gone


def _readme(
    host: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    gpus: Sequence[Mapping[str, Any]],
    slots: Mapping[str, str],
) -> str:
    dmi = host.get("dmi", {})
    lines = [
        "Evidence for hardware service",
        "",
        f"Host: {host.get('host')}, {dmi.get('sys_vendor') or '?'} {dmi.get('product_name') or '?'}, "
        f"serial {dmi.get('product_serial') or 'not readable'}",
        f"Kernel {host.get('kernel') or '?'}, driver {host.get('driver_loaded') or 'not loaded'}",
        "",
        "GPUs:",
    ]
    for gpu in gpus:
        facts = ", ".join(f"{key} {gpu[key]}" for key in _GPU_KEYS if gpu.get(key) is not None)
        slot = slots.get(_address(gpu))
        lines.append(f"- PCI {_address(gpu) or '?'}, slot {slot or 'not named by the firmware'}: {facts}")
    lines += ["", "What is wrong:"]
    lines += [
        f"- {item['status']} {item['check']}: {item['subject']}: found {item.get('observed')}, "
        f"expected {item.get('expected')}. {item.get('action') or ''}".rstrip()
        for item in findings
    ] or ["- no finding fails"]
    lines += ["", "xid_timeline.txt has the errors of the kernel log in order, state.json what was tried."]
    return "\n".join(lines) + "\n"


def _without_processes(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(snapshot)
    if isinstance(result.get("gpus"), list):
        result["gpus"] = [{key: value for key, value in gpu.items() if key not in _LEFT_OUT} for gpu in result["gpus"]]
    return result


def _address(gpu: Mapping[str, Any]) -> str:
    pci = gpu.get("pci")
    return str((pci or {}).get("address") or gpu.get("pci_address") or "")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"


def _listed(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip() or None
    except OSError:
        return None
