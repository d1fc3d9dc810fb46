# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which releases on this host need an engine version or a model revision."""

from __future__ import annotations

import glob
import json
import os
from typing import Any


def find_references(instances_directory: str, wanted: dict[str, str]) -> list[str]:
    """Return "instance NAME, release ID" for every release whose description has all the wanted values.

    A release that cannot be read counts as one that needs everything: better to keep a file too much.
    """
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(instances_directory), "*", "releases", "*", "release.json"))):
        parts = path.split(os.sep)
        place = f"instance {parts[-4]}, release {parts[-2]}"
        try:
            with open(path, encoding="utf-8") as stream:
                description: Any = json.load(stream)["description"]
            needed = all(description[key] == value for key, value in wanted.items())
        except (OSError, ValueError, KeyError, TypeError) as error:
            found.append(f"{place} (release.json cannot be read: {error})")
            continue
        if needed:
            found.append(place)
    return found
