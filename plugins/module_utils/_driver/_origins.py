# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Where a package comes from, in one word. Pure."""

from __future__ import annotations

from collections.abc import Mapping

LOCAL = "local"
UNKNOWN = "unknown"
# What repositories call themselves: the field Origin of an apt repository, the vendor of an rpm package.
_NAMES = {
    "debian": "debian",
    "debian backports": "debian",
    "ubuntu": "ubuntu",
    "nvidia": "nvidia",
    "nvidia corporation": "nvidia",
}


def origin_of(name: str) -> str:
    """Return the origin for the name that a repository gives itself; unknown for one that is none of the known."""
    return _NAMES.get(name.strip().lower(), UNKNOWN)


def mirrored(address: str, mirrors: Mapping[str, str]) -> str | None:
    """Return the origin that the site gives for the longest beginning of an address, None when it gives none."""
    fitting = [beginning for beginning in mirrors if address.startswith(beginning)]
    return mirrors[max(fitting, key=len)] if fitting else None
