# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases, the lock and the kept server state."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _haproxy_store as store
from ansible_collections.local_llm.ops.plugins.module_utils._haproxy_socket import GatewayError

LEASE = store.Lease("chat", "gpu1-chat", 1000.0, 60, "ready", 40)


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "leases").mkdir()
    return str(tmp_path)


def test_a_lease_comes_back_from_disk_as_it_was(directory: str) -> None:
    store.write_lease(directory, LEASE)
    assert store.read_lease(directory, "chat", "gpu1-chat") == LEASE
    assert store.list_leases(directory) == ([LEASE], [])
    store.remove_lease(directory, "chat", "gpu1-chat")
    store.remove_lease(directory, "chat", "gpu1-chat")
    assert store.list_leases(directory) == ([], [])


def test_a_broken_lease_is_told_and_does_not_hide_the_others(directory: str) -> None:
    store.write_lease(directory, LEASE)
    (Path(directory) / "leases" / "chat@a.json").write_text("{}")
    leases, problems = store.list_leases(directory)
    assert leases == [LEASE]
    assert "chat@a.json" in problems[0]


def test_a_lease_being_written_is_not_a_lease(directory: str) -> None:
    (Path(directory) / "leases" / ".tmp-x").write_text("{")
    assert store.list_leases(directory) == ([], [])


def test_a_lease_tells_when_it_ends() -> None:
    assert LEASE.public(990.0) == {
        "expires_at": "1970-01-01T00:16:40Z",
        "seconds_left": 10,
        "before": {"state": "ready", "share_percent": 40},
    }


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "f"
    store.atomic_write(str(path), "one")
    store.atomic_write(str(path), "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_a_missing_directory_is_told_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"role local_llm\.ops\.gateway"):
        store.atomic_write(str(tmp_path / "none" / "f"), "x")


def test_the_lock_keeps_a_second_holder_out(directory: str) -> None:
    with store.locked(directory), pytest.raises(GatewayError, match="fuser"), store.locked(directory, 0):
        pytest.fail("two holders of one lock")
    with store.locked(directory, 0):
        pass


def test_a_moved_server_keeps_its_state_but_not_its_old_port() -> None:
    config = "backend pool_chat\n    server a 10.0.0.1:9005 check\nbackend canary_chat\n    server b [::1]:9006 check\n"
    kept = "1\n# be_name srv_name srv_admin_state srv_port\npool_chat a 8 9001\ncanary_chat b 0 9002\npool_x c 0 1\n"
    assert store.with_config_ports(kept, store.config_ports(config)) == (
        "1\n# be_name srv_name srv_admin_state srv_port\npool_chat a 8 9005\ncanary_chat b 0 9006\npool_x c 0 1\n"
    )
