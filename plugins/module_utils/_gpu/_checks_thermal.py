# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of heat and power of a GPU: is it slowed down, was it slowed down, is it too hot, is its power limited."""

from __future__ import annotations

from collections.abc import Mapping
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
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import (
    NOT_SUPPORTED,
    answering_gpus,
    judge_each,
    why_no_gpu_answers,
)

# Heat and power have the remedy "configure": a person looks at cooling and power supply. This is one sample, a reboot
# does not cool a card, and most hot cards are well: the ladder must neither reboot the host nor ask for a new card.
_COOLING = "Look at fans, air flow, dust and room temperature, and at the neighbours of the card."
# What slows a card down and needs a look: words for people, and what to do.
_HARD = {
    "hw_thermal": ("the hardware slows it down: too hot", f"Drain the host. {_COOLING}"),
    "hw_power_brake": (
        "the power supply slows it down (power brake)",
        "Drain the host. Look at power supplies, power cables and the event log of the BMC: ipmitool sel elist.",
    ),
}
_SOFT = {
    "sw_thermal": ("the driver slows it down: hot", _COOLING),
    "hw_slowdown": ("the hardware slows it down, the cause is not told", f"{_COOLING} Look at the power cables too."),
}
_NO_PERMISSION, _RESET_REQUIRED = 4, 16


def _throttle_hardware(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def known(gpu: Snapshot) -> bool:
        return gpu["clock_event_reasons"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        reasons = _slowed_by(gpu)
        if not reasons:
            return None
        table = {**_HARD, **_SOFT}
        seen = "; ".join(f"{reason}: {table[reason][0]}" for reason in reasons)
        action = " ".join(dict.fromkeys(table[reason][1] for reason in reasons))
        tell = check.fail if reasons[0] in _HARD else check.warn
        return tell(gpu_subject(gpu), seen, "full clocks", action, "configure", gpu)

    capped = [gpu for gpu in answering_gpus(snapshot) if "sw_power_cap" in (gpu["clock_event_reasons"] or ())]
    note = f"{gpus_subject(capped)} at the power limit: normal under load" if capped else None
    return judge_each(check, snapshot, context, known, judge, note)


def _slowed_by(gpu: Snapshot) -> list[str]:
    """Return what slows a card down now, worst first; hw_slowdown only where no part of it tells the cause."""
    reasons = gpu["clock_event_reasons"] or ()
    hard = [reason for reason in _HARD if reason in reasons]
    return hard + [reason for reason in _SOFT if reason in reasons and not (hard and reason == "hw_slowdown")]


_TIMES = {"hw_thermal": "too hot", "sw_thermal": "hot", "hw_power_brake": "power brake"}


def _throttle_time(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    limit = check.threshold(context, "share_percent")
    why = why_no_gpu_answers(snapshot, context)
    if why:
        return check.skip("GPUs", why)
    gpus = answering_gpus(snapshot)
    if all(gpu["clock_event_seconds"][key] is None for gpu in gpus for key in _TIMES):
        return check.skip(gpus_subject(gpus), NOT_SUPPORTED)
    why = why_no_comparison(snapshot)
    if why:
        return check.skip(gpus_subject(gpus), why)
    elapsed = snapshot["taken_at_seconds"] - snapshot["previous"]["taken_at_seconds"]
    grown = {gpu["uuid"]: _slowed_seconds(gpu, snapshot["previous"]["gpus"]) for gpu in gpus}
    judged = [gpu for gpu in gpus if grown[gpu["uuid"]]]
    if not judged:
        return check.skip(gpus_subject(gpus), "the run before has no times to compare with")
    found: Findings = []
    left = []
    for gpu in judged:
        over = {key: value for key, value in grown[gpu["uuid"]].items() if 100 * value / elapsed > limit}
        told = [key for key in over if key not in _slowed_by(gpu)]
        if told:
            shares = (f"{min(100 * over[key] / elapsed, 100):.0f} % ({key}: {_TIMES[key]})" for key in told)
            seen = f"slowed down {', '.join(shares)} of the time since the run before"
            action = f"Answers came slower than they should. {_COOLING}"
            if told == ["hw_power_brake"]:
                action = f"Answers came slower than they should. {_HARD['hw_power_brake'][1]}"
            found.append(check.warn(gpu_subject(gpu), seen, f"at most {limit:g} %", action, "configure", gpu))
        elif over:
            left.append(gpu)
    if found:
        return found
    if left:
        return check.skip(gpus_subject(left), "slowed down at this moment too: see throttle_hardware")
    return check.ok(gpus_subject(judged))


def why_no_comparison(snapshot: Snapshot) -> str | None:
    """Return why counters cannot be compared with those of the run before; None when they can."""
    previous = snapshot["previous"]
    if previous is None:
        return "there is no run before this one to compare with"
    if previous["boot_id"] is None or previous["boot_id"] != snapshot["boot_id"]:
        return "this is the first run since boot: a comparison needs two"
    if snapshot["taken_at_seconds"] <= previous["taken_at_seconds"]:
        return "the clock went back since the run before: nothing can be compared"
    return None


def _slowed_seconds(gpu: Snapshot, previous: Mapping[str, Any]) -> dict[str, float]:
    """Return by how much each time grew since the run before; without those that are unknown or began anew."""
    before = previous.get(gpu["uuid"], {}).get("clock_event_seconds") or {}
    grown = {}
    for key in _TIMES:
        now, then = gpu["clock_event_seconds"][key], before.get(key)
        if now is not None and then is not None and now >= then:
            grown[key] = now - then
    return grown


def _temperature_gpu(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    over = check.threshold(context, "over_limit_celsius")
    margin_limit = check.threshold(context, "margin_celsius")
    hot = check.threshold(context, "hot_celsius")

    def known(gpu: Snapshot) -> bool:
        values = gpu["temperature"]
        return values["gpu_celsius"] is not None and (
            _gpu_limit(values) is not None or values["margin_celsius"] is not None
        )

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        values = gpu["temperature"]
        now, limit, margin = values["gpu_celsius"], _gpu_limit(values), _margin(values, margin_limit, hot)
        action = f"Drain the host before the card slows down or switches off. {_COOLING}"
        if limit is not None and now > limit + over:
            return check.fail(gpu_subject(gpu), f"{now:g} C", f"at most {limit + over:g} C", action, "configure", gpu)
        if limit is None and margin is not None and margin <= 0:
            return check.fail(gpu_subject(gpu), f"{now:g} C, no margin left", "a margin", action, "configure", gpu)
        if margin is not None and margin <= margin_limit:
            seen = f"{now:g} C, {margin:g} C below the point where it slows down"
            return check.warn(gpu_subject(gpu), seen, f"more than {margin_limit:g} C", _COOLING, "configure", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


def _gpu_limit(values: Mapping[str, Any]) -> float | None:
    """Return the highest temperature that the card allows in operation, or where it slows down if that is lower."""
    limits = [values[key] for key in ("gpu_max_celsius", "slowdown_celsius") if values[key] is not None]
    return float(min(limits)) if limits else None


def _margin(values: Mapping[str, Any], margin_limit: float, hot: float) -> float | None:
    """Return how far the card is from slowing down. Cards that do not know their margin answer 0 or less while cool."""
    now, margin = values["gpu_celsius"], values["margin_celsius"]
    slowdown = values["slowdown_celsius"] if values["slowdown_celsius"] is not None else _gpu_limit(values)
    computed = None if slowdown is None else float(slowdown - now)
    if margin is None:
        return computed
    if margin > 0:
        return float(margin)
    cool = now < hot if computed is None else computed > margin_limit
    return computed if cool else float(margin)


def _temperature_memory(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    usual = check.threshold(context, "limit_celsius")

    def known(gpu: Snapshot) -> bool:
        return gpu["temperature"]["memory_celsius"] is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        now, limit = gpu["temperature"]["memory_celsius"], gpu["temperature"]["memory_max_celsius"]
        if limit is not None and now > limit:
            action = f"Drain the host before the memory makes errors. {_COOLING}"
            return check.fail(gpu_subject(gpu), f"memory {now:g} C", f"at most {limit:g} C", action, "configure", gpu)
        if limit is None and now > usual:
            seen, wanted = f"memory {now:g} C; the card names no limit", f"at most {usual:g} C"
            return check.warn(gpu_subject(gpu), seen, wanted, _COOLING, "configure", gpu)
        return None

    return judge_each(check, snapshot, context, known, judge)


def _power_cap(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    tolerance = check.threshold(context, "tolerance_watts")
    wanted = context.expected.get("power_limit_watts")

    def known(gpu: Snapshot) -> bool:
        goal = wanted if wanted is not None else gpu["power"]["default_limit_watts"]
        return gpu["power"]["enforced_limit_watts"] is not None and goal is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        limit, default = gpu["power"]["enforced_limit_watts"], gpu["power"]["default_limit_watts"]
        if wanted is not None:
            goal, wrong = wanted, abs(limit - wanted) > tolerance
        else:
            goal, wrong = default, limit < default - tolerance
        if not wrong:
            return None
        action = f"Set it: nvidia-smi -i {gpu['pci']['address']} -pl {goal:g}."
        if wanted is None:
            action += f" If the lower limit is meant: expected.power_limit_watts: {limit:g}."
        return check.warn(gpu_subject(gpu), f"limit {limit:g} W", f"{goal:g} W", action, "configure", gpu)

    return judge_each(check, snapshot, context, known, judge)


def _power_read(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    def error(gpu: Snapshot) -> Mapping[str, Any] | None:
        answer: Mapping[str, Any] | None = gpu["errors"].get("nvmlDeviceGetPowerUsage")
        return None if answer is None or answer["code"] in (_NO_PERMISSION, _RESET_REQUIRED) else answer

    def known(gpu: Snapshot) -> bool:
        return gpu["power"]["usage_watts"] is not None or error(gpu) is not None

    def judge(gpu: Snapshot) -> dict[str, Any] | None:
        answer = error(gpu)
        if answer is None:
            return None
        seen = f"nvmlDeviceGetPowerUsage: {answer['name']} ({answer['code']})"
        action = (
            "The card does not tell its power any more. Drain the host and reboot it; if it stays, replace the card."
        )
        return check.fail(gpu_subject(gpu), seen, "a reading", action, "reboot", gpu)

    return judge_each(check, snapshot, context, known, judge)


CHECKS: tuple[Check, ...] = (
    Check(
        name="throttle_hardware",
        looks_at="nothing slows the card down now",
        source="nvmlDeviceGetCurrentClocksEventReasons",
        reference="gpud, azurehpc-health-checks, NVSentinel",
        group="gpu_thermal",
        run=_throttle_hardware,
    ),
    Check(
        name="throttle_time",
        looks_at="heat and power brake did not slow the card down since the run before",
        source="NVML fields of the cumulative clock event times, the state of the run before",
        reference="DCGM *_VIOLATION: times tell more than samples",
        group="gpu_thermal",
        run=_throttle_time,
        thresholds={"share_percent": Threshold(5, 0, 100, "ours: 5 % of the time costs more than the usual spread")},
    ),
    Check(
        name="temperature_gpu",
        looks_at="the GPU is below its limits, with a margin",
        source="nvmlDeviceGetTemperatureV, nvmlDeviceGetTemperatureThreshold, nvmlDeviceGetMarginTemperature",
        reference="DCGM, gpud (a margin of 0 or less on a cool card is not supported), gcm, sichek",
        group="gpu_thermal",
        run=_temperature_gpu,
        thresholds={
            "over_limit_celsius": Threshold(0, 0, 30, "above what the card names as allowed in operation"),
            "margin_celsius": Threshold(5, 0, 50, "5 C below the point where the card slows down"),
            "hot_celsius": Threshold(
                75, 0, 120, "sichek: 75 C; only where a card names no limit: below it a margin of 0 is not believed"
            ),
        },
    ),
    Check(
        name="temperature_memory",
        looks_at="the memory is below its limit",
        source="NVML field 82, nvmlDeviceGetTemperatureThreshold (MEM_MAX)",
        reference="DCGM TEMP_VIOLATION, gpud; sichek: 95 C",
        group="gpu_thermal",
        run=_temperature_memory,
        thresholds={"limit_celsius": Threshold(95, 0, 150, "sichek: 95 C; only where the card names no limit")},
    ),
    Check(
        name="power_cap",
        looks_at="the power limit is the card's own, or the one that the site wants",
        source="nvmlDeviceGetEnforcedPowerLimit, nvmlDeviceGetPowerManagementDefaultLimit",
        reference="DCGM ENFORCED_POWER_LIMIT",
        group="gpu_thermal",
        run=_power_cap,
        thresholds={"tolerance_watts": Threshold(1, 0, 1000, "limits are rounded to milliwatts")},
    ),
    Check(
        name="power_read",
        looks_at="the card tells its power",
        source="nvmlDeviceGetPowerUsage",
        reference="DCGM POWER_UNREADABLE; NVSentinel NODE_REBOOT",
        group="gpu_thermal",
        run=_power_read,
    ),
)
