# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches must be those that ansible-core makes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor

from ansible_collections.local_llm.ops.plugins.plugin_utils._batches import batches, check_serial, order_hosts

HOSTS = [f"gpu{number}" for number in range(1, 51)]


def batches_of_ansible(hosts: list[str], serial: list[int | str]) -> list[list[str]]:
    executor = SimpleNamespace(_inventory=SimpleNamespace(get_hosts=lambda _pattern, order: list(hosts)))
    play = SimpleNamespace(hosts="all", order=None, serial=serial)
    result: list[list[str]] = PlaybookExecutor._get_serialized_batches(executor, play)
    return result


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 10, 29, 50])
@pytest.mark.parametrize(
    "serial",
    [[1], [3], ["100%"], ["10%"], [1, "10%", "50%", "100%"], ["29%"], [2, 1], ["1%"], [1, 2, 3], [100], ["33%", 2], []],
    ids=str,
)
def test_batches_equal_those_of_ansible(count: int, serial: list[int | str]) -> None:
    assert batches(HOSTS[:count], serial) == batches_of_ansible(HOSTS[:count], serial)


def test_the_canary_comes_first_and_the_others_keep_their_order() -> None:
    assert order_hosts(["a", "b", "c"], "b") == ["b", "a", "c"]
    assert order_hosts(["a", "b"], None) == ["a", "b"]
    assert order_hosts(["a", "b"], "x") == ["a", "b"]


@pytest.mark.parametrize("entry", ["ten", "10 %", "-1", 0, "0%", True, 1.5, "%"])
def test_a_serial_that_ansible_would_misread_is_named(entry: object) -> None:
    assert repr(entry) in check_serial([1, entry])[0]  # type: ignore[list-item]


def test_a_good_serial_has_no_faults() -> None:
    assert check_serial([1, "10%", "3", "100%"]) == []
