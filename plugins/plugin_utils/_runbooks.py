# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Where the runbooks lie on this controller: they ship with the collection."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def runbook_place(runbook: str, root: Path = ROOT) -> str:
    """Return the path on this controller and the section of what a finding names, such as docs/runbooks/x.md#section.

    Without the file the name stays as it is, with the word where it is to be found.
    """
    page, _hash, section = runbook.partition("#")
    if not (root / page).is_file():
        return f"{runbook} of the collection local_llm.ops"
    return f"{root / page}, section {section}" if section else str(root / page)
