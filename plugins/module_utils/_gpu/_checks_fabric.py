# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of what joins GPUs: the Fabric Manager, the fabric, NVLink and peer access.

One cause, one finding: what follows from a lost NVSwitch is told by gpu_lost, from a stopped Fabric Manager by
fabric_manager, from a GPU that the fabric did not take by fabric_state, from missing links by nvlink_links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import (
    Check,
    Context,
    Findings,
    Snapshot,
    Threshold,
    gpu_subject,
    gpus_subject,
)
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_memory import reset_command
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._checks_thermal import why_no_comparison
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._health_state import nvlink_errors
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import (
    NOT_SUPPORTED,
    answering_gpus,
    is_lost,
    why_no_gpu_answers,
)

_UNIT = "nvidia-fabricmanager.service"
_START = (
    "Drain the host, then: systemctl restart nvidia-fabricmanager; journalctl -u nvidia-fabricmanager -b. "
    "If it does not stay up, reboot."
)
_SWITCH_IS_LOST = "an NVSwitch does not answer: see gpu_lost"
_NO_SWITCH = "there is no NVSwitch"
_MANAGER_IS_DOWN = "the Fabric Manager does not work: see fabric_manager"
_RATE_SHORTEST_SECONDS = 60.0
# nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_*: shift, width, what is bad, words. 0 is "not supported" everywhere.
_HEALTH_BITS = (
    (0, 0x3, (1,), "bandwidth degraded"),
    (2, 0x3, (1,), "route recovery under way"),
    (4, 0x3, (1,), "route unhealthy"),
    (6, 0x3, (1,), "access timeout recovery under way"),
    (8, 0xF, tuple(range(2, 16)), "wrong configuration"),
)
_BAD_SUMMARIES = ("unhealthy", "limited_capacity")


def _switches(snapshot: Snapshot) -> list[Snapshot]:
    return [device for device in snapshot["pci"] if device["kind"] == "nvswitch"]


def _switch_is_lost(snapshot: Snapshot) -> bool:
    return any(not device["readable"] for device in _switches(snapshot))


def _fabric_state_of(gpu: Snapshot) -> str | None:
    """Return the state of the fabric at a GPU; None when the card has none or does not tell."""
    state = (gpu["fabric"] or {}).get("state")
    return None if state in (None, "not_supported") else str(state)


def _on_switches(snapshot: Snapshot) -> bool:
    """Return whether NVSwitches join the GPUs; those of NVLink 5 are no PCI devices, but NVML knows the fabric."""
    states = {_fabric_state_of(gpu) for gpu in answering_gpus(snapshot)}
    return bool(_switches(snapshot)) or bool(states & {"in_progress", "completed"})


def _booting(snapshot: Snapshot, context: Context) -> bool:
    """Return whether the host started so recently that the fabric may still be on its way."""
    uptime = snapshot["uptime_seconds"]
    return uptime is not None and uptime < FABRIC_MANAGER.threshold(context, "boot_grace_seconds")


def _fabric_manager(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("Fabric Manager", why)
    unit = snapshot["units"][_UNIT]
    if unit["load_state"] == "unknown":
        return check.skip("Fabric Manager", "systemctl did not tell the state of its service")
    installed = unit["load_state"] != "not-found"
    states = [_fabric_state_of(gpu) for gpu in answering_gpus(snapshot)]
    if not _switches(snapshot) and not (installed and ("in_progress" in states or unit["active_state"] == "failed")):
        return check.skip("Fabric Manager", f"{_NO_SWITCH} that it would have to manage")
    driver = snapshot["nvml"]["driver_version"] or snapshot["driver"]["loaded_version"]
    if not installed:
        if all(state == "completed" for state in states):
            return check.ok("Fabric Manager", "no service of this host, but the fabric is complete")
        action = f"Install nvidia-fabricmanager in the version of the driver ({driver}), start it, and reboot the host."
        return [check.fail("Fabric Manager", "not installed", "active", action, "configure")]
    version, active = snapshot["fabric_manager_version"], unit["active_state"] == "active"
    # A driver that was updated on the disk brings its Fabric Manager along: driver_lib_match reports that.
    waiting = active and version == snapshot["driver"]["disk_version"]
    if version and driver and version != driver and not waiting:
        action = (
            f"It works only with a driver of its own version. Drain the host, install nvidia-fabricmanager {driver}, "
            "hold it together with the driver, then: systemctl restart nvidia-fabricmanager."
        )
        return [check.fail("Fabric Manager", version, f"{driver}, as the driver", action, "configure")]
    if active:
        return check.ok("Fabric Manager", f"active{f', {version}' if version else ''}")
    seen = f"{unit['active_state']} ({unit['sub_state']}, result {unit['result']})"
    if unit["active_state"] == "activating" and _booting(snapshot, context):
        action = "The host has just started. Look again in five minutes: systemctl status nvidia-fabricmanager."
        return [check.warn("Fabric Manager", seen, "active", action)]
    return [check.fail("Fabric Manager", seen, "active", _START, "reboot")]


def _manager_is_down(snapshot: Snapshot, context: Context) -> bool:
    """Return whether fabric_manager reports this host."""
    found = _fabric_manager(FABRIC_MANAGER, snapshot, context)
    return any(item["status"] in ("fail", "warn") for item in found)


def _fabric_state(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = why_no_gpu_answers(snapshot, context) or _why_no_fabric(snapshot)
    if why:
        return check.skip("GPUs", why)
    gpus = [gpu for gpu in answering_gpus(snapshot) if _fabric_state_of(gpu)]
    if not gpus:
        return check.skip(gpus_subject(answering_gpus(snapshot)), NOT_SUPPORTED)
    manager_down = _manager_is_down(snapshot, context)
    found: Findings = []
    left = False
    for gpu in gpus:
        problem, incomplete = _fabric_problem(gpu), _fabric_state_of(gpu) != "completed"
        if problem is None:
            continue
        if incomplete and manager_down:
            left = True
        elif incomplete and _booting(snapshot, context):
            action = "The host has just started. Look again in five minutes: nvidia-smi -q | grep -A 3 Fabric."
            found.append(check.warn(gpu_subject(gpu), problem, "completed", action, "none", gpu))
        else:
            found.append(check.fail(gpu_subject(gpu), problem, "completed, healthy", _START, "reboot", gpu))
    if left and not found:
        return check.skip(gpus_subject(gpus), _MANAGER_IS_DOWN)
    return found or check.ok(gpus_subject(gpus), "completed")


def _why_no_fabric(snapshot: Snapshot) -> str | None:
    """Return why nothing about the fabric of NVSwitches is judged here; None when it is."""
    if len(snapshot["gpus"]) < 2:
        return "a single GPU needs no fabric"
    if not _on_switches(snapshot):
        return _NO_SWITCH
    return _SWITCH_IS_LOST if _switch_is_lost(snapshot) else None


def _fabric_problem(gpu: Snapshot) -> str | None:
    """Return what is wrong with the fabric at a GPU; None when nothing is, or nothing is known."""
    state = _fabric_state_of(gpu)
    if state is None:
        return None
    if state != "completed":
        return f"state {state}"
    fabric, words = gpu["fabric"], []
    if fabric["status"]:
        words.append(f"status {fabric['status']}")
    mask = fabric["health_mask"] or 0
    words += [text for shift, width, bad, text in _HEALTH_BITS if (mask >> shift) & width in bad]
    if not words and str(fabric["health_summary"]).lower() in _BAD_SUMMARIES:
        words.append(f"health {fabric['health_summary']}")
    return ", ".join(words) or None


def _nvlink_links(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("GPUs", why)
    cards = _cards_with_links(snapshot)
    why = _why_no_links(snapshot, context, cards)
    if why:
        return check.skip(gpus_subject(answering_gpus(snapshot)), why)
    wanted, found = context.expected.get("nvlink_links_per_gpu"), []
    for gpu, least in _short_of_links(snapshot, context):
        seen = f"{_active(gpu)} of {len(gpu['nvlink'])} links active"
        down = [str(item["link"]) for item in gpu["nvlink"] if not item["active"]]
        if down and _active(gpu):
            seen += f", down: {', '.join(down)}"
        if wanted is None and not _active(gpu) and not _on_switches(snapshot):
            action = (
                "Other cards of this model are joined by a bridge. If a bridge sits on this card, reseat it at the "
                "next maintenance; if none should, say so: expected.nvlink_links_per_gpu: 0."
            )
            found.append(check.warn(gpu_subject(gpu), seen, f"{least}, as its peers", action, "configure", gpu))
            continue
        action = (
            f"Look at: nvidia-smi nvlink -s -i {gpu['pci']['address']}. Drain the host, stop the engine, reset the "
            f"card ({reset_command(gpu)}). If it stays, reboot; then reseat the bridge or replace the card."
        )
        whose = "as expected.nvlink_links_per_gpu says" if wanted is not None else "as its peers"
        found.append(check.fail(gpu_subject(gpu), seen, f"{least}, {whose}", action, "reset_gpu", gpu))
    return found or check.ok(gpus_subject(cards))


def _cards_with_links(snapshot: Snapshot) -> list[Snapshot]:
    """Return the GPUs whose links can be judged: in MIG mode they are off."""
    return [gpu for gpu in answering_gpus(snapshot) if not gpu["mig"]["current"]]


def _why_no_links(snapshot: Snapshot, context: Context, cards: Sequence[Snapshot]) -> str | None:
    if not cards:
        return "NVLink is off in MIG mode"
    if _switch_is_lost(snapshot):
        return _SWITCH_IS_LOST
    all_down = not any(_active(gpu) for gpu in cards)
    if all_down and _on_switches(snapshot) and _manager_is_down(snapshot, context):
        return _MANAGER_IS_DOWN
    if context.expected.get("nvlink_links_per_gpu") is not None or _on_switches(snapshot):
        return None
    if not any(gpu["nvlink"] for gpu in cards):
        return "these cards have no NVLink"
    if all_down:
        return "no bridge joins these cards"
    if any(is_lost(gpu, snapshot) for gpu in snapshot["gpus"]):
        return "a GPU is lost, and the links to it with it: see gpu_lost"
    return None


def _active(gpu: Snapshot) -> int:
    return sum(1 for item in gpu["nvlink"] if item["active"])


def _short_of_links(snapshot: Snapshot, context: Context) -> list[tuple[Snapshot, int]]:
    """Return the GPUs that have fewer active links than the site wants, or than the best of their model here."""
    cards = _cards_with_links(snapshot)
    wanted = context.expected.get("nvlink_links_per_gpu")
    result = []
    for gpu in cards:
        if wanted is not None:
            least = int(wanted)
        else:
            least = max(_active(other) for other in cards if other["name"] == gpu["name"])
            if not least and _on_switches(snapshot):  # all down on all: no peer tells how many there should be
                least = len(gpu["nvlink"])
        if _active(gpu) < least:
            result.append((gpu, least))
    return result


def _nvlink_errors_of(gpu: Snapshot) -> int | None:
    """Return the NVLink errors that a GPU counted on all its links; None when it counts none."""
    counts = [item[key] for item in gpu["nvlink"] for key in ("crc_errors", "replay_errors", "recovery_errors")]
    return None if all(count is None for count in counts) else nvlink_errors(gpu["nvlink"])


def _nvlink_errors(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    new_limit, rate_limit = check.threshold(context, "new_errors"), check.threshold(context, "per_second")
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("GPUs", why)
    gpus = answering_gpus(snapshot)
    if not any(gpu["nvlink"] for gpu in gpus):
        return check.skip(gpus_subject(gpus), "these cards have no NVLink")
    if all(_nvlink_errors_of(gpu) is None for gpu in gpus):
        return check.skip(gpus_subject(gpus), NOT_SUPPORTED)
    why = why_no_comparison(snapshot)
    if why:
        return check.skip(gpus_subject(gpus), why)
    elapsed = snapshot["taken_at_seconds"] - snapshot["previous"]["taken_at_seconds"]
    seconds = max(elapsed, _RATE_SHORTEST_SECONDS)
    grown = {gpu["uuid"]: _new_errors(gpu, snapshot["previous"]["gpus"]) for gpu in gpus}
    judged = [gpu for gpu in gpus if grown[gpu["uuid"]] is not None]
    if not judged:
        return check.skip(gpus_subject(gpus), "the run before has no counts to compare with")
    found: Findings = []
    for gpu in judged:
        count = grown[gpu["uuid"]] or 0
        seen = f"{count} NVLink errors in {elapsed:.0f} s"
        look = f"Look at: nvidia-smi nvlink -e -i {gpu['pci']['address']}."
        if count / seconds >= rate_limit:
            action = f"{look} Drain the host, stop the engine: {reset_command(gpu)}. If it counts on, replace the card."
            found.append(check.fail(gpu_subject(gpu), seen, f"below {rate_limit:g} a second", action, "reset_gpu", gpu))
        elif count >= new_limit:
            action = f"{look} If it counts on, reset the card at the next drain: {reset_command(gpu)}."
            found.append(check.warn(gpu_subject(gpu), seen, f"below {new_limit:g}", action, "reset_gpu", gpu))
    return found or check.ok(gpus_subject(judged))


def _new_errors(gpu: Snapshot, previous: Mapping[str, Any]) -> int | None:
    """Return how many errors came since the run before; None when that is unknown or the counter began anew."""
    now, before = _nvlink_errors_of(gpu), previous.get(gpu["uuid"], {}).get("nvlink_errors")
    return None if now is None or before is None or now < before else int(now - before)


def _p2p(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = why_no_gpu_answers(snapshot, context) or _why_no_fabric(snapshot)
    if why:
        return check.skip("GPUs", why)
    if _manager_is_down(snapshot, context):
        return check.skip("GPUs", _MANAGER_IS_DOWN)
    told = {gpu["index"] for gpu, _least in _short_of_links(snapshot, context)}
    cards = [gpu for gpu in _cards_with_links(snapshot) if not _fabric_problem(gpu) and gpu["index"] not in told]
    by_index = {gpu["index"]: gpu for gpu in cards}
    pairs = [pair for pair in snapshot["topology"] if pair["a"] in by_index and pair["b"] in by_index]
    if not pairs and len(cards) < len(answering_gpus(snapshot)):
        return check.skip("GPUs", "the GPUs are reported by fabric_state or nvlink_links, or are in MIG mode")
    pairs = [pair for pair in pairs if pair["p2p_nvlink"] is not None]
    if all(pair["p2p_nvlink"] == "unknown" for pair in pairs):  # among good pairs an unknown one is a bad one
        return check.skip(gpus_subject(cards), NOT_SUPPORTED)
    bad = [pair for pair in pairs if pair["p2p_nvlink"] != "ok"]
    action = (
        "Look at: nvidia-smi topo -p2p n. Drain the host, then: systemctl restart nvidia-fabricmanager. "
        "If it stays, reboot."
    )
    if bad and len(bad) == len(pairs) and len(pairs) > 1:
        seen = f"no pair reaches each other by NVLink ({bad[0]['p2p_nvlink']})"
        return [check.fail(gpus_subject(cards), seen, "every pair", action, "reboot")]
    found: Findings = []
    while bad:  # name the GPU that most bad pairs have in common, once for all of them
        counts = Counter(index for pair in bad for index in (pair["a"], pair["b"]))
        worst = max(sorted(counts), key=lambda index: counts[index])
        mine = [pair for pair in bad if worst in (pair["a"], pair["b"])]
        others = ", ".join(str(pair["b"] if pair["a"] == worst else pair["a"]) for pair in mine)
        seen = f"no NVLink to GPU {others} ({mine[0]['p2p_nvlink']})"
        gpu = by_index[worst]
        found.append(check.fail(gpu_subject(gpu), seen, "every pair", action, "reboot", gpu))
        bad = [pair for pair in bad if pair not in mine]
    return found or check.ok(gpus_subject(cards), f"{len(pairs)} pairs")


FABRIC_MANAGER = Check(
    name="fabric_manager",
    looks_at="the Fabric Manager runs where there are NVSwitches, in the version of the driver",
    source="systemd nvidia-fabricmanager.service, version of nv-fabricmanager, PCI class 0680",
    reference="gpud, NVSentinel (300 s of grace after boot), sichek",
    group="gpu_fabric",
    run=_fabric_manager,
    thresholds={
        "boot_grace_seconds": Threshold(300, 0, 3600, "NVSentinel: 300 s after boot; until then it only warns")
    },
)

CHECKS: tuple[Check, ...] = (
    FABRIC_MANAGER,
    Check(
        name="fabric_state",
        looks_at="every GPU is a healthy member of the fabric",
        source="nvmlDeviceGetGpuFabricInfoV (state, status, health mask)",
        reference="gpud, DCGM",
        group="gpu_fabric",
        run=_fabric_state,
    ),
    Check(
        name="nvlink_links",
        looks_at="as many active NVLinks as expected, or as the peers have",
        source="nvmlDeviceGetNvLinkState",
        reference="gpud, azurehpc-health-checks, sichek; NVSentinel#1481: cards without a bridge are fine",
        group="gpu_fabric",
        run=_nvlink_links,
    ),
    Check(
        name="nvlink_errors",
        looks_at="no new NVLink errors since the run before",
        source="nvmlDeviceGetNvLinkErrorCounter, the state of the run before",
        reference="DCGM DCGM_LIMIT_MAX_NVLINK_ERROR, DCGM_LIMIT_MAX_NVLINK_CRC_ERROR; gcm",
        group="gpu_fabric",
        run=_nvlink_errors,
        thresholds={
            "new_errors": Threshold(1, 1, 10**12, "DCGM: 1 is a finding; here a warning"),
            "per_second": Threshold(100, 0.01, 10**9, "DCGM: CRC errors matter from 100 a second on"),
        },
    ),
    Check(
        name="p2p",
        looks_at="every two GPUs on NVSwitches reach each other",
        source="nvmlDeviceGetP2PStatus (NVLINK)",
        reference="gpud, sichek",
        group="gpu_fabric",
        run=_p2p,
    ),
)
