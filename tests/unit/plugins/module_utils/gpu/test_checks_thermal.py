# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of heat and power: limits, margins, and what is left to another check."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _checks_thermal as checks
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.gpu.snapshots import gpu, snapshot

BY_NAME = {check.name: check for check in checks.CHECKS}


def run(name: str, host: dict[str, Any], context: Context | None = None) -> list[dict[str, Any]]:
    """Return the findings of one check."""
    check = BY_NAME[name]
    return check.run(check, host, context or Context())


def one(name: str, /, *, expected: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the only finding about a host with one card that is altered; a broken card must give exactly one."""
    (found,) = run(name, snapshot([gpu(0, **changes)]), Context(expected=expected or {}))
    return found


def limited(name: str, key: str, value: float) -> Context:
    """Return a context in which the site sets one threshold."""
    return Context(thresholds={name: {key: value}})


@pytest.mark.parametrize(
    ("reasons", "status", "observed"),
    [
        ([], "ok", None),
        (["gpu_idle", "applications_clocks", "sync_boost", "display_clocks"], "ok", None),
        (["sw_power_cap"], "ok", "1 GPU at the power limit: normal under load"),
        (["hw_thermal"], "fail", "hw_thermal"),
        (["hw_slowdown", "hw_thermal"], "fail", "hw_thermal"),
        (["hw_slowdown", "hw_power_brake"], "fail", "hw_power_brake"),
        (["sw_thermal"], "warn", "sw_thermal"),
        (["hw_slowdown"], "warn", "hw_slowdown"),
        (["sw_power_cap", "sw_thermal"], "warn", "sw_thermal"),
        (["sw_thermal", "hw_thermal"], "fail", "hw_thermal"),
        (None, "skip", "not supported by this card"),
    ],
)
def test_throttle_hardware(reasons: Any, status: str, observed: Any) -> None:
    found = one("throttle_hardware", clock_event_reasons=reasons)
    assert found["status"] == status
    assert str(found["observed"]).startswith(str(observed))


def test_hardware_slowdown_is_named_by_its_cause_only() -> None:
    found = one("throttle_hardware", clock_event_reasons=["hw_slowdown", "hw_thermal", "hw_power_brake"])
    assert "hw_slowdown" not in found["observed"]
    assert "fans" in found["action"] and "ipmitool sel elist" in found["action"]
    assert found["remedy"] == "configure"


BEFORE = 1793534400.0 - 1000


def after_a_run(seconds: dict[str, float | None], reasons: list[str] | None = None, **previous: Any) -> dict[str, Any]:
    """Return a host 1000 seconds after a run in which all times were 50 seconds; seconds: what was added since."""
    card = gpu(0, clock_event_reasons=reasons or [])
    before = dict.fromkeys(card["clock_event_seconds"], 50.0)
    for key in before:
        more = seconds.get(key, 0.0)
        card["clock_event_seconds"][key] = None if more is None else 50.0 + more
    host = snapshot([card])
    host["previous"] = {
        "taken_at_seconds": BEFORE,
        "boot_id": host["boot_id"],
        "gpus": {card["uuid"]: {"clock_event_seconds": before, "replay_count": 0, "nvlink_errors": 0}},
        **previous,
    }
    return host


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        ({}, "ok"),
        ({"hw_thermal": 50.0}, "ok"),
        ({"hw_thermal": 50.1}, "warn"),
        ({"sw_thermal": 51.0}, "warn"),
        ({"hw_power_brake": 1000.0}, "warn"),
        ({"sw_power_cap": 1000.0, "sync_boost": 1000.0}, "ok"),
        ({"hw_thermal": -40.0}, "ok"),
        ({"hw_thermal": None}, "ok"),
        ({"hw_thermal": None, "sw_thermal": None, "hw_power_brake": None}, "skip"),
    ],
)
def test_throttle_time(seconds: dict[str, float | None], status: str) -> None:
    (found,) = run("throttle_time", after_a_run(seconds))
    assert found["status"] == status


def test_throttle_time_tells_share_and_reason() -> None:
    (found,) = run("throttle_time", after_a_run({"hw_thermal": 200.0, "sw_thermal": 10.0}))
    assert found["observed"] == "slowed down 20 % (hw_thermal: too hot) of the time since the run before"
    (found,) = run("throttle_time", after_a_run({"hw_power_brake": 200.0}))
    assert "power cables" in found["action"]


def test_what_slows_the_card_down_now_is_reported_once() -> None:
    host = after_a_run({"hw_thermal": 900.0}, ["hw_slowdown", "hw_thermal"])
    (now,), (earlier,) = run("throttle_hardware", host), run("throttle_time", host)
    assert (now["status"], earlier["status"]) == ("fail", "skip")
    assert "throttle_hardware" in earlier["observed"]
    (earlier,) = run("throttle_time", after_a_run({"hw_thermal": 900.0, "hw_power_brake": 900.0}, ["hw_thermal"]))
    assert earlier["status"] == "warn" and "hw_thermal" not in earlier["observed"]


@pytest.mark.parametrize(
    ("previous", "why"),
    [
        ({"boot_id": "another"}, "first run since boot"),
        ({"boot_id": None}, "first run since boot"),
        ({"taken_at_seconds": BEFORE + 1000}, "the clock went back"),
        ({"gpus": {}}, "no times to compare with"),
    ],
)
def test_throttle_time_skips_what_cannot_be_compared(previous: dict[str, Any], why: str) -> None:
    (found,) = run("throttle_time", after_a_run({"hw_thermal": 900.0}, **previous))
    assert found["status"] == "skip" and why in found["observed"]


def test_throttle_time_skips_on_the_first_run() -> None:
    (found,) = run("throttle_time", snapshot([gpu(0)]))
    assert found["status"] == "skip" and "no run before" in found["observed"]


T = "temperature__"


@pytest.mark.parametrize(
    ("now", "margin", "limits", "status"),
    [
        (40, 47, (87, 87), "ok"),
        (81, 6, (87, 87), "ok"),
        (82, 5, (87, 87), "warn"),
        (87, 0, (87, 87), "warn"),
        (88, -1, (87, 87), "fail"),
        (86, 3, (85, 89), "fail"),  # above the operating limit, below the slowdown
        (89, 3, (92, 88), "fail"),  # the lower limit of the two counts
        (40, 0, (87, 87), "ok"),  # a cool card that does not know its margin
        (40, -5, (87, 87), "ok"),
        (81, 0, (87, 87), "ok"),  # 6 C by the limits: more than the threshold
        (82, 0, (87, 87), "warn"),
        (82, None, (None, 87), "warn"),
        (81, None, (None, 87), "ok"),
        (82, None, (87, None), "warn"),
        (88, None, (87, None), "fail"),
        (40, 30, (None, None), "ok"),
        (60, 4, (None, None), "warn"),
        (74, 0, (None, None), "ok"),
        (75, 0, (None, None), "fail"),
        (95, None, (None, None), "skip"),
        (None, 3, (87, 87), "skip"),
    ],
)
def test_temperature_gpu(now: Any, margin: Any, limits: tuple[Any, Any], status: str) -> None:
    values = {"gpu_celsius": now, "margin_celsius": margin, "gpu_max_celsius": limits[0], "slowdown_celsius": limits[1]}
    found = one("temperature_gpu", **{T + key: value for key, value in values.items()})
    assert found["status"] == status, found
    assert found["remedy"] == ("configure" if status in ("warn", "fail") else "none")


@pytest.mark.parametrize(
    ("now", "limit", "status"),
    [
        (45, 95, "ok"),
        (95, 95, "ok"),
        (96, 95, "fail"),
        (100, 105, "ok"),
        (95, None, "ok"),
        (96, None, "warn"),
        (None, 95, "skip"),
        (None, None, "skip"),
    ],
)
def test_temperature_memory(now: Any, limit: Any, status: str) -> None:
    found = one("temperature_memory", temperature__memory_celsius=now, temperature__memory_max_celsius=limit)
    assert found["status"] == status


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("throttle_hardware", {"clock_event_reasons": ["hw_power_brake"]}),
        ("throttle_hardware", {"clock_event_reasons": ["sw_thermal"]}),
        ("temperature_gpu", {T + "gpu_celsius": 88, T + "margin_celsius": -1}),
        ("temperature_memory", {T + "memory_celsius": 96}),
        ("temperature_memory", {T + "memory_celsius": 96, T + "memory_max_celsius": None}),
    ],
)
def test_one_sample_of_heat_or_power_asks_a_person_and_no_rung_of_the_ladder(name: str, changes: dict) -> None:
    assert one(name, **changes)["remedy"] == "configure"


@pytest.mark.parametrize(
    ("limit", "default", "wanted", "status"),
    [
        (700.0, 700.0, None, "ok"),
        (699.0, 700.0, None, "ok"),
        (698.9, 700.0, None, "warn"),
        (800.0, 700.0, None, "ok"),
        (500.0, 700.0, 500, "ok"),
        (700.0, 700.0, 500, "warn"),
        (400.0, 700.0, 500, "warn"),
        (500.0, None, 500, "ok"),
        (500.0, None, None, "skip"),
        (None, 700.0, 500, "skip"),
    ],
)
def test_power_cap(limit: Any, default: Any, wanted: Any, status: str) -> None:
    expected = {} if wanted is None else {"power_limit_watts": wanted}
    found = one("power_cap", expected=expected, power__enforced_limit_watts=limit, power__default_limit_watts=default)
    assert found["status"] == status
    if status == "warn":
        assert found["remedy"] == "configure" and f"-pl {wanted or 700}" in found["action"]


@pytest.mark.parametrize(
    ("usage", "code", "status"),
    [
        (120.0, None, "ok"),
        (None, 999, "fail"),
        (None, 10, "fail"),
        (None, None, "skip"),
        (None, 16, "skip"),  # reset_required reports it
        (None, 4, "skip"),  # no permission tells nothing about the card
    ],
)
def test_power_read(usage: Any, code: Any, status: str) -> None:
    errors = {} if code is None else {"nvmlDeviceGetPowerUsage": {"code": code, "name": "NAME"}}
    found = one("power_read", power__usage_watts=usage, errors=errors)
    assert (found["status"], found["remedy"]) == (status, "reboot" if status == "fail" else "none")


def test_errors_of_other_calls_are_no_power_fault() -> None:
    errors = {"nvmlDeviceGetClockInfo": {"code": 999, "name": "UNKNOWN"}}
    assert one("power_read", errors=errors)["status"] == "ok"


@pytest.mark.parametrize(
    ("name", "key", "value", "changes", "status"),
    [
        ("temperature_gpu", "over_limit_celsius", 2, {T + "gpu_celsius": 89, T + "margin_celsius": 9}, "ok"),
        ("temperature_gpu", "over_limit_celsius", 2, {T + "gpu_celsius": 90, T + "margin_celsius": 9}, "fail"),
        ("temperature_gpu", "margin_celsius", 10, {T + "margin_celsius": 10}, "warn"),
        ("temperature_memory", "limit_celsius", 80, {T + "memory_celsius": 81, T + "memory_max_celsius": None}, "warn"),
        ("power_cap", "tolerance_watts", 50, {"power__enforced_limit_watts": 650.0}, "ok"),
    ],
)
def test_site_moves_a_threshold(name: str, key: str, value: float, changes: dict[str, Any], status: str) -> None:
    (found,) = run(name, snapshot([gpu(0, **changes)]), limited(name, key, value))
    assert found["status"] == status


def test_site_moves_the_share_of_throttle_time() -> None:
    (found,) = run("throttle_time", after_a_run({"hw_thermal": 10.0}), limited("throttle_time", "share_percent", 0.5))
    assert found["status"] == "warn"
