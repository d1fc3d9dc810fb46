# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the controller are hashed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import ControllerFiles


def test_a_file_is_hashed_once_also_across_runs(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"one")
    info = os.stat(big)
    first = ControllerFiles(tmp_path / "cache" / "sha256.json")
    assert first.sha256(str(big)) == hashlib.sha256(b"one").hexdigest()
    first.save()
    # Same size and same time of change: only a remembered digest can be the old one.
    big.write_bytes(b"two")
    os.utime(big, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert ControllerFiles(tmp_path / "cache" / "sha256.json").sha256(str(big)) == hashlib.sha256(b"one").hexdigest()


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"one")
    files = ControllerFiles()
    files.sha256(str(big))
    big.write_bytes(b"three")
    assert files.sha256(str(big)) == hashlib.sha256(b"three").hexdigest()


def test_a_damaged_or_unwritable_cache_is_no_error(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"one")
    cache = tmp_path / "sha256.json"
    cache.write_text("{", encoding="utf-8")
    assert ControllerFiles(cache).sha256(str(big)) == hashlib.sha256(b"one").hexdigest()
    files = ControllerFiles(big / "below-a-file" / "x.json")
    files.sha256(str(big))
    files.save()


def test_what_is_no_file_has_no_size(tmp_path: Path) -> None:
    assert ControllerFiles().size_bytes(str(tmp_path)) is None
    assert ControllerFiles().size_bytes(str(tmp_path / "gone")) is None
    assert ControllerFiles().is_dir(str(tmp_path))
