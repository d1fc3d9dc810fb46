# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/canary_judge.md about failed live requests comes out as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.local_llm.ops.plugins.plugin_utils._live_errors import Counts, allowed_chance, judge_errors

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "canary_judge.md").read_text(encoding="utf-8")
LOOKS = (1, 5)


def least(requests: int, limit_percent: float, look: int) -> int:
    """Return how many failed requests take a release back."""
    judged = (
        judge_errors(Counts(requests, bad), Counts(0, 0), limit_percent, allowed_chance(look)).word
        for bad in range(requests + 1)
    )
    return list(judged).index("fail")


def test_so_many_failed_requests_take_a_release_back() -> None:
    (block,) = re.findall(r"<!-- live:.*?-->\n(.*?)<!-- end of live -->", PAGE, re.DOTALL)
    head, _line, *rows = ([cell.strip() for cell in row.strip("|").split("|")] for row in block.strip().splitlines())
    limits = [float(cell.split(maxsplit=1)[0]) for cell in head[1:]]
    assert limits == [0.5, 1, 2] and len(rows) == 5
    for requests, *cells in rows:
        for limit, cell in zip(limits, cells, strict=True):
            found = [least(int(requests), limit, look) for look in LOOKS]
            assert cell == ", ".join(map(str, found)), (requests, limit)
