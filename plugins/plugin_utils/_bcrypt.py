# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The bcrypt hash of a password, as Prometheus and its exporters want it. Controller only.

The system's own libcrypt makes it; Ansible's password_hash needs the package passlib, which few controllers have.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib

ROUNDS = 10
# bcrypt sees no more of a password.
MOST_BYTES = 72


class HashError(ValueError):
    """No hash can be made; the text says what to do instead, and never shows the password."""


def bcrypt_hash(password: str, place: str) -> str:
    """Return a hash. place: whose password it is, and where; the same place gives the same hash in every run."""
    data = password.encode("utf-8")
    if not data or b"\0" in data or len(data) > MOST_BYTES:
        raise HashError(
            f"the password of {place} must have 1 to {MOST_BYTES} bytes and no zero byte; choose another one"
        )
    # Hex digits are among those of bcrypt's own base 64; of the last one only four values are whole.
    salt = hashlib.sha256(place.encode("utf-8")).hexdigest()[:21] + "e"
    start = f"$2b${ROUNDS:02d}${salt}"
    found = _by_libcrypt(data, start)
    if not found.startswith(start) or len(found) != 60:
        raise HashError(
            f"this controller's libcrypt cannot make a bcrypt hash for {place}; make one with: htpasswd -nBC {ROUNDS} "
            "NAME, and give what it prints behind the colon"
        )
    return found


def _by_libcrypt(password: bytes, setting: str) -> str:
    """Return what crypt(3) makes of it, an empty text where there is no such library or it refuses."""
    name = ctypes.util.find_library("crypt")
    try:
        crypt = ctypes.CDLL(name or "libcrypt.so.1").crypt
    except (OSError, AttributeError):
        return ""
    crypt.argtypes, crypt.restype = (ctypes.c_char_p, ctypes.c_char_p), ctypes.c_char_p
    made = crypt(password, setting.encode("ascii"))
    return made.decode("ascii", "replace") if made else ""
