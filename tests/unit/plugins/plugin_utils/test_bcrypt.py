# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of passwords: those that bcrypt makes, the same in every run, and never the password in an error."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.filter.bcrypt_hash import FilterModule
from ansible_collections.local_llm.ops.plugins.plugin_utils import _bcrypt
from ansible_collections.local_llm.ops.plugins.plugin_utils._bcrypt import HashError, bcrypt_hash


def test_libcrypt_makes_the_hash_that_others_know() -> None:
    # From the test vectors of the Openwall implementation.
    assert _bcrypt._by_libcrypt(b"U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.") == (
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    )


def test_the_same_place_gives_the_same_hash_and_another_one_another_salt() -> None:
    first = bcrypt_hash("correct horse", "mon1/prometheus")
    assert first == bcrypt_hash("correct horse", "mon1/prometheus") and first.startswith("$2b$10$") and len(first) == 60
    other = bcrypt_hash("correct horse", "mon2/prometheus")
    assert other[:29] != first[:29]
    assert FilterModule().filters()["bcrypt_hash"]("correct horse", "mon1/prometheus") == first


@pytest.mark.parametrize("password", ["", "a\0b", "ä" * 37])
def test_a_password_that_bcrypt_would_cut_is_refused(password: str) -> None:
    with pytest.raises(HashError, match="72 bytes"):
        bcrypt_hash(password, "mon1/prometheus")


def test_a_controller_without_bcrypt_says_what_to_do_and_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bcrypt, "_by_libcrypt", lambda password, setting: "*0")
    with pytest.raises(AnsibleFilterError, match="htpasswd -nBC 10") as caught:
        FilterModule().filters()["bcrypt_hash"]("correct horse", "mon1/prometheus")
    assert "correct" not in str(caught.value)
