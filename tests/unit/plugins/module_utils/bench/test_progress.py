# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that says how far a run is."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.local_llm.ops.plugins.module_utils._bench._progress import Teller, progress_line


def test_progress_says_counts_rate_and_time_left(tmp_path: Path) -> None:
    state = {"done": 50, "issued": 54, "failed": 1, "in_flight": 4, "elapsed_seconds": 10.0}
    assert progress_line("benchmark", state, None, 150) == (
        "benchmark: 50 of 150 answers, 1 failed, 4 under way, 5.0/s, 20 s left"
    )
    assert progress_line("soak", {**state, "failed": 0}, 3610.0, None).endswith("1 h 0 min left")
    path = tmp_path / "p.json"
    Teller(str(path))("benchmark", state, None, 150)
    assert json.loads(path.read_text())["count"] == 54
    Teller(str(path)).done()
    assert json.loads(path.read_text())["finished"] is True
