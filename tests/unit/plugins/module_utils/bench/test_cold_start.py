# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a service needs after a start and after idle."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._cold_start import (
    ColdStartError,
    Hands,
    measure_idle,
    measure_start,
)
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import good


def hands(opens_at: float, ready_at: float) -> tuple[Hands, list[str]]:
    """Return hands on a service whose old process listens for a second more, and a record of what was done."""
    now, done = [0.0], list[str]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    made = Hands(
        restart=lambda: done.append("restart"),
        port_open=lambda: now[0] < 1.0 or now[0] >= opens_at,
        ready=lambda: now[0] >= ready_at,
        request=lambda number: good(number, ttft=0.5),
        stopped=lambda: False,
        clock=lambda: now[0],
        sleep=sleep,
    )
    return made, done


def test_a_cold_start_tells_port_ready_and_first_token_apart() -> None:
    it, done = hands(opens_at=4.0, ready_at=6.0)
    found = measure_start(it, 60.0)
    assert done == ["restart"]
    assert found["port_open_seconds"] == pytest.approx(4.0, abs=0.1)
    assert found["ready_seconds"] == pytest.approx(6.0, abs=0.1)
    assert found["first_token_seconds"] == pytest.approx(6.5, abs=0.1)


def test_a_service_that_never_comes_up_is_told_with_how_far_it_got() -> None:
    it, _done = hands(opens_at=4.0, ready_at=1e9)
    with pytest.raises(ColdStartError, match=r"not ready 9 s after its restart .its port is open"):
        measure_start(it, 9.0)


def test_the_first_request_after_idle_stands_beside_the_next_one() -> None:
    it, _done = hands(0.0, 0.0)
    found = measure_idle(it, 3.0)
    assert found["idle_seconds"] == 3.0 and found["first_request"]["ttft_seconds"] == 0.5
