# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module model_artifact with the real huggingface_hub against a fake hub that redirects to a second address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils import _artifact_hub
from ansible_collections.local_llm.ops.plugins.modules import model_artifact
from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import COMMIT, Content, Fault, Mirror

TOKEN = "hf_secret_of_the_test"
WEIGHTS = bytes(range(256)) * 2000
REPOSITORY = {
    "model.safetensors": WEIGHTS,
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b'{"version": "1.0"}',
    "pytorch_model.bin": b"pickle" * 1000,
    "README.md": b"# read me",
}
PINNED_FILES = ("model.safetensors", "config.json", "tokenizer.json")
PINNED = {name: hashlib.sha256(REPOSITORY[name]).hexdigest() for name in PINNED_FILES}
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def content() -> Content:
    return Content(repositories={"org/tiny": dict(REPOSITORY)})


@pytest.fixture
def hub(content: Content) -> Iterator[Mirror]:
    with Mirror(content) as server, Mirror(content, "127.0.0.2") as cdn:
        content.cdn = cdn.url
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, hub: Mirror) -> Call:
    pytest.importorskip("huggingface_hub")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)

    def call(check: bool = False, **options: Any) -> dict[str, Any]:
        fixed = {
            "name": "tiny",
            "source": "hf",
            "repo": "org/tiny",
            "revision": COMMIT,
            "reserve_bytes": 0,
            "retries": 0,
        }
        with (
            patch_module_args({**fixed, "reserve_bytes": 0, "retries": 0, "_ansible_check_mode": check, **options}),
            pytest.raises(SystemExit),
        ):
            model_artifact.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def test_the_manifest_takes_large_digests_from_the_hub_and_hashes_small_files(run: Call, content: Content) -> None:
    made = run(state="manifest")
    assert made["files"] == PINNED
    assert made["sizes"]["model.safetensors"] == len(WEIGHTS)
    assert made["left_out"] == ["README.md", "pytorch_model.bin"]
    assert not [request for request in content.requests if "model.safetensors" in request.path]
    assert made["definition"]["manifest_sha256"] == made["manifest_sha256"]


def test_a_pinned_manifest_is_asked_for_once(run: Call, content: Content, tmp_path: Path) -> None:
    digest = run(state="manifest")["manifest_sha256"]
    kept = {"state": "manifest", "manifest_sha256": digest, "manifest_directory": str(tmp_path / "manifests")}
    assert run(**kept, check=True)["changed"] is True
    assert not (tmp_path / "manifests").exists()
    assert run(**kept)["changed"] is True
    content.requests.clear()
    again = run(**kept)
    assert (again["changed"], again["files"], content.requests) == (False, PINNED, [])


def test_another_manifest_than_the_pinned_one_is_refused_with_its_digest(run: Call) -> None:
    found = run(state="manifest")["manifest_sha256"]
    message = run(state="manifest", manifest_sha256="0" * 64)["msg"]
    assert f"has the digest {found}" in message and "0" * 64 in message


def test_files_come_through_the_redirect_and_the_token_does_not(run: Call, content: Content, tmp_path: Path) -> None:
    content.token = TOKEN
    made = run(state="manifest", token=TOKEN)
    content.faults["/cdn/org/tiny/model.safetensors"] = Fault(cut_after_bytes=300_000)
    fetched = {"state": "fetched", "files": made["files"], "sizes": made["sizes"], "directory": str(tmp_path / "in")}
    broken = run(**fetched, token=TOKEN)
    assert "broke off" in broken["msg"] and "signature" not in json.dumps(broken)
    result = run(**fetched, token=TOKEN)
    assert result["resumed_bytes"] > 0 and (tmp_path / "in/model.safetensors").read_bytes() == WEIGHTS
    by_cdn = [request for request in content.requests if request.path.startswith("/cdn/")]
    assert by_cdn and {request.authorization for request in by_cdn} == {""}
    assert TOKEN not in json.dumps(result)


def test_the_token_may_come_from_the_environment(run: Call, content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    content.token = TOKEN
    assert "needs a token that may read it" in run(state="manifest")["msg"]
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run(state="manifest")["files"] == PINNED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"revision": "main"}, "40 hex digits"),
        ({"revision": "f" * 40}, "has no such commit"),
        ({"repo": "org/other"}, "no such repository"),
        ({"include": ["*"]}, "pytorch_model.bin is a format that can hold a Python pickle"),
        ({"include": ["*.nothing"]}, "no file fits"),
    ],
)
def test_what_does_not_pin_or_must_not_come_is_refused(run: Call, options: dict[str, Any], words: str) -> None:
    assert words in run(state="manifest", **options)["msg"]


def test_a_hub_that_nothing_reaches_is_told(run: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert "the list of files cannot be read" in run(state="manifest", endpoint="http://127.0.0.1:1")["msg"]


def test_a_repository_that_points_at_its_own_code_is_refused(run: Call, content: Content) -> None:
    content.repositories["org/tiny"]["config.json"] = b'{"auto_map": {"AutoModel": "modeling_x.M"}}'
    assert "has the key auto_map" in run(state="manifest")["msg"]
    assert run(state="manifest", allow=["auto_map"])["definition"]["allow"] == ["auto_map"]


def test_a_mirror_that_gives_other_bytes_than_its_list_is_refused(run: Call, content: Content) -> None:
    content.faults["/cdn/org/tiny/config.json"] = Fault(send_bytes=b'{"model_type": "other"}')
    assert "other bytes than its own list" in run(state="manifest")["msg"]


def test_without_the_library_the_message_says_how_to_install_it(run: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_artifact_hub, "LIBRARY", "huggingface_hub_that_is_not_there")
    message = run(state="manifest")["msg"]
    assert "huggingface_hub" in message and "pip install" in message
