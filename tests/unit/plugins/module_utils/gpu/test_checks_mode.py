# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of modes: what the driver asks for, and what the site wants."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _checks_mode as checks
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Context
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._xid_policy import recovery_action
from ansible_collections.local_llm.ops.plugins.plugin_utils._xid_data import load_policies, merge_overrides
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


@pytest.mark.parametrize(
    ("value", "status", "remedy"),
    [
        (0, "ok", "none"),
        (1, "fail", "reset_gpu"),
        (2, "fail", "reboot"),
        (3, "fail", "reset_gpu"),
        (4, "fail", "reset_gpu"),
        (5, "fail", "configure"),
        (6, "fail", "reboot"),
        (7, "fail", "reboot"),
        (8, "warn", "none"),
        (None, "skip", "none"),
    ],
)
def test_recovery_action_is_followed(value: Any, status: str, remedy: str) -> None:
    found = one("reset_required", recovery_action=value)
    assert (found["status"], found["remedy"]) == (status, remedy)
    assert "{" not in found["action"]


def test_recovery_actions_without_a_policy_are_those_of_the_policy() -> None:
    policy = load_policies()["xid"]["recovery_actions"]
    assert {int(value): dict(action) for value, action in policy.items()} == checks.RECOVERY_ACTIONS


@pytest.mark.parametrize("key", [6, "6"])
def test_the_policy_of_xids_says_what_a_recovery_action_asks_for(key: Any) -> None:
    asked = {"meaning": "a look", "status": "warn", "remedy": "configure", "advice": "Look at it."}
    host = snapshot([gpu(0, recovery_action=6)])
    (found,) = run("reset_required", host, Context(policies={"xid": {"recovery_actions": {key: asked}}}))
    assert (found["status"], found["remedy"]) == ("warn", "configure")
    assert "a look" in found["observed"] and "Look at it." in found["action"]


def test_the_log_and_nvml_ask_for_the_same_thing() -> None:
    policies = merge_overrides(load_policies(), {})
    for value in checks.RECOVERY_ACTIONS:
        (found,) = run("reset_required", snapshot([gpu(0, recovery_action=value)]), Context(policies=policies))
        asked = recovery_action(policies["xid"], value) or {}
        assert (found["status"], found["remedy"]) == (asked["status"], asked["remedy"])


ASKS = {"nvmlDeviceGetTemperature": {"code": 16, "name": "RESET_REQUIRED"}}


@pytest.mark.parametrize(("value", "remedy"), [(None, "reset_gpu"), (0, "reset_gpu"), (2, "reboot"), (8, "reset_gpu")])
def test_code_16_asks_for_a_reset_unless_the_driver_asks_for_more(value: Any, remedy: str) -> None:
    found = one("reset_required", recovery_action=value, errors=ASKS)
    assert (found["status"], found["remedy"]) == ("fail", remedy)


def test_other_errors_ask_for_no_reset() -> None:
    errors = {"nvmlDeviceGetClockInfo": {"code": 999, "name": "UNKNOWN"}}
    assert one("reset_required", errors=errors)["status"] == "ok"


def with_daemon(state: str, mode: bool | None) -> dict[str, Any]:
    host = snapshot([gpu(0, persistence_mode=mode)])
    host["units"]["nvidia-persistenced.service"]["active_state"] = state
    return host


@pytest.mark.parametrize(
    ("daemon", "mode", "expected", "status"),
    [
        ("inactive", True, {}, "ok"),
        ("active", True, {}, "ok"),
        ("active", False, {}, "warn"),
        ("inactive", False, {}, "warn"),
        ("failed", False, {"persistence": True}, "warn"),
        ("inactive", False, {"persistence": None}, "warn"),
        ("inactive", False, {"persistence": False}, "skip"),
        ("inactive", None, {}, "skip"),
    ],
)
def test_persistence(daemon: str, mode: Any, expected: dict[str, Any], status: str) -> None:
    (found,) = run("persistence", with_daemon(daemon, mode), Context(expected=expected))
    assert (found["status"], found["remedy"]) == (status, "configure" if status == "warn" else "none")


@pytest.mark.parametrize(
    ("mode", "wanted", "status"),
    [
        ("default", None, "ok"),
        ("exclusive_process", None, "ok"),
        ("prohibited", None, "warn"),
        ("prohibited", "prohibited", "ok"),
        ("default", "exclusive_process", "warn"),
        ("exclusive_process", "exclusive_process", "ok"),
        (None, "default", "skip"),
    ],
)
def test_compute_mode(mode: Any, wanted: Any, status: str) -> None:
    found = one("compute_mode", expected={"compute_mode": wanted}, compute_mode=mode)
    assert found["status"] == status
    if status == "warn":
        number = 3 if wanted else 0
        assert f"nvidia-smi -i 0000:18:00.0 -c {number}." in found["action"]


@pytest.mark.parametrize(
    ("now", "pending", "wanted", "status", "remedy"),
    [
        (False, False, None, "ok", "none"),
        (True, True, None, "ok", "none"),
        (True, None, None, "ok", "none"),
        (False, True, None, "warn", "reset_gpu"),
        (False, True, True, "warn", "reset_gpu"),
        (False, False, True, "warn", "configure"),
        (True, True, False, "warn", "configure"),
        (False, True, False, "warn", "configure"),
        (None, None, True, "skip", "none"),
    ],
)
def test_mig_mode(now: Any, pending: Any, wanted: Any, status: str, remedy: str) -> None:
    found = one("mig_mode", expected={"mig": wanted}, mig__current=now, mig__pending=pending)
    assert (found["status"], found["remedy"]) == (status, remedy)


@pytest.mark.parametrize(
    ("valid", "code", "status"),
    [(True, None, "ok"), (False, None, "fail"), (None, None, "skip"), (None, 14, "fail"), (True, 14, "fail")],
)
def test_inforom(valid: Any, code: Any, status: str) -> None:
    errors = {} if code is None else {"nvmlDeviceGetInforomImageVersion": {"code": code, "name": "CORRUPTED_INFOROM"}}
    found = one("inforom", inforom_valid=valid, errors=errors)
    assert (found["status"], found["remedy"]) == (status, "reset_gpu" if status == "fail" else "none")
