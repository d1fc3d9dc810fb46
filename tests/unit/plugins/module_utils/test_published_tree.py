# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published directories: what is in them, what changed, and archives that want out."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _published_tree as tree
from ansible_collections.local_llm.ops.plugins.module_utils._archive_unpack import unpack, unpacked_bytes
from ansible_collections.local_llm.ops.plugins.module_utils._release_references import find_references


@pytest.fixture
def published(tmp_path: Path) -> Path:
    incoming, final = tmp_path / ".incoming/x", tmp_path / "engine/1"
    (incoming / "lib").mkdir(parents=True)
    (incoming / "lib/a.so.1").write_text("library")
    (incoming / "lib/a.so").symlink_to("a.so.1")
    (incoming / "program").write_text("#!/bin/sh")
    (incoming / "program").chmod(0o700)
    tree.publish(str(incoming), str(final), {"schema": 1, **tree.measure(str(incoming))})
    return final


def changes(root: Path, verify_all: bool = False) -> tuple[list[str], int]:
    return tree.find_changes(str(root), tree.read_manifest(str(root)), verify_all)


def test_publishing_sets_modes_and_writes_a_manifest_of_every_file(published: Path) -> None:
    manifest = json.loads((published / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["lib/a.so.1", "program"]
    assert manifest["links"] == {"lib/a.so": "a.so.1"}
    assert manifest["sizes"]["program"] == 9
    assert oct((published / "program").stat().st_mode & 0o777) == "0o755"
    assert oct((published / "lib/a.so.1").stat().st_mode & 0o777) == "0o644"
    assert oct(published.stat().st_mode & 0o777) == "0o755"


def test_an_unchanged_directory_is_not_hashed_again(published: Path) -> None:
    assert changes(published) == ([], 0)
    assert changes(published, verify_all=True) == ([], 2)


def test_a_touched_file_is_hashed_once_more_and_then_trusted(published: Path) -> None:
    os.utime(published / "program", (4e9, 4e9))
    assert changes(published) == ([], 1)
    os.utime(published / "program", (1, 1))
    tree.mark_checked(str(published))
    assert changes(published) == ([], 0)


def test_a_changed_file_of_the_same_size_and_age_is_found(published: Path) -> None:
    status = (published / "program").stat()
    limit = (published / "manifest.json").stat().st_ctime_ns
    while (published / "program").stat().st_ctime_ns <= limit:  # the clock of the file system may be coarse
        (published / "program").write_text("#!/bin/zz")
        os.utime(published / "program", ns=(status.st_atime_ns, status.st_mtime_ns))
    found, hashed = changes(published)
    assert hashed == 1
    assert found[0].startswith("program: SHA-256 ")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda root: (root / "program").unlink(), "program: missing"),
        (lambda root: (root / "extra").write_text("x"), "extra: not in the manifest"),
        (lambda root: (root / "program").write_text("longer than before"), "program: 18 bytes instead of 9"),
        (lambda root: ((root / "lib/a.so").unlink(), (root / "lib/a.so").symlink_to("/x")), "lib/a.so: link to '/x'"),
    ],
)
def test_every_kind_of_damage_is_named(published: Path, damage: Any, text: str) -> None:
    damage(published)
    found, _files = changes(published)
    assert any(line.startswith(text) for line in found), found


@pytest.mark.parametrize("content", [None, "{", '{"schema": 2, "files": {}}'])
def test_a_directory_without_a_good_manifest_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(tree.TreeError, match=str(tmp_path)):
        tree.read_manifest(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("model.gguf", True),
        ("a/b.json", True),
        ("", False),
        ("/a", False),
        ("a/../b", False),
        ("a//b", False),
        ("manifest.json", False),
    ],
)
def test_paths_stay_inside(path: str, good: bool) -> None:
    assert (tree.path_problem(path) == "") is good


def archive(path: Path, *members: tuple[str, str, str]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for kind, name, content in members:
            member = tarfile.TarInfo(name)
            member.mode = 0o4777
            member.type = {
                "file": tarfile.REGTYPE,
                "link": tarfile.SYMTYPE,
                "hard": tarfile.LNKTYPE,
                "dev": tarfile.CHRTYPE,
            }[kind]
            member.linkname = content if kind in ("link", "hard") else ""
            member.size = len(content) if kind == "file" else 0
            tar.addfile(member, io.BytesIO(content.encode()) if kind == "file" else None)
    return str(path)


def test_an_archive_is_unpacked_without_special_mode_bits(tmp_path: Path) -> None:
    members = [("file", "./bin/x", "abc"), ("link", "bin/y", "x"), ("hard", "lib/z", "./bin/x")]
    path = archive(tmp_path / "a.tgz", *members)
    unpack(path, str(tmp_path / "out"))
    assert unpacked_bytes(path) == 3
    assert (tmp_path / "out/bin/y").read_text() == (tmp_path / "out/lib/z").read_text() == "abc"
    assert oct((tmp_path / "out/bin/x").stat().st_mode) == "0o100755"


@pytest.mark.parametrize(
    "members",
    [
        [("file", "../evil", "x")],
        [("file", "/tmp/evil", "x")],
        [("link", "a", "/etc/passwd")],
        [("link", "a", "../../etc")],
        [("hard", "a", "../b")],
        [("dev", "a", "")],
        [("file", "manifest.json", "x")],
        [("file", "a", "x"), ("file", "a", "y")],
        [("link", "a", "b"), ("link", "b", "."), ("file", "b/../a/c", "x"), ("file", "a", "y")],
    ],
)
def test_an_archive_that_wants_out_is_refused(tmp_path: Path, members: list[tuple[str, str, str]]) -> None:
    path = archive(tmp_path / "a.tgz", *members)
    with pytest.raises(tree.TreeError, match="Do not use"):
        unpack(path, str(tmp_path / "sub/out"))
    assert not (tmp_path / "sub/evil").exists()


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_text("<html>404</html>")
    with pytest.raises(tree.TreeError, match="is not a tar archive"):
        unpack(str(tmp_path / "a.tgz"), str(tmp_path / "out"))


def test_references_name_instance_and_release_and_fear_what_they_cannot_read(tmp_path: Path) -> None:
    for instance, release, text in (
        ("chat", "aaaaaaaaaaaa", '{"description": {"engine": "llamacpp", "engine_version": "0.7.0"}}'),
        ("chat", "bbbbbbbbbbbb", '{"description": {"engine": "llamacpp", "engine_version": "0.6.0"}}'),
        ("code", "cccccccccccc", "{"),
    ):
        directory = tmp_path / instance / "releases" / release
        directory.mkdir(parents=True)
        (directory / "release.json").write_text(text)
    found = find_references(str(tmp_path), {"engine": "llamacpp", "engine_version": "0.7.0"})
    assert found[0] == "instance chat, release aaaaaaaaaaaa"
    assert found[1].startswith("instance code, release cccccccccccc (release.json cannot be read")
    assert len(found) == 2
