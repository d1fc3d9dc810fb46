# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Where a package comes from, in one word. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CREDENTIALS = re.compile(r"//[^/@]+@")
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
    """Return the origin that the site gives for an address or the beginning of one, None when it gives none.

    address: as apt prints it, `https://mirror.example.org/debian bookworm/non-free amd64 Packages`, or the id of a
    repository of dnf. The longest beginning counts.
    """
    place = _plain(address.split(" ", 1)[0])
    fitting = {_plain(key): origin for key, origin in mirrors.items() if f"{place}/".startswith(f"{_plain(key)}/")}
    return fitting[max(fitting, key=len)] if fitting else None


def _plain(address: str) -> str:
    """Return an address as apt prints it: without credentials, without a slash at the end, file:/ with one slash."""
    address = _CREDENTIALS.sub("//", address).rstrip("/")
    return "file:/" + address[len("file:") :].lstrip("/") if address.startswith("file:") else address
