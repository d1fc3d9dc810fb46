#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of docs/canary_judge.md, made by playing rollouts with fixed seeds.

tools/judge_page.py          write the plot, the tables of the page, and the table in _judge_power.py
tools/judge_page.py --check  write nothing; fail when the plot or the first table is not what the code gives
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.plugin_utils._judge_power import (  # noqa: E402
    SMALLEST_FOUND,
    WORDS,
    chances,
    latency_chances,
    smallest_increase,
)

PAGE = ROOT / "docs" / "canary_judge.md"
PLOT = ROOT / "docs" / "canary_judge.svg"
CODE = ROOT / "plugins" / "plugin_utils" / "_judge_power.py"
REQUESTS, ROUNDS, ROLLOUTS = 150, 4, 200
INCREASES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.12, 0.15)
SAMPLES = (50, 100, 150, 200, 300, 500)
ROUND_COUNTS = (2, 3, 4, 6)
COLOURS = {"pass": "#4c9f70", "inconclusive": "#d9b44a", "fail": "#c05746"}
# (correlation of one request with the next, spread of the latencies)
HANGING = ((0.0, 0.3), (0.5, 0.3), (0.5, 0.6), (0.8, 0.3), (0.8, 0.6), (0.8, 1.0), (0.95, 0.3), (0.95, 0.6))
LEFT, TOP, WIDTH, HEIGHT = 60, 20, 560, 240


def curve() -> list[dict[str, float]]:
    """Return how often each word comes, for each true rise of the plot."""
    return [chances(increase, REQUESTS, ROUNDS, rollouts=ROLLOUTS) for increase in INCREASES]


def plot(points: list[dict[str, float]]) -> str:
    """Return the plot: for a true rise of the bad requests, how often the judge says which word."""

    def x(increase: float) -> float:
        return LEFT + WIDTH * increase / INCREASES[-1]

    def y(share: float) -> float:
        return TOP + HEIGHT * (1 - share)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 340" role="img" font-family="sans-serif" '
        'font-size="12">',
        "<title>What the canary judge says, by how much worse the new release really is</title>",
        '<rect width="660" height="340" fill="#ffffff"/>',
    ]
    below = [0.0] * len(points)
    for word in WORDS:
        above = [low + point[word] for low, point in zip(below, points, strict=True)]
        ring = [f"{x(i):.1f},{y(a):.1f}" for i, a in zip(INCREASES, above, strict=True)]
        ring += [f"{x(i):.1f},{y(b):.1f}" for i, b in reversed(list(zip(INCREASES, below, strict=True)))]
        parts.append(f'<polygon points="{" ".join(ring)}" fill="{COLOURS[word]}"/>')
        below = above
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for increase in (0.0, 0.01, 0.03, 0.05, 0.08, 0.10, 0.12, 0.15):
        parts.append(
            f'<text x="{x(increase):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{100 * increase:g}</text>'
        )
    for increase, name in ((0.01, "harmless"), (0.05, "tolerated")):
        parts.append(
            f'<line x1="{x(increase):.1f}" x2="{x(increase):.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" stroke="#222222" '
            'stroke-dasharray="4 3"/>'
        )
        parts.append(f'<text x="{x(increase) + 4:.1f}" y="{TOP + 14}">{name}</text>')
    parts.append(
        f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">'
        "true rise of bad requests, percentage points</text>"
    )
    labels = {"pass": "pass", "inconclusive": "inconclusive (halts for a person)", "fail": "fail (goes back)"}
    for number, word in enumerate(WORDS):
        left = LEFT + 30 + number * 170
        parts.append(f'<rect x="{left}" y="306" width="12" height="12" fill="{COLOURS[word]}"/>')
        parts.append(f'<text x="{left + 18}" y="316">{labels[word]}</text>')
    return "\n".join([*parts, "</svg>", ""])


def words_table(points: list[dict[str, float]]) -> str:
    """Return the table of the words."""
    lines = ["| true rise, points | pass | inconclusive | fail | rounds |", "| --- | --- | --- | --- | --- |"]
    for increase, point in zip(INCREASES, points, strict=True):
        shares = " | ".join(f"{100 * point[word]:.0f} %" for word in WORDS)
        lines.append(f"| {100 * increase:g} | {shares} | {point['rounds']:.1f} |")
    return "\n".join(lines)


def power_table(found: dict[tuple[int, int], float | None]) -> str:
    """Return the table of the smallest rise that is found."""
    lines = ["| `requests` | " + " | ".join(f"{rounds} rounds" for rounds in ROUND_COUNTS) + " |"]
    lines.append("| --- " * (len(ROUND_COUNTS) + 1) + "|")
    for requests in SAMPLES:
        cells = [found.get((requests, rounds)) for rounds in ROUND_COUNTS]
        lines.append(f"| {requests} | " + " | ".join("none" if c is None else f"{100 * c:g}" for c in cells) + " |")
    return "\n".join(lines)


def hanging_row(memory: float, spread: float) -> str:
    """Return what the judge says of latencies that hang together, for four releases: as they are, and slower."""
    same, harmless, five, fifteen = (
        latency_chances(spread, memory, rise, REQUESTS, ROUNDS, rollouts=ROLLOUTS) for rise in (0.0, 0.01, 0.05, 0.15)
    )
    cells = [same["pass"], same["inconclusive"], harmless["fail"], five["pass"], five["fail"], fifteen["fail"]]
    shares = " | ".join(f"{100 * cell:.3g} %" for cell in cells)
    return f"| {memory:g} | {spread:g} | {shares} | {same['rounds']:.1f} |"


HANGING_HEAD = "\n".join(
    (
        "| correlation | spread | same: passes | same: inconclusive | 1 point: fails | 5 points: passes "
        "| 5 points: fails | 15 points: fails | rounds, same |",
        "| --- " * 9 + "|",
    )
)


def between(text: str, name: str, content: str) -> str:
    """Return a text with what stands between two marks replaced."""
    pattern = rf"(<!-- {name}: made by tools/judge_page.py -->\n).*?(<!-- end of {name} -->)"
    changed, number = re.subn(pattern, lambda match: match[1] + content + "\n" + match[2], text, flags=re.DOTALL)
    if number != 1:
        raise SystemExit(
            f"{PAGE}: the marks of '{name}' are missing; write <!-- {name}: made by tools/judge_page.py -->"
        )
    return changed


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is out of date")
    check = parser.parse_args().check
    points = curve()
    page = PAGE.read_text(encoding="utf-8")
    wanted = between(page, "words", words_table(points))
    if check:
        stale = [path.name for path, text in ((PLOT, plot(points)), (PAGE, wanted)) if path.read_text("utf-8") != text]
        if stale:
            raise SystemExit(f"Out of date: {', '.join(stale)}. Run tools/judge_page.py and look at what changed.")
        # One row is enough to see whether the others are old.
        if hanging_row(*HANGING[1]) not in page:
            raise SystemExit("Out of date: the table of requests that hang together. Run tools/judge_page.py.")
        if between(page, "power", power_table(dict(SMALLEST_FOUND))) != page:
            raise SystemExit("Out of date: the power table. Run tools/judge_page.py.")
        return
    found = {}
    for requests in SAMPLES:
        for rounds in ROUND_COUNTS:
            found[requests, rounds] = smallest_increase("fail", requests, rounds, rollouts=ROLLOUTS)
            sys.stderr.write(f"{requests} requests, {rounds} rounds: {found[requests, rounds]}\n")
    rows = "".join(f"    {key}: {value},\n" for key, value in found.items() if value is not None)
    code = CODE.read_text(encoding="utf-8")
    head = "SMALLEST_FOUND: dict[tuple[int, int], float] = {"
    CODE.write_text(re.sub(rf"{re.escape(head)}.*?\}}", f"{head}\n{rows}}}", code, flags=re.DOTALL), encoding="utf-8")
    PLOT.write_text(plot(points), encoding="utf-8")
    wanted = between(wanted, "power", power_table(found))
    hanging = "\n".join([HANGING_HEAD, *(hanging_row(*one) for one in HANGING)])
    PAGE.write_text(between(wanted, "hanging", hanging), encoding="utf-8")


if __name__ == "__main__":
    main()
