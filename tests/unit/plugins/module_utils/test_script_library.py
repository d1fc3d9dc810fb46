# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of Python files is brought to exactly the wanted ones, and a second time nothing is left to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._script_library import apply, differences

FILES = {"a/b/one.py": "ONE = 1\n", "a/b/c/two.py": "TWO = 2  # \u00b5s\n"}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    place = tmp_path / "lib"
    umask = os.umask(0o077)
    try:
        apply(str(place), FILES, *differences(str(place), FILES))
    finally:
        os.umask(umask)
    return place


def test_everything_is_written_for_everybody_to_read_whatever_the_umask_is(library: Path) -> None:
    assert (library / "a/b/c/two.py").read_text(encoding="utf-8") == FILES["a/b/c/two.py"]
    assert {path.stat().st_mode & 0o777 for path in library.rglob("*.py")} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in (library, *library.rglob("*")) if path.is_dir()} == {0o755}
    assert differences(str(library), FILES) == ([], [])


@pytest.mark.parametrize("change", ["text", "mode", "link", "gone", "bytes"])
def test_a_file_that_is_not_as_it_should_be_is_written_again(library: Path, change: str) -> None:
    path = library / "a/b/one.py"
    if change == "mode":
        path.chmod(0o666)
    elif change == "bytes":
        path.write_bytes(b"\xff")
    else:
        path.unlink()
        if change == "link":
            path.symlink_to("/etc/hostname")
        elif change == "text":
            path.write_text("ONE = 2\n", encoding="utf-8")
    assert differences(str(library), FILES) == (["a/b/one.py"], [])
    apply(str(library), FILES, ["a/b/one.py"], [])
    assert not path.is_symlink() and path.read_text(encoding="utf-8") == FILES["a/b/one.py"]


def test_a_file_that_nobody_needs_any_more_goes_and_what_python_compiled_stays(library: Path) -> None:
    (library / "a/b/__pycache__").mkdir()
    (library / "a/b/__pycache__/one.cpython-311.pyc").write_bytes(b"")
    wanted = {"a/b/one.py": FILES["a/b/one.py"]}
    write, remove = differences(str(library), wanted)
    assert (write, remove) == ([], ["a/b/c/two.py"])
    apply(str(library), wanted, write, remove)
    assert not (library / "a/b/c").exists()
    assert (library / "a/b/__pycache__/one.cpython-311.pyc").exists()


def test_a_host_without_the_directory_lacks_everything(tmp_path: Path) -> None:
    assert differences(str(tmp_path / "missing"), FILES) == (sorted(FILES), [])
    assert not (tmp_path / "missing").exists()
