# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the dashboards: make dashboards

python3 -m ansible_collections.local_llm.ops.tools.dashboards            write what has changed
python3 -m ansible_collections.local_llm.ops.tools.dashboards --check    write nothing; fail when a file differs
"""

from __future__ import annotations

import argparse
import sys

from ansible_collections.local_llm.ops.tools.dashboards.boards import ALL
from ansible_collections.local_llm.ops.tools.dashboards.queries import DASHBOARDS, ROOT


def drift() -> dict[str, str | None]:
    """Return what the files must hold where they do not: {name: text}, None for a file that belongs to no dashboard."""
    # Here and not above, so that main() can say what is missing.
    from ansible_collections.local_llm.ops.tools.dashboards.grafana import board_json

    wanted = {item.file_name: board_json(item) for item in ALL}
    there = {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.glob("*.json")}
    changed: dict[str, str | None] = {name: text for name, text in wanted.items() if there.get(name) != text}
    return {**changed, **{name: None for name in there if name not in wanted}}


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description="Make the Grafana dashboards from code.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something differs")
    check = parser.parse_args().check
    try:
        changed = drift()
    except ModuleNotFoundError as error:
        print(f"error: the library {error.name} is missing; tests/requirements.txt has it: make setup", file=sys.stderr)
        return 1
    where = DASHBOARDS.relative_to(ROOT)
    for name, text in sorted(changed.items()):
        if check:
            print(f"error: {where}/{name} is not what tools/dashboards gives; run: make dashboards", file=sys.stderr)
        elif text is None:
            (DASHBOARDS / name).unlink()
            print(f"removed {where}/{name}")
        else:
            DASHBOARDS.mkdir(parents=True, exist_ok=True)
            (DASHBOARDS / name).write_text(text, encoding="utf-8")
            print(f"wrote {where}/{name}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
