# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules model_directory and engine_directory, with real files in a temporary directory."""

from __future__ import annotations

import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.modules import engine_directory, model_directory

CONTENT = "weights"
FILES = {"model.gguf": sha256_hex(CONTENT)}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    def run(module: Any, check: bool = False, **args: Any) -> dict[str, Any]:
        root = "models_directory" if module is model_directory else "engines_directory"
        args = {
            root: str(tmp_path / "root"),
            "instances_directory": str(tmp_path / "instances"),
            "reserve_bytes": 0,
            **args,
        }
        with patch_module_args({**args, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def use(tmp_path: Path, **description: str) -> None:
    directory = tmp_path / "instances/chat/releases/abcdef123456"
    directory.mkdir(parents=True)
    (directory / "release.json").write_text(json.dumps({"description": description}))


def model(call: Any, state: str, **args: Any) -> dict[str, Any]:
    args = {"name": "tiny", "revision": "r1", "files": FILES, **args}
    result: dict[str, Any] = call(model_directory, state=state, **args)
    return result


def bring(call: Any, content: str = CONTENT) -> dict[str, Any]:
    room = model(call, "incoming", sizes={"model.gguf": len(content)})
    Path(room["incoming_path"], "model.gguf").write_text(content)
    return model(call, "present")


def test_a_model_arrives_is_published_and_then_stays_as_it_is(call: Any, tmp_path: Path) -> None:
    assert model(call, "checked")["published"] is False
    assert bring(call)["changed"] is True
    manifest = json.loads((tmp_path / "root/tiny/r1/manifest.json").read_text())
    assert manifest == {
        "schema": 1,
        "name": "tiny",
        "revision": "r1",
        "files": FILES,
        "sizes": {"model.gguf": 7},
        "manifest_sha256": sha256_hex(canonical_json(FILES)),
    }
    again = model(call, "present")
    assert (again["changed"], again["published"], again["hashed_files"]) == (False, True, 0)
    assert model(call, "incoming", sizes={"model.gguf": 7})["changed"] is False
    assert model(call, "checked", verify=True)["hashed_files"] == 1


def test_check_mode_predicts_a_model_on_a_bare_host(call: Any, tmp_path: Path) -> None:
    assert model(call, "incoming", sizes={"model.gguf": 7}, check=True)["changed"] is True
    assert model(call, "present", check=True)["changed"] is True
    assert not (tmp_path / "root").exists()


def test_a_model_with_a_wrong_sum_is_not_published_and_must_come_again(call: Any, tmp_path: Path) -> None:
    result = bring(call, "wrong")
    assert "'model.gguf' arrived with SHA-256" in result["msg"]
    assert "Nothing was published" in result["msg"]
    assert not (tmp_path / "root/tiny").exists()
    assert model(call, "incoming", sizes={"model.gguf": 7})["missing_files"] == ["model.gguf"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"files": {}}, "files is empty"),
        ({"files": {"../x": "0" * 64}}, "'../x', which must be a path inside"),
        ({"files": {"x": "abc"}}, "files['x'] = 'abc' is no SHA-256"),
        ({"name": "a/b"}, "name = 'a/b'"),
        ({"state": "incoming"}, "sizes has no entry for 'model.gguf'"),
        ({"state": "incoming", "sizes": {"model.gguf": 10**18}}, "1000000000000000000 bytes"),
        ({"state": "present"}, "'model.gguf' is not in"),
    ],
)
def test_bad_input_for_a_model_is_named(call: Any, args: dict[str, Any], words: str) -> None:
    assert words in model(call, **{"state": "checked", **args})["msg"]


def test_a_changed_or_other_model_is_named(call: Any, tmp_path: Path) -> None:
    bring(call)
    assert "give the new files a new revision" in model(call, "checked", files={"model.gguf": "0" * 64})["msg"]
    (tmp_path / "root/tiny/r1/model.gguf").write_text("longer than it was")
    assert "model.gguf: 18 bytes instead of 7" in model(call, "present")["msg"]


def test_a_model_that_a_release_needs_is_not_removed(call: Any, tmp_path: Path) -> None:
    bring(call)
    use(tmp_path, model="tiny", model_revision="r1")
    assert "instance chat, release abcdef123456" in model(call, "absent")["msg"]
    (tmp_path / "instances/chat/releases/abcdef123456/release.json").unlink()
    assert model(call, "absent")["changed"] is True
    assert model(call, "absent")["changed"] is False


@pytest.fixture
def artifact(tmp_path: Path) -> dict[str, Any]:
    tree = tmp_path / "tree/llama-b1"
    tree.mkdir(parents=True)
    flags = " ".join(get_engine("llamacpp").required_flags)
    (tree / "llama-server").write_text(
        f'#!/bin/sh\n[ "$1" = --help ] && echo "{flags}" || echo "version: 1 $LD_LIBRARY_PATH"\n'
    )
    (tree / "llama-server").chmod(0o755)
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, "llama-b1")
    sums = {platform.machine(): sha256_hex(path.read_bytes())}
    return {"method": "archive", "src": str(path), "sha256": sums, "entry": "llama-b1/llama-server"}


def engine(call: Any, artifact: dict[str, Any] | None, **args: Any) -> dict[str, Any]:
    source = {"artifact": artifact, "archive_path": artifact["src"]} if artifact else {}
    result: dict[str, Any] = call(engine_directory, engine="llamacpp", **{"version": "1", **source, **args})
    return result


def test_an_archive_is_installed_once_and_proves_itself(call: Any, artifact: dict[str, Any], tmp_path: Path) -> None:
    assert engine(call, artifact, state="checked")["installed"] is False
    assert engine(call, artifact, check=True)["changed"] is True
    assert not (tmp_path / "root").exists()
    first = engine(call, artifact)
    assert (first["changed"], first["installed"]) == (True, True)
    assert first["version_output"].startswith("version: 1 ")
    assert first["version_output"].endswith("/llama-b1")  # the wrapper shows the engine its own libraries
    again = engine(call, artifact)
    assert (again["changed"], again["hashed_files"], again["version_output"]) == (False, 0, first["version_output"])


def test_a_wrong_sum_is_refused_before_unpacking(call: Any, artifact: dict[str, Any], tmp_path: Path) -> None:
    artifact["sha256"] = {platform.machine(): "0" * 64}
    message = engine(call, artifact)["msg"]
    assert "llamacpp_artifacts says 0000" in message
    assert "Nothing was unpacked" in message
    assert list((tmp_path / "root").rglob("*")) == [tmp_path / "root/.incoming"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": {"riscv": "0" * 64}}, "only riscv. Add the SHA-256"),
        ({"sha256": {platform.machine(): "abc"}}, "'abc' is no SHA-256"),
        ({"entry": "../x"}, "must be a path inside"),
        ({"entry": "none"}, "has no file 'none'"),
        ({"entry": None}, "there is no bin/llama-server"),
        ({"sorce": "x"}, "sorce"),
    ],
)
def test_a_bad_artifact_is_named(call: Any, artifact: dict[str, Any], change: dict[str, Any], words: str) -> None:
    assert words in engine(call, {**artifact, **change})["msg"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho broken >&2; exit 3\n", "ended with 3: broken"),
        ("#!/bin/sh\necho old\n", "does not know --no-slots"),
    ],
)
def test_an_engine_that_cannot_run_here_is_not_installed(
    call: Any, artifact: dict[str, Any], tmp_path: Path, script: str, words: str
) -> None:
    (tmp_path / "tree/llama-b1/llama-server").write_text(script)
    with tarfile.open(artifact["src"], "w:gz") as tar:
        tar.add(tmp_path / "tree/llama-b1", "llama-b1")
    artifact["sha256"] = {platform.machine(): sha256_hex(Path(artifact["src"]).read_bytes())}
    assert words in engine(call, artifact)["msg"]
    assert not (tmp_path / "root/llamacpp").exists()


def test_a_changed_engine_or_another_artifact_is_named(call: Any, artifact: dict[str, Any], tmp_path: Path) -> None:
    engine(call, artifact)
    other = {**artifact, "sha256": {platform.machine(): "0" * 64}}
    assert "give the new artifact a new version name" in engine(call, other, state="checked")["msg"]
    (tmp_path / "root/llamacpp/1/extra.so").write_text("x")
    assert "extra.so: not in the manifest" in engine(call, artifact, state="checked")["msg"]


def test_nothing_is_removed_while_a_release_needs_one_version(
    call: Any, artifact: dict[str, Any], tmp_path: Path
) -> None:
    engine(call, artifact)
    engine(call, artifact, version="2")
    use(tmp_path, engine="llamacpp", engine_version="2")
    assert (
        "llamacpp 2: still needed by instance chat" in call(engine_directory, engine="llamacpp", state="absent")["msg"]
    )
    assert (tmp_path / "root/llamacpp/1").exists()
    assert engine(call, None, state="absent")["removed"] == ["1"]
    (tmp_path / "instances/chat/releases/abcdef123456/release.json").unlink()
    assert call(engine_directory, engine="llamacpp", state="absent", check=True)["removed"] == ["2"]
    assert call(engine_directory, engine="llamacpp", state="absent")["removed"] == ["2"]
    assert not (tmp_path / "root/llamacpp").exists()


def test_a_published_model_is_recognised_by_the_digest_of_its_manifest(call: Any) -> None:
    digest = sha256_hex(canonical_json(FILES))
    assert model(call, "checked", files={}, manifest_sha256=digest)["published"] is False
    bring(call)
    assert model(call, "checked", files={}, manifest_sha256=digest)["published"] is True
    assert (
        "wanted is manifest_sha256 = " + "0" * 64 in model(call, "checked", files={}, manifest_sha256="0" * 64)["msg"]
    )
    assert "is no SHA-256" in model(call, "checked", files={}, manifest_sha256="abc")["msg"]
    assert "files is empty" in model(call, "present", files={}, manifest_sha256=digest)["msg"]


def test_a_model_above_the_quota_is_refused_and_parts_that_have_come_do_not_count_twice(
    call: Any, tmp_path: Path
) -> None:
    sizes = {"model.gguf": 7}
    assert "the quota is 6, 1 too few" in model(call, "incoming", sizes=sizes, quota_bytes=6)["msg"]
    assert not (tmp_path / "root").exists()
    room = model(call, "incoming", sizes=sizes, quota_bytes=7)
    parts = Path(room["incoming_path"], ".parts")
    parts.mkdir()
    (parts / "x.part").write_text("wei")
    assert "msg" not in model(call, "incoming", sizes=sizes, quota_bytes=7)
    Path(room["incoming_path"], "model.gguf").write_text(CONTENT)
    assert model(call, "present")["published"] is True
    assert sorted(path.name for path in (tmp_path / "root/tiny/r1").iterdir()) == ["manifest.json", "model.gguf"]
