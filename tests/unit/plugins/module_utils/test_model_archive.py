# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of models: packed, read back, brought back; cut at every step, and never half published."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils import _model_archive as archive
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._model_archive import Place, Work
from ansible_collections.local_llm.ops.plugins.module_utils._model_store import (
    change,
    needed_here,
    refuse_archive_place,
    tidy,
)
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError, measure, publish
from ansible_collections.local_llm.ops.plugins.module_utils._release_files import locked
from ansible_collections.local_llm.ops.plugins.modules import model_store

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="the program zstd is not on this machine")

FILES = {"a/weights-1.gguf": b"one" * 700_000, "config.json": b"{}", "weights-2.gguf": os.urandom(1_500_000)}


def run_command(
    command: list[str],
    pass_fds: tuple[int, ...] = (),
    before_communicate_callback: Callable[[Any], None] | None = None,
    handle_exceptions: bool = True,
    expand_user_and_vars: bool = True,
) -> tuple[int, str, str]:
    """Stand in for AnsibleModule.run_command, with the options that are used."""
    assert not handle_exceptions and not expand_user_and_vars
    with subprocess.Popen(
        command, pass_fds=pass_fds, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if before_communicate_callback:
            before_communicate_callback(process)
        out, err = process.communicate()
    return process.returncode, out, err


class Cut(Exception):
    """The power goes."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    it = Place(str(tmp_path / "models"), str(tmp_path / "models/.archive"), "chat", "r1")
    publish_model(it)
    return it


def publish_model(place: Place, files: dict[str, bytes] | None = None) -> dict[str, Any]:
    files = FILES if files is None else files
    incoming = Path(place.models) / ".incoming" / f"{place.name}@{place.revision}"
    for path, content in files.items():
        (incoming / path).parent.mkdir(parents=True, exist_ok=True)
        (incoming / path).write_bytes(content)
    found = measure(str(incoming))
    manifest = {
        "schema": 1, "name": place.name, "revision": place.revision, "files": found["files"], "sizes": found["sizes"],
        "manifest_sha256": sha256_hex(canonical_json(found["files"])),
    }  # fmt: skip
    publish(str(incoming), place.plain, manifest)
    return manifest


def work(**changed: Any) -> Work:
    return Work(**{"run_command": run_command, "needed": lambda _place: [], "reserve_bytes": 0, **changed})


def contents(root: str) -> dict[str, bytes]:
    return {os.path.relpath(path, root): path.read_bytes() for path in sorted(Path(root).rglob("*")) if path.is_file()}


def usable(place: Place) -> bool:
    """Tell whether the model is there whole: published, or in the archive."""
    return os.path.isfile(f"{place.plain}/manifest.json") or os.path.isfile(f"{place.packed}/manifest.json")


def test_what_comes_out_of_the_archive_is_what_went_in(place: Place) -> None:
    before = contents(place.plain)
    done = archive.archive_revision(place, work(), last_used_at="2026-11-01T00:00:00Z")
    assert done["packed_files"] == 3
    assert not os.path.exists(place.plain)
    packed = [f"files/{path}.zst" for path in FILES]
    assert sorted(contents(place.packed)) == sorted(["archive.json", "manifest.json", *packed])
    assert archive.read_record(place.packed)["last_used_at"] == "2026-11-01T00:00:00Z"
    assert os.path.getsize(place.packed_file(place.packed, "a/weights-1.gguf")) < 10_000, "it is packed"

    archive.restore_revision(place, work(), {}, json.loads(before["manifest.json"])["manifest_sha256"])
    assert contents(place.plain) == before
    assert not os.path.exists(place.packed)
    assert oct(os.stat(f"{place.plain}/config.json").st_mode & 0o777) == "0o644"


@pytest.mark.parametrize("cut_at", range(1, 8))
def test_a_cut_leaves_the_model_whole_and_the_next_run_finishes(
    place: Place, cut_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven places: at each rename and each deletion that the work makes."""
    before, calls = contents(place.plain), 0
    real_rename, real_rmtree = os.rename, shutil.rmtree

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == cut_at:
                raise Cut
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(os, "rename", counted(real_rename))
    monkeypatch.setattr(shutil, "rmtree", counted(real_rmtree))
    with contextlib.suppress(Cut):
        archive.archive_revision(place, work())
    monkeypatch.undo()
    assert usable(place)
    if os.path.isdir(place.plain):
        assert contents(place.plain) == before, "under its name it is whole or not at all"
        archive.archive_revision(place, work())
    assert not os.path.exists(place.plain)
    archive.restore_revision(place, work(), {}, None)
    assert contents(place.plain) == before


@pytest.mark.parametrize("cut_at", range(1, 7))
def test_a_cut_restore_publishes_nothing_half_and_the_next_run_finishes(
    place: Place, cut_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls, real_rename = contents(place.plain), 0, os.rename
    archive.archive_revision(place, work())

    def rename(old: str, new: str) -> None:
        nonlocal calls
        calls += 1
        if calls == cut_at:
            raise Cut
        real_rename(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with contextlib.suppress(Cut):
        archive.restore_revision(place, work(), {}, None)
    monkeypatch.undo()
    assert usable(place)
    if os.path.isdir(place.plain):
        assert contents(place.plain) == before
    if os.path.isdir(place.packed):
        archive.restore_revision(place, work(), {}, None)
    assert contents(place.plain) == before
    assert not os.path.exists(place.packed)


@pytest.mark.parametrize("step", ["archive", "restore", "delete"])
def test_an_archive_that_is_no_copy_of_what_is_published_under_its_name_is_left_alone(place: Place, step: str) -> None:
    archive.archive_revision(place, work())
    publish_model(place, {**FILES, "config.json": b"[]"})
    before = contents(place.models)
    with pytest.raises(archive.WrongArchive, match="has other files than"):
        if step == "archive":
            archive.archive_revision(place, work())
        elif step == "restore":
            archive.restore_revision(place, work(), {}, None)
        else:
            archive.delete_archived(place, work())
    assert contents(place.models) == before


def test_a_damaged_second_copy_is_packed_anew_before_the_plain_files_go(place: Place) -> None:
    before = contents(place.plain)
    archive.archive_revision(place, work())
    publish_model(place)
    Path(place.packed_file(place.packed, "config.json")).write_bytes(b"damaged")
    archive.archive_revision(place, work())
    assert not os.path.exists(place.plain)
    archive.restore_revision(place, work(), {}, None)
    assert contents(place.plain) == before


def test_a_run_that_was_cut_goes_on_with_the_first_file_that_is_not_done(place: Place) -> None:
    seen = 0

    def pace(count: int) -> None:
        nonlocal seen
        seen += count
        if seen > 5_000_000:
            raise Cut

    with pytest.raises(Cut):
        archive.archive_revision(place, work(pace=pace))
    done = sorted(name for name in contents(place.being_packed) if name.endswith(".zst"))
    assert done == ["files/a/weights-1.gguf.zst", "files/config.json.zst"]
    assert archive.archive_revision(place, work())["packed_files"] == 1


def test_what_was_packed_from_other_files_under_the_same_name_is_not_used(place: Place) -> None:
    stale = Path(place.packed_file(place.being_packed, "config.json"))
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"packed from another model")
    assert archive.archive_revision(place, work())["packed_files"] == 3
    archive.restore_revision(place, work(), {}, None)


def test_what_a_release_needs_is_not_archived_even_when_it_is_needed_only_at_the_end(place: Place) -> None:
    with pytest.raises(TreeError, match="still needed by current release 9a of instance chat"):
        archive.archive_revision(place, work(needed=lambda _place: ["current release 9a of instance chat"]))
    answers = iter([[], ["staged release 9b of instance chat"]])
    with pytest.raises(TreeError, match="staged release 9b"):
        archive.archive_revision(place, work(needed=lambda _place: next(answers)))
    assert os.path.isdir(place.plain)


def test_a_model_that_was_changed_is_not_archived(place: Place) -> None:
    path = Path(place.plain) / "weights-2.gguf"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    os.utime(path, (1, 1))
    with pytest.raises(TreeError, match=r"was changed after it was published|is not what was published"):
        archive.archive_revision(place, work())
    assert os.path.isdir(place.plain) and not os.path.isdir(place.packed)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_archive_is_never_published(place: Place, damage: str) -> None:
    archive.archive_revision(place, work())
    path = Path(place.packed_file(place.packed, "weights-2.gguf"))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.raises(TreeError, match=r"weights-2.gguf.zst"):
        archive.restore_revision(place, work(), {}, None)
    assert not os.path.exists(place.plain)
    assert os.path.isdir(place.packed)


def test_an_archive_of_other_files_than_the_inventory_wants_is_refused(place: Place) -> None:
    archive.archive_revision(place, work())
    with pytest.raises(archive.WrongArchive, match="A revision never changes"):
        archive.restore_revision(place, work(), {"config.json": "0" * 64}, None)
    with pytest.raises(archive.WrongArchive, match="other files than the inventory"):
        archive.restore_revision(place, work(), {}, "1" * 64)
    assert not os.path.exists(place.plain)


def test_no_room_is_told_before_anything_is_packed_or_unpacked(place: Place) -> None:
    with pytest.raises(TreeError, match=r"chat, revision r1: the archive needs \d+ bytes .* too few"):
        archive.archive_revision(place, work(reserve_bytes=1 << 62))
    assert not os.path.exists(place.being_packed)
    archive.archive_revision(place, work())
    with pytest.raises(TreeError, match="too few"):
        archive.restore_revision(place, work(reserve_bytes=1 << 62), {}, None)
    with pytest.raises(TreeError, match="the quota is"):
        archive.restore_revision(place, work(quota_bytes=1000), {}, None)
    archive.restore_revision(place, work(quota_bytes=4_000_000), {}, None)


def test_a_host_without_zstd_is_told_which_package_it_needs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(TreeError, match=r"zstd is not on this host. Install the package zstd"):
        archive.archive_revision(place, work())
    assert os.path.isdir(place.plain)


def test_a_second_run_changes_nothing_and_check_mode_nothing_at_all(place: Place) -> None:
    options: dict[str, Any] = {"files": {}, "manifest_sha256": None, "last_used_at": None}
    for state in ("archived", "restored", "archived", "deleted"):
        everything = contents(place.models)
        predicted = change(place, work(), {"state": state, **options}, check_mode=True)
        assert contents(place.models) == everything
        done = change(place, work(), {"state": state, **options}, check_mode=False)
        for key in ("changed", "published", "archived"):
            assert predicted[key] == done[key], (state, key)
        assert done["changed"]
        if state != "deleted":
            assert not change(place, work(), {"state": state, **options}, check_mode=False)["changed"]
    assert not os.path.exists(place.packed) and not os.path.exists(place.plain)


def test_the_last_copy_of_what_a_release_needs_is_not_deleted(place: Place, tmp_path: Path) -> None:
    archive.archive_revision(place, work())
    release = tmp_path / "instances/chat/releases/9a2e4fc7a3ed/release.json"
    release.parent.mkdir(parents=True)
    description = {"engine": "llamacpp", "engine_version": "1", "model": "chat", "model_revision": "r1"}
    release.write_text(json.dumps({"description": description}))
    needing = work(needed=needed_here(str(tmp_path / "instances")))
    with pytest.raises(TreeError, match="still needed by staged release 9a2e4fc7a3ed of instance chat"):
        archive.delete_archived(place, needing)
    release.write_text("{ half")
    with pytest.raises(TreeError, match="nothing leaves this host"):
        archive.delete_archived(place, needing)
    assert os.path.isdir(place.packed)


@pytest.mark.parametrize("path", ["chat/r1", ".incoming/../chat/r1", ".incoming", "../outside", ".incoming/a/b"])
def test_only_leftovers_are_tidied(place: Place, path: str) -> None:
    params = {"path": f"{place.models}/{path}", "models_directory": place.models, "archive_directory": place.archive}
    with pytest.raises(TreeError, match="is no leftover"):
        tidy(params, check_mode=False)
    assert usable(place)


@pytest.mark.parametrize("there", ["", "/", "/..", "/archive", "/.incoming", "/chat/r1", "-link"])
def test_an_archive_where_models_lie_is_refused_since_both_would_be_one(place: Place, there: str) -> None:
    Path(f"{place.models}-link").symlink_to(place.models)
    with pytest.raises(TreeError, match=r"archive_directory = .*Choose another directory"):
        refuse_archive_place(place.models, f"{place.models}{there}")


@pytest.mark.parametrize("there", ["/.archive", "/.cold/packed", "-packed", "/../packed"])
def test_an_archive_beside_the_models_is_taken(place: Place, there: str) -> None:
    refuse_archive_place(place.models, f"{place.models}{there}")


@pytest.mark.parametrize("state", ["archived", "restored", "deleted", "tidied", "listed"])
def test_the_module_refuses_it_before_anything_else(place: Place, state: str) -> None:
    params = {"state": state, "models_directory": place.models, "archive_directory": place.models}
    with pytest.raises(TreeError, match="archive_directory"):
        model_store.run(SimpleNamespace(params=params, check_mode=False))
    assert usable(place)


def test_a_model_that_is_not_archived_does_not_wait_for_a_run_over_others(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store, "_LOCK_SECONDS", 0.1)
    params: dict[str, Any] = {
        "state": "restored", "name": "new", "revision": "r1", "files": {}, "manifest_sha256": None, "best_effort": True,
        "models_directory": place.models, "archive_directory": None, "instances_directory": str(tmp_path / "instances"),
        "bytes_per_second": 0, "reserve_bytes": 0, "quota_bytes": 0,
    }  # fmt: skip
    module = SimpleNamespace(params=params, check_mode=False, run_command=run_command, log=print, warn=print)
    with locked(str(tmp_path / "locks" / "models.lock"), 1):
        assert not model_store.run(module)["changed"]
        archive.archive_revision(place, work())
        with pytest.raises(TreeError, match="another run packs or unpacks"):
            model_store.run(SimpleNamespace(**{**vars(module), "params": {**params, "name": "chat"}}))
