# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a host before a rollout."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._preflight import (
    Disk,
    Listener,
    check_clock,
    check_disks,
    check_keys,
    check_memory,
    check_ports,
    check_prepared,
    check_stop_time,
    check_system,
    disk_needs,
    listening_sockets,
    size_text,
    unit_name,
)
from ansible_collections.local_llm.ops.plugins.module_utils._preflight_host import (
    instance_keys,
    missing_preparation,
    read_disk,
    read_listeners,
    read_memory_total_bytes,
    read_unit,
)

MODELS = "/var/lib/local_llm/models"
ENGINES = "/opt/local_llm/engines"
GIB = 1 << 30


def instance(name: str = "chat", port: int = 8001, model_bytes: int = GIB, **description: Any) -> dict[str, Any]:
    return {
        "instance": name,
        "model_bytes": model_bytes,
        "engine_bytes": 1000,
        "description": {
            "engine": "llamacpp",
            "engine_version": "0.7.0",
            "model": "tiny",
            "model_revision": "r1",
            "port": port,
            "gpus": "all",
            **description,
        },
    }


def statuses(findings: list[dict[str, Any]]) -> list[str]:
    return [item["status"] for item in findings]


def test_a_free_port_and_the_own_port_are_fine() -> None:
    assert statuses(check_ports([instance()], [])) == ["ok"]
    own = Listener(8001, 77, "llama-server", "local-llm@chat.service")
    assert statuses(check_ports([instance()], [own])) == ["ok"]
    assert statuses(check_ports([instance()], [Listener(9000, 1, "x", "")])) == ["ok"]


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        (Listener(8001, 77, "nginx", "nginx.service"), ["nginx, process 77 of nginx.service", "ss -ltnp"]),
        (Listener(8001, 77, "python3", ""), ["python3, process 77"]),
        (Listener(8001, None, "?", ""), ["run as root"]),
        (Listener(8001, 77, "llama-server", "local-llm@code.service"), ["local-llm@code.service", "another instance"]),
    ],
)
def test_a_port_that_somebody_took_names_him(listener: Listener, words: list[str]) -> None:
    found = check_ports([instance()], [listener])[0]
    assert found["status"] == "fail"
    assert "port 8001 of instance chat" in found["subject"]
    for word in words:
        assert word in found["observed"] + found["action"]


def test_only_listening_sockets_count() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n"
        "   1: 0100007F:1F41 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n"
    )
    six = (
        "  sl  local_address                         remote_address                        st ...\n"
        "   0: 00000000000000000000000000000000:1F41 00000000000000000000000000000000:0000 0A "
        "00000000:00000000 00:00000000 00000000     0        0 333 1 0\n"
    )
    assert listening_sockets([table, six]) == {8001: {"111", "333"}}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/system-local\\x2dllm.slice/local-llm@chat.service\n", "local-llm@chat.service"),
        ("12:pids:/x\n1:name=systemd:/system.slice/nginx.service\n", "nginx.service"),
        ("0::/system.slice/a.service/payload\n", "a.service"),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_the_unit_of_a_process_is_read_from_its_control_group(text: str, unit: str) -> None:
    assert unit_name(text) == unit


def test_a_real_listener_is_found_with_its_process() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = read_listeners([port, 1])
    assert [(one.port, one.pid) for one in found] == [(port, os.getpid())]


def test_what_is_there_already_needs_no_space_and_a_shared_model_counts_once() -> None:
    both = [instance(), instance("code", 8002)]
    needs = disk_needs(both, [], MODELS, ENGINES)
    assert sorted(need.bytes for need in needs) == [1000, GIB]
    assert disk_needs(both, [f"{MODELS}/tiny/r1", f"{ENGINES}/llamacpp/0.7.0"], MODELS, ENGINES) == []


def test_what_comes_in_an_unknown_size_is_said() -> None:
    needs = disk_needs([instance(model_bytes=0)], [], MODELS, ENGINES)
    found = check_disks(needs, [Disk(MODELS, 1, 40 * GIB), Disk(ENGINES, 1, 40 * GIB)], GIB)
    assert statuses(found) == ["ok"]
    assert "not counted, its size is not known yet: model tiny r1" in found[0]["observed"]


def test_a_model_larger_than_the_disk_is_refused_with_both_sizes() -> None:
    needs = disk_needs([instance(model_bytes=50 * GIB)], [], MODELS, ENGINES)
    found = check_disks(needs, [Disk(MODELS, 1, 40 * GIB), Disk(ENGINES, 1, 40 * GIB)], GIB)
    assert statuses(found) == ["fail"]
    assert found[0]["observed"] == "40.0 GiB free"
    assert "model tiny r1 (50.0 GiB)" in found[0]["expected"]


def test_each_file_system_is_held_against_its_own_needs() -> None:
    needs = disk_needs([instance(model_bytes=5 * GIB)], [], MODELS, ENGINES)
    found = check_disks(needs, [Disk(MODELS, 1, 4 * GIB), Disk(ENGINES, 2, 4 * GIB)], 0)
    assert statuses(found) == ["fail", "ok"]


def test_the_reserve_stays_free_but_a_full_disk_without_need_is_fine() -> None:
    needs = disk_needs([instance(model_bytes=GIB)], [f"{ENGINES}/llamacpp/0.7.0"], MODELS, ENGINES)
    assert statuses(check_disks(needs, [Disk(MODELS, 1, GIB)], 0)) == ["ok"]
    assert statuses(check_disks(needs, [Disk(MODELS, 1, GIB)], 1)) == ["fail"]
    assert statuses(check_disks([], [Disk(MODELS, 1, 0)], GIB)) == ["ok"]


@pytest.mark.parametrize(
    ("model_bytes", "has_gpu", "gpus", "status"),
    [
        (GIB, False, "all", "ok"),
        (9 * GIB, False, "all", "warn"),
        (11 * GIB, False, "all", "fail"),
        (11 * GIB, True, "all", "warn"),
        (11 * GIB, True, "none", "fail"),
    ],
)
def test_memory_is_held_against_the_models(model_bytes: int, has_gpu: bool, gpus: str, status: str) -> None:
    assert statuses(check_memory([instance(model_bytes=model_bytes, gpus=gpus)], 10 * GIB, has_gpu)) == [status]


def test_a_host_that_was_not_prepared_is_sent_to_site() -> None:
    found = check_prepared(["user local-llm", "/opt/local_llm/engines"])[0]
    assert found["status"] == "fail"
    assert "user local-llm" in found["observed"]
    assert "local_llm.ops.site" in found["action"]
    assert statuses(check_prepared([])) == ["ok"]


def test_missing_preparation_names_each_thing(tmp_path: Path) -> None:
    (tmp_path / "opt/local_llm/engines").mkdir(parents=True)
    missing = missing_preparation(str(tmp_path))
    assert "/var/lib/local_llm/models" in missing
    assert "/etc/systemd/system/local-llm-revert@.timer" in missing
    assert "/opt/local_llm/engines" not in missing


@pytest.mark.parametrize(
    ("unit", "status"),
    [
        ("[Service]\nTimeoutStopSec=75\n", []),
        ("[Service]\nTimeoutStopSec=74\n", ["fail"]),
        ("[Service]\nTimeoutStopSec=74s\n", ["fail"]),
        ("[Service]\nTimeoutStopSec=5min\n", []),
        ("", []),
    ],
)
def test_a_unit_that_kills_an_engine_too_early_is_told_with_both_times(unit: str, status: list[str]) -> None:
    found = check_stop_time([instance(engine="vllm", config={"shutdown_timeout_seconds": 60})], unit)
    assert statuses(found) == status
    for item in found:
        assert "after 74 s" in item["observed"]
        assert item["expected"].startswith("host_stop_timeout_seconds of at least 75")
        assert "shutdown_timeout_seconds = 60" in item["expected"]


def test_an_engine_without_such_a_time_is_not_held_against_the_unit() -> None:
    assert check_stop_time([instance(config={"threads": 1}), instance()], "TimeoutStopSec=1\n") == []


def test_a_key_that_nobody_would_send_is_found_and_not_read(tmp_path: Path) -> None:
    assert instance_keys(["chat"], str(tmp_path)) == {}
    key = tmp_path / "etc/credstore/local-llm.chat.api_key"
    key.parent.mkdir(parents=True)
    key.write_text("marked-secret", encoding="utf-8")
    keys = instance_keys(["chat", "code"], str(tmp_path))
    assert keys == {"chat": "/etc/credstore/local-llm.chat.api_key"}
    found = check_keys(keys)
    assert statuses(found) == ["fail"]
    assert found[0]["subject"] == "instance chat" and "gateway_api_keys" in found[0]["action"]
    assert "marked-secret" not in repr(found)


def test_the_unit_of_a_bare_host_is_empty(tmp_path: Path) -> None:
    assert read_unit(str(tmp_path)) == ""


def test_systemd_and_python_are_needed() -> None:
    assert statuses(check_system(True, (3, 13, 1))) == ["ok", "ok"]
    assert statuses(check_system(False, (3, 8, 1))) == ["fail", "fail"]


@pytest.mark.parametrize(
    ("now", "synchronised", "controller", "status"),
    [
        (1_800_000_000.0, True, 1_800_000_001.0, "ok"),
        (1_800_000_000.0, None, None, "ok"),
        (1_800_000_000.0, False, None, "warn"),
        (1_800_000_000.0, True, 1_800_000_100.0, "warn"),
        (86_400.0, True, None, "fail"),
    ],
)
def test_the_clock_is_checked(now: float, synchronised: bool | None, controller: float | None, status: str) -> None:
    assert statuses(check_clock(now, synchronised, controller, 30)) == [status]


def test_a_disk_is_read_also_before_its_directory_exists(tmp_path: Path) -> None:
    disk = read_disk(str(tmp_path / "not" / "yet"))
    assert disk.device == os.stat(tmp_path).st_dev
    assert disk.free_bytes > 0


def test_the_memory_of_this_host_is_read() -> None:
    assert read_memory_total_bytes() > 1 << 20


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size_text(count) == text
