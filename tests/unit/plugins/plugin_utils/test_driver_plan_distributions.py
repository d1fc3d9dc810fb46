# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for every distribution and archive: which packages, which modules, what holds them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import load_driver_facts
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan import plan_driver
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_plan_holds import only_holds
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.driver_hosts import (
    DEBIAN,
    DEBIAN_OFFER,
    EL,
    NVIDIA_DEBIAN,
    NVIDIA_UBUNTU,
    host,
    installed,
    nvidia_ubuntu_versioned,
    offered,
    refused,
    ubuntu,
    wanted,
)

FACTS = load_driver_facts()


def plan(facts: dict[str, Any], wish: dict[str, Any]) -> dict[str, Any]:
    return plan_driver(facts, wish, FACTS)


# distribution, version, archive, wanted, package version, names offered, what must be installed, flavour
ROWS = [
    *(
        (
            "ubuntu",
            release,
            "distribution",
            "580",
            "580.95.05-0ubuntu1",
            ubuntu(580),
            "nvidia-dkms-580-server-open",
            "open",
        )
        for release in ("22.04", "24.04", "26.04")
    ),
    *(
        (
            "ubuntu",
            release,
            "distribution",
            "535",
            "535.261.03-0ubuntu1",
            ubuntu(535),
            "nvidia-dkms-535-server",
            "proprietary",
        )
        for release in ("22.04", "24.04", "26.04")
    ),
    *(
        ("ubuntu", release, "nvidia", "595", "595.71.05-1ubuntu1", NVIDIA_UBUNTU, "nvidia-dkms-open", "open")
        for release in ("22.04", "24.04", "26.04")
    ),
    *(
        (
            "ubuntu",
            release,
            "nvidia",
            "580",
            "580.95.05-0ubuntu1",
            nvidia_ubuntu_versioned(580),
            "nvidia-dkms-580-open",
            "open",
        )
        for release in ("22.04", "24.04", "26.04")
    ),
    ("debian", "12", "distribution", "535", "535.261.03-1", DEBIAN, "nvidia-kernel-dkms", "proprietary"),
    ("debian", "13", "distribution", "550", "550.163.01-2", DEBIAN, "nvidia-kernel-dkms", "proprietary"),
    ("debian", "12", "nvidia", "595", "595.71.05-1", NVIDIA_DEBIAN, "nvidia-kernel-open-dkms", "open"),
    ("debian", "13", "nvidia", "580", "580.95.05-1", NVIDIA_DEBIAN, "nvidia-kernel-open-dkms", "open"),
    *(
        (name, release, "nvidia", "580", "3:580.95.05-1.el9", EL, "kmod-nvidia-open-dkms", "open")
        for name, release in (("rhel", "8.10"), ("rocky", "9.6"), ("almalinux", "10.1"), ("ol", "9"))
    ),
]


@pytest.mark.parametrize(("name", "release", "source", "branch", "version", "names", "kernel_package", "modules"), ROWS)
@pytest.mark.parametrize("nvswitch_count", [0, 4])
def test_each_distribution_gets_its_own_packages_in_one_version(
    name: str,
    release: str,
    source: str,
    branch: str,
    version: str,
    names: tuple[str, ...],
    kernel_package: str,
    modules: str,
    nvswitch_count: int,
) -> None:
    origin = "nvidia" if source == "nvidia" else name
    facts = host(name, release, available=offered(origin, (names, version)), nvswitch_count=nvswitch_count)
    result = plan(facts, wanted(branch, source))
    if nvswitch_count and name == "debian" and source == "distribution":
        # Debian has no fabric manager of its own.
        assert refused(result) == ["driver_fabric_manager"]
        assert "nvidia_driver_source to nvidia" in result["refusals"][0]["action"]
        return
    assert refused(result) == []
    assert result["to"] == version.partition("-")[0].rpartition(":")[2]
    assert (result["modules"], result["changes"], result["from"]) == (modules, True, None)
    assert kernel_package in result["install"]
    assert set(result["install"].values()) == {version}
    assert result["hold"] == sorted(result["install"])
    assert any("fabric" in package for package in result["install"]) is bool(nvswitch_count)
    assert any("nscq" in package for package in result["install"]) is bool(nvswitch_count)
    assert ("nvidia-fabricmanager.service" in result["start_units"]) is bool(nvswitch_count)
    assert result["reboot"] == ("needed" if nvswitch_count else "maybe")
    assert sum("fabric" in package for package in result["install"]) <= 1


@pytest.mark.parametrize(("name", "release", "source", "branch", "version", "names", "kernel_package", "modules"), ROWS)
def test_a_host_that_is_there_already_has_nothing_to_do(
    name: str,
    release: str,
    source: str,
    branch: str,
    version: str,
    names: tuple[str, ...],
    kernel_package: str,
    modules: str,
) -> None:
    origin = "nvidia" if source == "nvidia" else name
    available = offered(origin, (names, version))
    first = plan(host(name, release, available=available), wanted(branch, source))
    upstream = str(first["to"])
    facts = host(
        name,
        release,
        available=available,
        packages=installed(origin, tuple(first["install"]), version),
        loaded_version=upstream,
        loaded_flavour=modules,
    )
    again = plan(facts, wanted(branch, source))
    assert (again["changes"], again["install"], again["remove"]) == (False, {}, [])
    assert (again["reboot"], again["from"], again["to"]) == ("not_needed", upstream, upstream)
    assert again["hold"] == first["hold"] and again["pin"] == first["pin"]
    assert (again["stop_units"], again["start_units"]) == ([], [])
    assert again["downtime_seconds"]["expected"] == 0


def test_packages_of_the_family_that_came_along_unheld_are_held_and_nothing_stops() -> None:
    along = {"nvidia-support": {"version": "20220217+3", "status": "installed", "held": False, "origin": "debian"}}
    first = plan(host(available=DEBIAN_OFFER), wanted())
    facts = host(
        available=DEBIAN_OFFER,
        packages={**installed("debian", tuple(first["install"]), "535.261.03-1"), **along},
        loaded_version="535.261.03",
        loaded_flavour="proprietary",
        services={"nvidia-persistenced": "active", "nvidia-fabricmanager": "absent", "nvidia-dcgm": "absent"},
        kernel_newest="6.1.0-37",
    )
    for wish in (wanted(), {"source": "none"}):
        held = plan(facts, wish)
        assert (held["changes"], only_holds(held, facts["loaded_version"])) == (True, True)
        assert "nvidia-support" in held["hold"]
        assert (held["stop_units"], held["start_units"], held["reboot"]) == ([], [], "not_needed")
    facts["packages"]["nvidia-support"]["held"] = True
    assert plan(facts, wanted())["changes"] is False
    assert plan(facts, {"source": "none"})["changes"] is False


def test_only_what_belongs_to_the_driver_is_held_where_nothing_is_installed() -> None:
    packages = {
        **installed("debian", ("nvidia-smi", "libcuda1"), "535.261.03-1"),
        "nvidia-container-toolkit": {"version": "1.17.0-1", "status": "installed", "held": False, "origin": "nvidia"},
    }
    result = plan(host(packages=packages, loaded_version="535.261.03"), {"source": "none"})
    assert (result["hold"], result["changes"]) == (["libcuda1", "nvidia-smi"], False)


def test_what_is_gone_from_the_archive_but_installed_is_no_change() -> None:
    packages = installed("local", DEBIAN[:1] + DEBIAN[2:], "535.247.01-1")
    facts = host(packages=packages, available=DEBIAN_OFFER, loaded_version="535.247.01", loaded_flavour="proprietary")
    result = plan(facts, wanted("535.247.01", extras={"persistenced": "no"}))
    assert (result["changes"], refused(result)) == (False, [])


def test_an_upgrade_takes_the_whole_closure_along_also_what_no_list_names() -> None:
    names = ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1", "libnvidia-encode1", "libnvidia-nvvm4")
    facts = host(
        packages={
            **installed("debian", names, "535.247.01-1~deb12u1"),
            **installed("debian", ("nvidia-modprobe",), "535.161.07-1~deb12u1"),
            "nvidia-old": {"version": "470.1-1", "status": "config-files", "held": False, "origin": "local"},
        },
        available={
            **DEBIAN_OFFER,
            **offered(
                "debian", (("libnvidia-encode1",), "535.261.03-1"), (("nvidia-modprobe",), "535.161.07-1~deb12u1")
            ),
        },
        loaded_version="535.247.01",
        loaded_flavour="proprietary",
    )
    result = plan(facts, wanted("535.261.03"))
    assert result["install"]["libnvidia-encode1"] == "535.261.03-1"
    assert result["remove"] == ["libnvidia-nvvm4"]  # it has no package of the new version
    assert "nvidia-modprobe" in result["hold"] and "nvidia-modprobe" not in result["install"]
    assert "libnvidia-nvvm4" not in result["hold"] and "nvidia-old" not in result["hold"]
    assert (result["from"], result["to"], result["downgrade"]) == ("535.247.01", "535.261.03", [])


def test_a_step_back_names_what_goes_back_and_keeps_the_daemon_beside() -> None:
    facts = host(
        version="13",
        packages={
            **installed("debian", ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1"), "550.163.01-2"),
            **installed("debian", ("nvidia-persistenced",), "550.163.01-1"),
        },
        available={
            **offered("debian", (DEBIAN, "550.163.01-2"), (DEBIAN, "550.54.14-1")),
            **offered("debian", (("nvidia-persistenced",), "550.163.01-1")),
        },
        loaded_version="550.163.01",
    )
    result = plan(facts, wanted("550.54.14"))
    assert result["downgrade"] == ["libcuda1", "libnvidia-ml1", "nvidia-kernel-dkms", "nvidia-smi"]
    assert "nvidia-persistenced" not in [*result["install"], *result["remove"]]
    assert "nvidia-persistenced" in result["hold"]


def test_the_branch_in_the_names_moves_and_the_old_names_leave() -> None:
    before = (
        "nvidia-dkms-570-server-open",
        "libnvidia-compute-570-server",
        "libnvidia-gl-570-server",
        "nvidia-firmware-570-server-570.172.08",
    )
    facts = host(
        "ubuntu",
        "24.04",
        packages=installed("ubuntu", before, "570.172.08-0ubuntu1"),
        available={**offered("ubuntu", ((*ubuntu(580), "libnvidia-gl-580-server"), "580.95.05-0ubuntu1"))},
        loaded_version="570.172.08",
        loaded_flavour="open",
    )
    result = plan(facts, wanted("580"))
    assert result["remove"] == sorted(before)
    assert "libnvidia-gl-580-server" in result["install"]
    assert not any("570" in name for name in result["hold"])


def test_from_590_on_the_names_of_nvidias_repository_lose_their_branch() -> None:
    before = ("libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-fabricmanager-580", "nvidia-driver-pinning-580")
    packages = installed("nvidia", before[:3], "580.95.05-0ubuntu1")
    packages["nvidia-driver-pinning-580"] = {
        "version": "580-2ubuntu1",
        "status": "installed",
        "held": False,
        "origin": "nvidia",
    }
    facts = host(
        "ubuntu",
        "24.04",
        packages=packages,
        available=offered("nvidia", (NVIDIA_UBUNTU, "595.71.05-1ubuntu1")),
        loaded_version="580.95.05",
        loaded_flavour="open",
        nvswitch_count=4,
    )
    result = plan(facts, wanted("595", "nvidia"))
    assert result["remove"] == sorted(before)
    assert {"libnvidia-compute", "nvidia-dkms-open", "nvidia-fabricmanager"} <= set(result["install"])


def test_the_desktop_flavour_leaves_when_the_server_flavour_comes() -> None:
    before = ("nvidia-driver-580", "libnvidia-compute-580", "nvidia-dkms-580")
    facts = host(
        "ubuntu",
        "22.04",
        packages=installed("ubuntu", before, "580.82.07-0ubuntu1"),
        available=offered("ubuntu", ((*ubuntu(580), *before), "580.95.05-0ubuntu1")),
        loaded_version="580.82.07",
    )
    result = plan(facts, wanted("580"))
    assert result["remove"] == sorted(before)
    assert "libnvidia-compute-580-server" in result["install"]


def test_ready_made_signed_modules_are_taken_with_secure_boot() -> None:
    available = offered("ubuntu", (ubuntu(580), "580.95.05-0ubuntu1"))
    modules = "linux-modules-nvidia-580-server-open-6.1.0-35"
    available.update(offered("ubuntu", ((modules,), "6.1.0-35.40")))
    facts = host("ubuntu", "24.04", available=available, secure_boot="on", mok_enrolled=False)
    result = plan(facts, wanted("580"))
    assert refused(result) == []
    assert result["install"][modules] == "6.1.0-35.40"
    assert not any("dkms-580" in name and "no-dkms" not in name for name in result["install"])
    assert [one["check"] for one in result["warnings"]] == ["driver_kernel"]
    assert result["reboot"] == "needed"


def test_a_host_keeps_to_ready_made_modules() -> None:
    available = offered("ubuntu", (ubuntu(580), "580.95.05-0ubuntu1"))
    modules = "linux-modules-nvidia-580-server-open-6.1.0-35"
    available.update(offered("ubuntu", ((modules,), "6.1.0-35.41")))
    packages = installed("ubuntu", (modules,), "6.1.0-35.40")
    result = plan(host("ubuntu", "24.04", available=available, packages=packages), wanted("580"))
    assert result["install"][modules] == "6.1.0-35.41"
    assert "nvidia-dkms-580-server-open" not in result["install"]


def test_a_module_stream_is_enabled_where_the_repository_has_streams() -> None:
    for release, streams in (("9.6", True), ("10.1", False)):
        facts = host("rocky", release, available=offered("nvidia", (EL, "3:580.95.05-1.el9")))
        pins = {one["path"]: one["content"] for one in plan(facts, wanted("580", "nvidia"))["pin"]}
        assert "nvidia-driver-cuda-3:580.95.05-1.el9.*\n" in pins["/etc/dnf/plugins/versionlock.list"]
        assert ("/etc/dnf/modules.d/nvidia-driver.module" in pins) is streams
        if streams:
            assert "stream=580-open\n" in pins["/etc/dnf/modules.d/nvidia-driver.module"]


def test_with_the_source_none_what_is_there_is_held_and_nothing_else() -> None:
    packages = installed("debian", ("nvidia-kernel-dkms", "libcuda1"), "535.261.03-1", held=False)
    result = plan(host(packages=packages, loaded_version="535.261.03"), {"source": "none"})
    assert (result["changes"], result["install"], result["remove"], refused(result)) == (True, {}, [], [])
    assert result["hold"] == ["libcuda1", "nvidia-kernel-dkms"] and result["to"] == "535.261.03"
    assert "Pin: version 535.261.03*\n" in result["pin"][0]["content"]
    assert plan(host(), {"source": "none"})["changes"] is False


def test_the_container_toolkit_is_installed_but_never_held() -> None:
    offer = {**DEBIAN_OFFER, **offered("nvidia", (("nvidia-container-toolkit",), "1.19.1-1"))}
    result = plan(host(available=offer), wanted(extras={"container_toolkit": True}))
    assert result["install"]["nvidia-container-toolkit"] == "1.19.1-1"
    assert "nvidia-container-toolkit" not in result["hold"]
    assert refused(plan(host(available=DEBIAN_OFFER), wanted(extras={"container_toolkit": True}))) == ["driver_extras"]


def test_packages_of_a_foreign_architecture_move_along() -> None:
    names = ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1", "libnvidia-ml1:i386")
    facts = host(
        packages=installed("debian", names, "535.247.01-1"), available=DEBIAN_OFFER, loaded_version="535.247.01"
    )
    result = plan(facts, wanted())
    assert result["install"]["libnvidia-ml1:i386"] == "535.261.03-1" and result["remove"] == []


def test_what_only_lacks_its_hold_needs_no_stop_and_no_reboot() -> None:
    names = ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1")
    facts = host(
        packages=installed("debian", names, "535.261.03-1", held=False),
        available=offered("debian", (names, "535.261.03-1")),
        loaded_version="535.261.03",
        nvswitch_count=0,
        kernel_newest="6.1.0-99",
    )
    result = plan(facts, wanted())
    assert (result["changes"], result["install"], result["reboot"], result["stop_units"]) == (
        True,
        {},
        "not_needed",
        [],
    )


def test_a_driver_that_is_there_and_not_loaded_is_a_warning() -> None:
    names = ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1", "libnvidia-ml1")
    packages = installed("debian", names, "535.261.03-1")
    result = plan(host(packages=packages, available=offered("debian", (names, "535.261.03-1"))), wanted())
    assert result["changes"] is False
    assert [one["check"] for one in result["warnings"]] == ["driver_loaded"]


def test_the_other_kind_of_modules_in_the_same_version_is_a_change() -> None:
    names = ("nvidia-driver-cuda", "nvidia-kernel-dkms")
    facts = host(
        packages=installed("nvidia", names, "580.95.05-1"),
        available=offered("nvidia", (NVIDIA_DEBIAN, "580.95.05-1")),
        loaded_version="580.95.05",
        loaded_flavour="proprietary",
    )
    result = plan(facts, wanted("580", "nvidia", modules="open"))
    assert (result["changes"], result["modules"], result["remove"]) == (True, "open", ["nvidia-kernel-dkms"])
    assert "from proprietary to open" in result["reboot_reason"]
    kept = plan(facts, wanted("580", "nvidia", extras={"persistenced": "no"}))
    assert (kept["changes"], kept["modules"]) == (False, "proprietary")
    assert kept["modules_reason"].endswith("the host has the proprietary ones")
    facts["loaded_flavour"] = facts["loaded_version"] = None
    assert plan(facts, wanted("580", "nvidia"))["modules"] == "proprietary"
