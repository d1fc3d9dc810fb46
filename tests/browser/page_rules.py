# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every page of ours keeps, as scripts for the browser that return what breaks the rule, and a check."""

from __future__ import annotations

from pathlib import Path

from chromium_pipe import Page

# Texts whose contrast with what lies behind them is under 4.5 to 1. Hidden texts and marks in plots are left out.
LOW_CONTRAST = """(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => { const f = c.slice(0, 3).map(linear);
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const behind = e => { for (; e; e = e.parentElement) { const b = parse(getComputedStyle(e).backgroundColor);
    if (b[3] === 1) return b; } return [255, 255, 255, 1]; };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.getClientRects().length || e.closest('title, desc')) continue;
    const style = getComputedStyle(e), color = e.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(parse(color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(e.tagName + ': ' + e.textContent.trim().slice(0, 40));
  }
  return bad;
})()"""
# Visible elements that reach beyond the window, except inside a box that scrolls by itself.
TOO_WIDE = """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('thead')
  && e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 40))"""


def assert_fits(page: Page, path: Path, width: int) -> None:
    """Check that a page, all of it unfolded, fits its window, asks nobody for anything and complains of nothing."""
    page.open(path, width)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth && innerWidth") == width
    assert page.evaluate(TOO_WIDE) == []
    assert page.requests() == [path.as_uri()]
    assert page.problems() == []
