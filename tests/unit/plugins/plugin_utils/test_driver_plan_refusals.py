# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What forbids to touch the driver of a host, and what decides over modules, reboot and units."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver._shapes import PIN_KEYS, PLAN_KEYS
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import load_driver_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan import plan_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_wanted import WantedError
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.driver_hosts import (
    DEBIAN,
    DEBIAN_OFFER,
    EL,
    NEWEST,
    NVIDIA_DEBIAN,
    RUNNING,
    host,
    installed,
    offered,
    refused,
    ubuntu,
    wanted,
)

FACTS = load_driver_facts()
BROKEN = {
    "nvidia-kernel-dkms": {"version": "535.261.03-1", "status": "half-configured", "held": False, "origin": "debian"}
}


MIXED = {**installed("nvidia", ("libcuda1",), "535.1-1"), **installed("debian", ("nvidia-smi",), "535.2-1")}
BEFORE = installed("ubuntu", ("libnvidia-compute-570-server",), "570.172.08-0ubuntu1")
UNITS = (
    "ollama.service", "local-llm@chat.service", "user@0.service", "session-1.scope", None, "nvidia-dcgm.service",
)  # fmt: skip


def kernels(newest_has_headers: bool) -> list[dict[str, Any]]:
    return [{"release": RUNNING, "headers": True}, {"release": NEWEST, "headers": newest_has_headers}]


def plan(facts: dict[str, Any], wish: dict[str, Any] | None = None) -> dict[str, Any]:
    return plan_driver(facts, wish or wanted(), FACTS)


@pytest.mark.parametrize(
    ("changes", "wish", "check", "words"),
    [
        ({"distribution": "arch"}, {}, "driver_distribution", "debian 12"),
        ({"distribution_version": "11"}, {}, "driver_distribution", "nvidia_driver_source to none"),
        ({"available": {}}, {}, "driver_version", "Add the archive"),
        ({}, {"version": "580"}, "driver_version", "535.261.03"),
        ({"packages": installed("nvidia", ("nvidia-driver-cuda",), "580.95.05-1")}, {}, "driver_sources", "absent"),
        (
            {"packages": MIXED},
            {}, "driver_sources", "one archive",
        ),
        ({"loaded_version": "580.95.05"}, {}, "driver_sources", "nvidia-uninstall"),
        ({"library_version": "580.95.05"}, {}, "driver_sources", "nvidia-uninstall"),
        ({"broken_packages": ["nvidia-kernel-dkms"], "packages": BROKEN}, {}, "driver_packages", "dpkg --configure -a"),
        ({"kernels": [{"release": RUNNING, "headers": False}]}, {}, "driver_headers", f"linux-headers-{RUNNING}"),
        (
            {"kernel_newest": NEWEST, "kernels": kernels(False)},
            {}, "driver_headers", f"linux-headers-{NEWEST}",
        ),
        ({"secure_boot": "on", "mok_enrolled": False}, {}, "driver_secure_boot", "mokutil --import"),
        ({"secure_boot": "on", "mok_enrolled": None}, {}, "driver_secure_boot", "mokutil --import"),
        ({"disk_free_bytes": 1 << 30}, {}, "driver_disk", "apt-get clean"),
        ({"locks_held": ["/var/lib/dpkg/lock-frontend is held by process 7"]}, {}, "driver_lock", "Wait"),
        ({"nvswitch_count": 4}, {}, "driver_fabric_manager", "nvidia_driver_source to nvidia"),
        ({}, {"extras": {"fabric_manager": "yes"}}, "driver_fabric_manager", "nvidia_driver_source to nvidia"),
        ({"generations": ["blackwell"]}, {}, "driver_generation", "570"),
        ({"generations": ["hopper", "blackwell"]}, {"modules": "proprietary"}, "driver_modules", "leave it auto"),
        ({"generations": ["pascal"]}, {"modules": "open"}, "driver_modules", "leave it auto"),
        ({"generations": ["pascal", "blackwell"]}, {}, "driver_modules", "Take one kind out"),
        ({"kernel_newest": NEWEST, "kernels": kernels(True)},
         {"reboot": "no"}, "driver_reboot", "nvidia_driver_reboot"),
    ],
)  # fmt: skip
def test_each_danger_is_refused_with_its_fix(
    changes: dict[str, Any], wish: dict[str, Any], check: str, words: str
) -> None:
    result = plan(host(**{"available": DEBIAN_OFFER, **changes}), wanted(**wish))
    found = [one for one in result["refusals"] if one["check"] == check]
    assert found, refused(result)
    assert words in found[0]["action"]
    assert found[0]["status"] == "fail" and found[0]["expected"] and found[0]["observed"]


@pytest.mark.parametrize("generation", ["maxwell", "pascal", "volta"])
def test_old_gpus_get_proprietary_modules_and_nothing_after_580(generation: str) -> None:
    offer = offered("nvidia", (NVIDIA_DEBIAN, "595.71.05-1"), (NVIDIA_DEBIAN, "580.95.05-1"))
    facts = host("debian", "13", available=offer, generations=[generation, "hopper"])
    good, bad = plan(facts, wanted("580", "nvidia")), plan(facts, wanted("595", "nvidia"))
    assert (good["modules"], refused(good)) == ("proprietary", [])
    assert generation in good["modules_reason"]
    assert refused(bad) == ["driver_generation"]


@pytest.mark.parametrize("modules", ["auto", "proprietary"])
def test_grace_hopper_works_with_the_open_modules_only(modules: str) -> None:
    offer = offered("nvidia", (NVIDIA_DEBIAN, "550.163.01-1"))
    facts = host("debian", "13", available=offer, generations=["grace_hopper"], architecture="aarch64")
    result = plan(facts, wanted("550", "nvidia", modules=modules))
    if modules == "auto":
        assert (result["modules"], refused(result)) == ("open", [])
    else:
        assert refused(result) == ["driver_modules"]


def test_blackwell_gets_open_modules_and_a_word_about_switches_that_are_not_seen() -> None:
    facts = host("debian", "13", available=offered("nvidia", (NVIDIA_DEBIAN, "580.95.05-1")), generations=["blackwell"])
    assert plan(facts, wanted("580", "nvidia"))["modules"] == "open"
    facts["gpus"][0]["device_id"] = "2901"
    result = plan(facts, wanted("580", "nvidia"))
    assert refused(result) == []
    assert "nvidia_driver_fabric_manager to yes" in result["warnings"][0]["action"]
    with_fabric = plan(facts, wanted("580", "nvidia", extras={"fabric_manager": "yes"}))
    assert "nvidia-fabricmanager" in with_fabric["install"]
    assert [one["subject"] for one in with_fabric["warnings"]] == ["nvlsm"]


def test_the_subnet_manager_comes_with_the_fabric_manager_of_blackwell_in_its_own_version() -> None:
    offer = {**offered("nvidia", (NVIDIA_DEBIAN, "580.95.05-1")), **offered("nvidia", (("nvlsm",), "2025.06.11-1"))}
    facts = host("debian", "13", available=offer, generations=["blackwell"])
    result = plan(facts, wanted("580", "nvidia", extras={"fabric_manager": "yes"}))
    assert result["install"]["nvlsm"] == "2025.06.11-1" and "nvlsm" in result["hold"]


def test_a_device_that_is_not_known_is_said_and_not_guessed() -> None:
    result = plan(host(available=DEBIAN_OFFER, generations=["unknown"]))
    assert [one["check"] for one in result["warnings"]] == ["driver_generation"]
    assert "not known" in result["modules_reason"]


def test_the_other_modules_are_taken_when_either_would_do_and_only_they_are_there() -> None:
    names = tuple(name for name in NVIDIA_DEBIAN if name != "nvidia-kernel-open-dkms")
    result = plan(host("debian", "13", available=offered("nvidia", (names, "580.95.05-1"))), wanted("580", "nvidia"))
    assert result["modules"] == "proprietary" and "only the proprietary" in result["modules_reason"]


def test_a_fabric_manager_of_another_version_is_refused() -> None:
    offer = {
        **offered("ubuntu", (ubuntu(580), "580.95.05-0ubuntu1")),
        **offered("ubuntu", (("nvidia-fabricmanager-580",), "580.82.07-0ubuntu1")),
    }
    result = plan(host("ubuntu", "24.04", available=offer, nvswitch_count=4), wanted("580"))
    assert refused(result) == ["driver_fabric_manager"]
    assert "580.82.07" in result["refusals"][0]["observed"]


def test_an_installed_fabric_manager_stays_in_step_without_a_switch_in_sight() -> None:
    packages = installed(
        "nvidia", ("nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-fabricmanager"), "580.82.07-1"
    )
    offer = offered("nvidia", (NVIDIA_DEBIAN, "580.95.05-1"), (NVIDIA_DEBIAN, "580.82.07-1"))
    facts = host("debian", "13", packages=packages, available=offer, loaded_version="580.82.07", loaded_flavour="open")
    assert plan(facts, wanted("580.95.05", "nvidia"))["install"]["nvidia-fabricmanager"] == "580.95.05-1"


def test_an_empty_branch_says_where_it_leads() -> None:
    offer = offered("ubuntu", (ubuntu(595), "595.71.05-0ubuntu1"))
    result = plan(host("ubuntu", "24.04", available=offer), wanted("590"))
    assert refused(result) == ["driver_version"] and "595" in result["refusals"][0]["action"]


def test_enterprise_linux_has_no_archive_of_its_own() -> None:
    result = plan(host("rhel", "9.6", available=offered("nvidia", (EL, "3:580.95.05-1.el9"))), wanted("580"))
    assert refused(result) == ["driver_distribution"] and "nvidia" in result["refusals"][0]["action"]


def test_packages_of_an_unknown_mirror_are_not_taken() -> None:
    result = plan(host(available=offered("unknown", (DEBIAN, "535.261.03-1"))))
    assert refused(result) == ["driver_version"] and "mirrors" in result["refusals"][0]["action"]


def test_debians_packages_beside_nvidias_driver_are_no_mixture() -> None:
    packages = {
        **installed("nvidia", ("nvidia-driver-cuda", "nvidia-kernel-open-dkms"), "580.95.05-1"),
        **installed("debian", ("nvidia-support", "nvidia-installer-cleanup"), "20220217+3~deb12u1"),
    }
    facts = host(packages=packages, available=offered("nvidia", (NVIDIA_DEBIAN, "580.95.05-1")))
    assert refused(plan(facts, wanted("580", "nvidia"))) == []


def test_a_busy_package_manager_does_not_fail_a_host_that_is_there_already() -> None:
    names = ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1")
    facts = host(
        packages=installed("debian", names, "535.261.03-1"), available=offered("debian", (names, "535.261.03-1")),
        loaded_version="535.261.03", loaded_flavour="proprietary", locks_held=["/x is held by process 7"],
        disk_free_bytes=0, kernels=[{"release": RUNNING, "headers": False}],
    )  # fmt: skip
    result = plan(facts)
    assert (result["changes"], refused(result)) == (False, [])
    assert [(one["check"], one["status"]) for one in result["warnings"]] == [("driver_headers", "warn")]


@pytest.mark.parametrize(
    ("changes", "answer", "words"),
    [
        ({"nvswitch_count": 6, "available": offered("ubuntu", (ubuntu(580), "580.95.05-1"))}, "needed", "NVSwitch"),
        ({"kernel_newest": NEWEST, "kernels": kernels(True)}, "needed", NEWEST),
        ({"secure_boot": "on", "mok_enrolled": True}, "needed", "Secure Boot"),
        ({}, "maybe", "nouveau"),
        ({"packages": BEFORE, "loaded_version": "570.172.08", "loaded_flavour": "open"}, "maybe", "in place"),
        ({"packages": BEFORE, "loaded_version": "570.172.08", "loaded_flavour": "proprietary"}, "maybe", "to open"),
        ({"generations": []}, "not_needed", "no NVIDIA GPU"),
    ],
)  # fmt: skip
def test_a_reboot_has_a_reason(changes: dict[str, Any], answer: str, words: str) -> None:
    base = {"available": offered("ubuntu", (ubuntu(580), "580.95.05-0ubuntu1")), **changes}
    result = plan(host("ubuntu", "24.04", **base), wanted("580", modules="open"))
    assert (result["reboot"], refused(result)) == (answer, [])
    assert words in result["reboot_reason"]
    assert ("reboot" in result["downtime_seconds"]["why"]) is (answer != "not_needed")


def test_units_stop_from_the_top_and_start_from_the_ground() -> None:
    services = {"nvidia-persistenced": "active", "nvidia-fabricmanager": "inactive", "nvidia-dcgm": "active"}
    holders = [
        {"pid": 1, "command": "x", "unit": unit, "device": "/dev/nvidia0"}
        for unit in (
            "ollama.service",
            "local-llm@chat.service",
            "user@0.service",
            "session-1.scope",
            None,
            "nvidia-dcgm.service",
        )
    ]
    result = plan(host(available=DEBIAN_OFFER, services=services, holders=holders))
    top = ["local-llm@chat.service", "ollama.service"]
    assert result["stop_units"] == [*top, "nvidia-dcgm.service", "nvidia-persistenced.service"]
    # An instance starts when the driver is proven, not before.
    assert result["start_units"] == ["nvidia-persistenced.service", "nvidia-dcgm.service", "ollama.service"]


def test_holders_that_cannot_be_seen_are_a_warning() -> None:
    assert [one["check"] for one in plan(host(available=DEBIAN_OFFER, holders=None))["warnings"]] == ["driver_holders"]


def test_the_persistence_daemon_may_lag_behind_and_may_be_left_out() -> None:
    assert plan(host(available=DEBIAN_OFFER))["install"]["nvidia-persistenced"] == "535.171.04-1~deb12u1"
    without = plan(host(available=DEBIAN_OFFER), wanted(extras={"persistenced": "no"}))
    assert "nvidia-persistenced" not in without["install"] and without["start_units"] == []
    offer = offered("debian", (DEBIAN, "535.261.03-1"))
    assert refused(plan(host(available=offer), wanted(extras={"persistenced": "yes"}))) == ["driver_extras"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"version": "535", "source": "debian"}, "source: 'debian' is none of distribution, nvidia, none"),
        ({"version": "latest", "source": "nvidia"}, "'latest' is no version"),
        ({"source": "nvidia"}, "'' is no version"),
        ({"version": "535", "source": "nvidia", "modul": "open"}, "Did you mean modules?"),
        ({"version": "535", "source": "nvidia", "extras": {"fabric": "yes"}}, "extras: fabric: no such key"),
        ({"version": "535", "source": "nvidia", "reboot": "perhaps"}, "reboot: 'perhaps'"),
        ({"version": "535", "source": "nvidia", "extras": {"container_toolkit": "yes"}}, "neither true nor false"),
    ],
)
def test_a_wish_that_cannot_be_names_key_value_and_fix(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(WantedError, match="wanted") as error:
        plan(host(), wish)
    assert words in str(error.value)


def test_yes_and_no_may_have_become_booleans_on_their_way() -> None:
    result = plan(
        host(available=DEBIAN_OFFER), wanted(reboot=True, extras={"fabric_manager": False, "persistenced": True})
    )
    assert refused(result) == []


@pytest.mark.parametrize("facts", [host(), host(available=DEBIAN_OFFER), host("arch", "1"), host("rhel", "9")])
def test_every_plan_has_every_key(facts: dict[str, Any]) -> None:
    for wish in (wanted(), {"source": "none"}):
        result = plan(facts, wish)
        assert tuple(result) == PLAN_KEYS
        assert all(tuple(one) == PIN_KEYS for one in result["pin"])
