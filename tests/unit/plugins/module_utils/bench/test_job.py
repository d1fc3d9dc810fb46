# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that came one after the other, as one."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._job import chain_runs
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.bench.made_up import a_run, good


def test_probes_of_a_search_become_stages_of_one_run() -> None:
    runs = [a_run([good(0), good(1)], clock_offset=100.0 + 50 * number) for number in range(2)]
    run = chain_runs(runs)
    assert [record.stage for record in run.records] == [0, 0, 1, 1]
    assert run.records[2].started == pytest.approx(50.0) and run.seconds == pytest.approx(60.0)
    assert chain_runs([]).interrupted
