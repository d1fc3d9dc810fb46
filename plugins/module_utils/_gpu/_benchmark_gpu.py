# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Benchmark of GPUs: what may be measured, which jobs that makes, and figures out of raw times. Pure functions.

A report (schema 1, kind gpu_benchmark) has the keys that report() lists; every key is always present.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_words import CLOCK_EVENT_REASONS
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._peaks import peak_of, peaks

MEASURES = ("memory_bandwidth", "gemm", "host_to_device", "device_to_host", "peer", "all_reduce")
DTYPES = ("bf16", "fp16", "tf32", "fp8")
# measure: (unit, what one unit is).
UNITS = {measure: ("TFLOP/s", 1e12) if measure == "gemm" else ("GB/s", 1e9) for measure in MEASURES}
MIB = 1024**2
GIB = 1024**3
# Buffers of a copy: at least this, four times the L2 cache, at most that (the bench knows the cache).
COPY_BYTES = 256 * MIB
COPY_MAX_BYTES = 512 * MIB
# A large message, as small ones measure how fast NCCL starts. One buffer per card, summed in place.
ALL_REDUCE_BYTES = GIB
# Memory that an idle card holds for itself. Source: gcm (facebookresearch), which takes the same limit.
IDLE_BYTES = 15 * MIB
GPU_IS_LOST = 15
MAX_MEMORY_BYTES = (64 * MIB, 64 * GIB)
MATRIX_SIZE = (1024, 32768)
# Products of 8 bits want sizes in steps; this one is good for all of them.
MATRIX_STEP = 128
DEADLINE_SECONDS = (10.0, 7200.0)
# An interpreter may load torch from a slow disk; a card may take long to wake up.
START_SECONDS = 120.0
JOB_SECONDS = 5.0
FIRST_ALL_REDUCE_SECONDS = 60.0
# Bytes of one element of the two factors and of the product, together.
ELEMENT_BYTES = {"bf16": 6, "fp16": 6, "tf32": 12, "fp8": 4}


@dataclass(frozen=True)
class Profile:
    """How long each measure takes. pair_seconds: the same for one direction between two GPUs."""

    warm_up_seconds: float
    seconds: float
    sample_seconds: float
    pair_seconds: float


PROFILES = {"quick": Profile(0.4, 1.6, 0.04, 0.4), "standard": Profile(2.0, 8.0, 0.1, 2.0)}


@dataclass(frozen=True)
class Options:
    """What to measure, and how. gpus: numbers, UUIDs or PCI addresses; empty: all."""

    profile: str = "quick"
    measures: tuple[str, ...] = MEASURES
    dtypes: tuple[str, ...] = DTYPES
    gpus: tuple[str, ...] = ()
    force: bool = False
    max_memory_bytes: int = GIB
    matrix_size: int = 8192
    deadline_seconds: float | None = None

    def problems(self) -> list[str]:
        """Return what is wrong: the option, the value and the fix. Empty: all is well."""
        found = []
        for option, given, known in (("measures", self.measures, MEASURES), ("dtypes", self.dtypes, DTYPES)):
            if not given:
                found.append(f"{option}: it is empty. Give some of: {', '.join(known)}.")
            for word in given:
                if word not in known:
                    near = nearest(word, known)
                    hint = f"Did you mean {near}?" if near else f"Use some of: {', '.join(known)}."
                    found.append(f"{option}: {word!r} is not known. {hint}")
        if self.profile not in PROFILES:
            found.append(f"profile: {self.profile!r} is not known. Use one of: {', '.join(PROFILES)}.")
        low, high = MAX_MEMORY_BYTES
        if not low <= self.max_memory_bytes <= high:
            found.append(f"max_memory_bytes: {self.max_memory_bytes} is out of range. Use {low} to {high}.")
        low, high = MATRIX_SIZE
        if not low <= self.matrix_size <= high or self.matrix_size % MATRIX_STEP:
            found.append(
                f"matrix_size: {self.matrix_size} does not fit. Use {low} to {high}, in steps of {MATRIX_STEP}."
            )
        elif "gemm" in self.measures and not found:
            found += self._too_large()
        shortest, longest = DEADLINE_SECONDS
        if self.deadline_seconds is not None and not shortest <= self.deadline_seconds <= longest:
            found.append(
                f"deadline_seconds: {self.deadline_seconds:g} is out of range. Use {shortest:g} to {longest:g}."
            )
        return found

    def _too_large(self) -> list[str]:
        need, dtype = max((ELEMENT_BYTES[dtype] * self.matrix_size**2, dtype) for dtype in self.dtypes)
        if need <= self.max_memory_bytes:
            return []
        return [
            f"matrix_size: {self.matrix_size} needs {need // MIB} MiB for {dtype}, and max_memory_bytes allows "
            f"{self.max_memory_bytes // MIB} MiB. Take a smaller matrix_size, or set max_memory_bytes to {need}."
        ]


class OptionError(ValueError):
    """An option does not fit this host; the message names the option, the value and the fix."""


def choose_gpus(gpus: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the GPUs that are meant, each once, in the order of the driver. Raises OptionError."""
    if not wanted:
        return list(gpus)
    chosen = set()
    for word in wanted:
        names = [{str(gpu["index"]), str(gpu["uuid"]), str(gpu["pci"]["address"])} for gpu in gpus]
        places = [place for place, known in enumerate(names) if str(word).strip().lower() in {n.lower() for n in known}]
        if not places:
            known = ", ".join(f"{gpu['index']} ({gpu['pci']['address']})" for gpu in gpus)
            raise OptionError(f"gpus: {word!r} is none of this host's GPUs: {known}. Give a number, UUID or address.")
        chosen.update(places)
    return [gpu for place, gpu in enumerate(gpus) if place in chosen]


def refusals(gpus: Sequence[Mapping[str, Any]], force: bool) -> list[str]:
    """Return why these cards must not be measured now; force lets those through that are only in use."""
    found = []
    for gpu in gpus:
        name = f"GPU {gpu['index']} ({gpu['pci']['address']})"
        lost = [error for error in gpu["errors"].values() if error["code"] == GPU_IS_LOST]
        if lost or not gpu["uuid"]:
            found.append(f"{name} fell off the bus. Ask gpu_health; leave it out with the option gpus.")
        elif gpu["mig"]["current"]:
            found.append(
                f"{name} is split by MIG, and this measures whole cards. Turn MIG off, or leave it out with gpus."
            )
        elif not force:
            found += _in_use(gpu, name)
    return found


def _in_use(gpu: Mapping[str, Any], name: str) -> list[str]:
    fix = "Drain and stop what uses it first; force: true measures all the same, and slows it down."
    alive = [process for process in gpu["processes"] if process["alive"]]
    if alive:
        users = ", ".join(f"{process['pid']} ({process['name'] or 'unknown'})" for process in alive[:5])
        return [f"{name} is in use by process {users}. {fix}"]
    memory = gpu["memory"]
    # Drivers that do not tell the reserve count it as used: then nothing can be said.
    if memory["used_bytes"] is None or memory["reserved_bytes"] is None or memory["used_bytes"] <= IDLE_BYTES:
        return []
    return [
        f"{name} holds {memory['used_bytes'] // MIB} MiB, and no process is seen; an idle card holds at most "
        f"{IDLE_BYTES // MIB} MiB. Look for a container with: fuser -v /dev/nvidia*. {fix}"
    ]


def plan_jobs(count: int, options: Options) -> list[dict[str, Any]]:
    """Return the jobs for this many GPUs, in order: {"measure", "dtype", "gpus" (places), seconds, sizes}."""
    profile = PROFILES[options.profile]
    times = {
        "warm_up_seconds": profile.warm_up_seconds,
        "seconds": profile.seconds,
        "sample_seconds": profile.sample_seconds,
    }
    jobs: list[dict[str, Any]] = []

    def add(measure: str, gpus: Sequence[int], dtype: str | None = None, **more: Any) -> None:
        jobs.append({"measure": measure, "dtype": dtype, "gpus": list(gpus), **times, **more})

    for place in range(count):
        for measure in (name for name in MEASURES if name in options.measures):
            if measure == "memory_bandwidth":
                add(measure, [place], bytes=COPY_BYTES, max_bytes=COPY_MAX_BYTES)
            elif measure == "gemm":
                for dtype in (name for name in DTYPES if name in options.dtypes):
                    add(measure, [place], dtype, matrix_size=options.matrix_size)
            elif measure in ("host_to_device", "device_to_host"):
                add(measure, [place], bytes=COPY_BYTES)
    if count > 1 and "peer" in options.measures:
        short: dict[str, Any] = {
            "seconds": profile.pair_seconds,
            "warm_up_seconds": min(0.1, profile.warm_up_seconds),
            "sample_seconds": profile.sample_seconds / 2,
        }
        for source in range(count):
            for target in range(count):
                if source != target:
                    add("peer", [source, target], bytes=COPY_BYTES, **short)
    if count > 1 and "all_reduce" in options.measures:
        add("all_reduce", range(count), bytes=ALL_REDUCE_BYTES)
    return jobs


def deadline_seconds(jobs: Sequence[Mapping[str, Any]], options: Options) -> float:
    """Return after how long the bench is ended: the option, or far more than it takes when all is well."""
    if options.deadline_seconds is not None:
        return options.deadline_seconds
    each = (JOB_SECONDS + 2 * (job["warm_up_seconds"] + job["seconds"]) for job in jobs)
    once = FIRST_ALL_REDUCE_SECONDS if any(job["measure"] == "all_reduce" for job in jobs) else 0.0
    return min(DEADLINE_SECONDS[1], START_SECONDS + once + sum(each))


def expected_seconds(jobs: Sequence[Mapping[str, Any]]) -> float:
    """Return about how long the jobs take when all is well."""
    return round(sum(job["warm_up_seconds"] + job["seconds"] for job in jobs), 1)


def child_request(
    gpus: Sequence[Mapping[str, Any]],
    jobs: Sequence[Mapping[str, Any]],
    options: Options,
    cpus: Mapping[int, Sequence[int]],
    pynvml_file: str | None,
) -> dict[str, Any]:
    """Return what the bench is asked. cpus: the processors next to each GPU, by its number."""
    return {
        "device": "cuda",
        "gpus": [{"index": gpu["index"], "uuid": gpu["uuid"], "cpus": cpus.get(gpu["index"])} for gpu in gpus],
        "jobs": [dict(job) for job in jobs],
        "max_memory_bytes": options.max_memory_bytes,
        "pynvml_file": pynvml_file,
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile by straight lines between the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def figures(record: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """Return median and spread of the rate from the times of the samples. The p5 is slow, the p95 fast."""
    unit, one = UNITS[measure]
    work = record["amount"] * record["iterations"] / one
    rates = [work / seconds for seconds in record["seconds"] if seconds > 0]
    if not rates:
        return {"unit": unit, "median": None, "p5": None, "p95": None, "spread_percent": None, "samples": 0}
    median = quantile(rates, 0.5)
    low, high = quantile(rates, 0.05), quantile(rates, 0.95)
    return {
        "unit": unit,
        "median": _short(median),
        "p5": _short(low),
        "p95": _short(high),
        "spread_percent": round(100 * (high - low) / median, 2),
        "samples": len(rates),
    }


def conditions(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return under which clocks, power, heat and PCIe link a figure came about, over all cards of the job.

    clock_event_reasons: the share of samples with each reason. missing: why nothing was seen, or null.
    """
    samples = record.get("watched") or []
    words: dict[str, Any] = {"source": record.get("watched_by", "none"), "samples": len(samples)}
    for key in ("sm_mhz", "memory_mhz", "power_watts", "temperature_celsius", "pcie_generation", "pcie_width"):
        seen = [sample[key] for sample in samples if sample.get(key) is not None]
        words[key] = {"min": min(seen), "median": quantile(seen, 0.5), "max": max(seen)} if seen else None
    masks = [sample["reasons"] for sample in samples if sample.get("reasons") is not None]
    words["clock_event_reasons"] = None
    if masks:
        counted = {name: sum(bool(mask >> bit & 1) for mask in masks) for bit, name in enumerate(CLOCK_EVENT_REASONS)}
        words["clock_event_reasons"] = {name: round(n / len(masks), 3) for name, n in counted.items() if n}
    words["missing"] = None if samples else (record.get("unwatched") or "nobody looked")
    return words


def gpu_entry(gpu: Mapping[str, Any], card: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a report keeps of a GPU. card: what torch said of it, None when it did not come so far."""
    multiprocessors = card["multiprocessors"] if card else None
    return {
        **{key: gpu[key] for key in ("index", "uuid", "name", "serial", "architecture", "compute_capability")},
        "pci_address": gpu["pci"]["address"],
        "device_id": gpu["pci"]["device_id"],
        "subsystem_id": gpu["pci"]["subsystem_id"],
        "pcie_generation_max": gpu["pci"]["generation_max"],
        "pcie_width_max": gpu["pci"]["width_max"],
        "power_limit_watts": gpu["power"]["enforced_limit_watts"],
        "power_default_watts": gpu["power"]["default_limit_watts"],
        "multiprocessors": multiprocessors,
        "l2_bytes": card["l2_bytes"] if card else None,
        "peaks": peaks(gpu, multiprocessors),
    }


def report(
    gpus: Sequence[Mapping[str, Any]],
    topology: Sequence[Mapping[str, Any]],
    jobs: Sequence[Mapping[str, Any]],
    options: Options,
    records: Sequence[Mapping[str, Any]],
    stopped: str | None,
) -> dict[str, Any]:
    """Return the report from what the bench wrote. stopped: why it did not come to its end, None when it did."""
    torch: Mapping[str, Any] = next((record for record in records if "torch" in record), {})
    cards = {record["card"]: record for record in records if "card" in record}
    entries = [gpu_entry(gpu, cards.get(place)) for place, gpu in enumerate(gpus)]
    results, skipped, failed = [], [], []
    ends = {record[key]: record for record in records for key in ("measured", "skipped", "failed") if key in record}
    for number, job in enumerate(jobs):
        record = ends.get(number, {})
        places = job["gpus"]
        what = {
            "measure": job["measure"],
            "dtype": job["dtype"],
            "gpus": [entries[place]["index"] for place in places],
        }
        if "measured" in record:
            results.append(_result(what, job, record, entries[places[0]], topology))
        elif "skipped" in record:
            skipped.append({**what, "why": record["why"]})
        else:
            failed.append(
                {**what, "error": record.get("error") or f"not measured: {stopped or 'the bench left it out'}"}
            )
    return {
        "schema": 1,
        "kind": "gpu_benchmark",
        "profile": options.profile,
        "complete": not failed,
        "stopped": stopped,
        "torch": {key: torch.get(key) for key in ("torch", "cuda", "nccl")},
        "gpus": entries,
        "results": results,
        "skipped": skipped,
        "failed": failed,
    }


def _result(
    what: Mapping[str, Any],
    job: Mapping[str, Any],
    record: Mapping[str, Any],
    entry: Mapping[str, Any],
    topology: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    pair = sorted(what["gpus"])
    between = next((item for item in topology if [item["a"], item["b"]] == pair), None)
    return {
        **what,
        **figures(record, job["measure"]),
        "peak": peak_of(entry["peaks"], job["measure"], job["dtype"]),
        "bytes": record["bytes"],
        "matrix_size": record.get("matrix_size"),
        "path": record.get("path") or _path(what, topology),
        "between": {key: between[key] for key in ("ancestor", "p2p_nvlink")} if between else None,
        "iterations_per_sample": record["iterations"],
        "measured_seconds": round(sum(record["seconds"]), 3),
        "timer": record["timer"],
        "memory_peak_bytes": record["memory_peak_bytes"],
        "notes": list(record["notes"]),
        "conditions": conditions(record),
    }


def _path(what: Mapping[str, Any], topology: Sequence[Mapping[str, Any]]) -> str | None:
    """Return nvlink when every two GPUs of an all-reduce reach each other over it, else pcie; None when not known."""
    known = [item["p2p_nvlink"] for item in topology if item["a"] in what["gpus"] and item["b"] in what["gpus"]]
    if what["measure"] != "all_reduce" or not known or None in known:
        return None
    return "nvlink" if set(known) == {"ok"} else "pcie"


def strangers(gpus: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where torch looked at another card than the driver named: its figures would go to the wrong card."""
    found = []
    for record in records:
        if "card" not in record:
            continue
        wanted, seen = str(gpus[record["card"]]["uuid"]), str(record["uuid"])
        if _digits(seen) and _digits(wanted) and _digits(seen) != _digits(wanted):
            found.append(f"torch shows the card {seen} in the place of {wanted}")
    return found


def _digits(uuid: str) -> str | None:
    """Return the 32 digits of a UUID; None when it has another form, of which nothing can be said."""
    digits = re.sub("[^0-9a-f]", "", uuid.lower().replace("gpu", ""))
    return digits if len(digits) == 32 else None


def _short(value: float) -> float:
    return float(f"{value:.5g}")
