# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives packed with zstd: unpacked by the program, never left behind, and told apart by content, not by name."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError
from ansible_collections.local_llm.ops.plugins.module_utils._zstd_archive import plain_tar

ZSTD = b"\x28\xb5\x2f\xfd"


def run_command(command: list[str], **options: Any) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_another_archive_is_used_as_it_is(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.zst"
    archive.write_bytes(b"\x1f\x8b")
    with plain_tar(run_command, str(archive)) as path:
        assert path == str(archive)


def test_a_zstd_archive_becomes_a_tar_that_is_gone_afterwards(tmp_path: Path) -> None:
    archive = tmp_path / "a.archive"
    commands = []

    def noted(command: list[str], **options: Any) -> tuple[int, str, str]:
        commands.append(command)
        Path(command[-1]).write_bytes(b"tar")
        return 0, "", ""

    archive.write_bytes(ZSTD)
    with plain_tar(noted, str(archive)) as path:
        assert Path(path).read_bytes() == b"tar"
    assert commands[0][0] == "zstd"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.archive"]


def test_a_broken_archive_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "a.archive"
    archive.write_bytes(ZSTD + b"not really")

    def failing(command: list[str], **options: Any) -> tuple[int, str, str]:
        Path(command[-1]).write_bytes(b"half")
        return 1, "", "zstd: error 20 : Corrupted block detected\n"

    with pytest.raises(TreeError, match="Corrupted block"), plain_tar(failing, str(archive)):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.archive"]


def test_a_missing_program_is_an_error_that_names_the_package(tmp_path: Path) -> None:
    archive = tmp_path / "a.archive"
    archive.write_bytes(ZSTD)

    def missing(command: list[str], **options: Any) -> tuple[int, str, str]:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(TreeError, match="Install the package zstd"), plain_tar(missing, str(archive)):
        pass
