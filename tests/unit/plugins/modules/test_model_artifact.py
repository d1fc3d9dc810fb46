# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module model_artifact against a fake mirror: what it brings, what it refuses, how it goes on after a fault."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils import _artifact_bring, _artifact_fetch
from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.plugins.modules import model_artifact
from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import Content, Fault, Mirror

ROOT = Path(__file__).resolve().parents[4]

DATA = bytes(range(256)) * 4000
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'
FILES = {"model.gguf": hashlib.sha256(DATA).hexdigest(), "config.json": hashlib.sha256(CONFIG).hexdigest()}
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def content() -> Content:
    return Content(files={"/m/model.gguf": DATA, "/m/config.json": CONFIG})


@pytest.fixture
def mirror(content: Content) -> Iterator[Mirror]:
    with Mirror(content) as server:
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def call(check: bool = False, **options: Any) -> dict[str, Any]:
        arguments = {"name": "tiny", "reserve_bytes": 0, "retries": 0, "_ansible_check_mode": check, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            model_artifact.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


@pytest.fixture
def fetch(run: Call, mirror: Mirror, tmp_path: Path) -> Call:
    def call(**options: Any) -> dict[str, Any]:
        fixed = {"state": "fetched", "source": "http", "url": f"{mirror.url}/m", "directory": str(tmp_path / "in")}
        return run(**{**fixed, "files": FILES, **options})

    return call


def sent(content: Content, path: str) -> int:
    return sum(request.sent_bytes for request in content.requests if request.path == path)


def there(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "in").glob("*") if path.name != ".parts")


def test_files_come_once_and_a_second_run_asks_nothing(fetch: Call, content: Content, tmp_path: Path) -> None:
    first = fetch()
    assert (first["changed"], first["fetched_files"]) == (True, ["config.json", "model.gguf"])
    assert first["received_bytes"] == len(DATA) + len(CONFIG)
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA
    content.requests.clear()
    again = fetch(sizes=first["sizes"])
    assert (again["changed"], again["received_bytes"], content.requests) == (False, 0, [])


def test_check_mode_tells_what_would_come_and_writes_nothing(fetch: Call, tmp_path: Path) -> None:
    result = fetch(check=True)
    assert (result["changed"], sorted(result["missing_files"])) == (True, sorted(FILES))
    assert result["sizes"] == {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    assert not (tmp_path / "in").exists()


def test_a_size_is_asked_for_with_one_byte_and_a_server_without_ranges_is_asked_all_the_same(
    fetch: Call, content: Content
) -> None:
    fetch(check=True)
    # The mirror counts after it has sent, which may be after the client has read.
    deadline = time.monotonic() + 10
    while sent(content, "/m/model.gguf") < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sent(content, "/m/model.gguf") == 1
    content.faults["/m/model.gguf"] = Fault(no_range=True, times=-1)
    content.files["/m/config.json"] = b""  # has no first byte
    sizes = fetch(check=True)["sizes"]
    assert sizes == {"model.gguf": len(DATA), "config.json": 0}


def test_a_mirror_that_told_a_wrong_size_is_asked_again_once_it_is_mended(
    run: Call, mirror: Mirror, content: Content, tmp_path: Path
) -> None:
    common = {"source": "http", "url": f"{mirror.url}/m", "manifest_directory": str(tmp_path / "kept")}
    cache = {"directory": str(tmp_path / "blobs"), "directory_layout": "sha256"}

    def bring() -> dict[str, Any]:
        made = run(state="manifest", files=FILES, **common)
        return run(state="fetched", files=made["files"], sizes=made["sizes"], **common, **cache)

    content.faults["/m/model.gguf"] = Fault(send_bytes=DATA[:-100], times=-1)
    assert bring()["failed"]
    content.faults.clear()
    assert bring()["fetched_files"] == ["model.gguf"]


def test_a_cut_connection_is_an_error_and_the_next_run_asks_for_the_rest_only(
    fetch: Call, content: Content, tmp_path: Path
) -> None:
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    content.faults["/m/model.gguf"] = Fault(cut_after_bytes=600_000)
    result = fetch(sizes=sizes)
    assert "broke off after" in result["msg"] and "run again to go on" in result["msg"]
    assert there(tmp_path) == ["config.json"]
    came = sent(content, "/m/model.gguf")
    content.requests.clear()
    again = fetch(sizes=sizes)
    assert again["resumed_bytes"] > 0
    assert again["received_bytes"] == len(DATA) - again["resumed_bytes"] == sent(content, "/m/model.gguf")
    assert again["resumed_bytes"] <= came
    assert content.requests[0].range == f"bytes={again['resumed_bytes']}-"
    assert content.requests[0].if_range.startswith('"')
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA


def test_a_cut_connection_is_made_again_within_one_run(
    fetch: Call, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = _artifact_bring.bring
    monkeypatch.setattr(
        "ansible_collections.local_llm.ops.plugins.module_utils._artifact_steps.bring",
        lambda order, say, check: real(order, say, check, sleep=waits.append),
    )
    content.faults["/m/model.gguf"] = Fault(cut_after_bytes=300_000, times=2)
    result = fetch(retries=3, sizes={"model.gguf": len(DATA), "config.json": len(CONFIG)})
    assert result["received_bytes"] == len(DATA) + len(CONFIG)
    assert waits == [2.0, 4.0]


def test_a_file_that_moved_on_the_mirror_comes_anew(fetch: Call, content: Content, tmp_path: Path) -> None:
    """The part from before belongs to other bytes: If-Range makes the server send all of it."""
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    content.files["/m/model.gguf"] = bytes(len(DATA))
    content.faults["/m/model.gguf"] = Fault(cut_after_bytes=600_000)
    fetch(sizes=sizes)
    content.files["/m/model.gguf"] = DATA
    result = fetch(sizes=sizes)
    assert result["received_bytes"] == len(DATA) and result["resumed_bytes"] == 0
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA


def test_a_part_with_a_flipped_byte_is_thrown_away_and_comes_anew(
    fetch: Call, content: Content, tmp_path: Path
) -> None:
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    content.faults["/m/model.gguf"] = Fault(cut_after_bytes=600_000)
    fetch(sizes=sizes)
    part = next((tmp_path / "in/.parts").glob("*.part"))
    part.write_bytes(b"\xff" + part.read_bytes()[1:])
    assert fetch(sizes=sizes)["resumed_bytes"] == 0
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(html=True, times=-1), "web page"),
        (Fault(html_untyped=True, times=-1), "web page"),
        (Fault(send_bytes=DATA[:-1] + b"x", times=-1), "was thrown away"),
        (Fault(announce_bytes=len(DATA) + 5, times=-1), "announces 1024005 bytes, wanted are 1024000"),
        (Fault(send_bytes=DATA + b"more", no_length=True, times=-1), "sends more than the 1024000 bytes"),
        (Fault(send_bytes=DATA[:-9], no_length=True, times=-1), "gave 1023991 bytes, wanted are 1024000"),
        (Fault(status=404, times=-1), "status 404"),
        (Fault(status=403, times=-1), "Give a token"),
        (Fault(status=503, times=-1), "busy or broken"),
    ],
)
def test_what_is_not_the_file_is_named_and_nothing_of_it_stays(
    fetch: Call, content: Content, tmp_path: Path, fault: Fault, words: str
) -> None:
    content.faults["/m/model.gguf"] = fault
    result = fetch(sizes={"model.gguf": len(DATA), "config.json": len(CONFIG)})
    assert result["failed"] and words in result["msg"] and "model.gguf" in result["msg"]
    assert there(tmp_path) == ["config.json"]
    content.faults.clear()
    assert fetch(sizes={"model.gguf": len(DATA), "config.json": len(CONFIG)})["changed"] is True
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA


@pytest.mark.parametrize("fault", [Fault(no_range=True, times=-1), Fault(wrong_start=True, times=1)])
def test_a_server_that_cannot_send_the_rest_sends_all(
    fetch: Call, content: Content, tmp_path: Path, fault: Fault
) -> None:
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    content.faults["/m/model.gguf"] = Fault(cut_after_bytes=600_000)
    fetch(sizes=sizes)
    content.faults["/m/model.gguf"] = fault
    assert fetch(sizes=sizes)["resumed_bytes"] == 0
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    fetch: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    real = _artifact_fetch._write

    def write(stream: Any, block: memoryview) -> None:
        if stream.tell() + len(block) > 500_000:
            real(stream, block[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(stream, block)

    with monkeypatch.context() as patch:
        patch.setattr(_artifact_fetch, "_write", write)
        result = fetch(sizes=sizes)
    assert "is full" in result["msg"] and "What has come is kept" in result["msg"]
    assert fetch(sizes=sizes)["resumed_bytes"] > 0
    assert (tmp_path / "in/model.gguf").read_bytes() == DATA


def test_a_download_killed_in_the_middle_goes_on_where_it_was(
    fetch: Call, mirror: Mirror, content: Content, tmp_path: Path
) -> None:
    content.faults["/m/model.gguf"] = Fault(bytes_per_second=1_000_000, times=1)
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    arguments: dict[str, Any] = {
        "name": "tiny",
        "state": "fetched",
        "source": "http",
        "url": f"{mirror.url}/m",
        "files": FILES,
    }
    arguments.update(sizes=sizes, directory=str(tmp_path / "in"), reserve_bytes=0)
    program = (
        "import sys; from ansible.plugins.loader import init_plugin_loader; init_plugin_loader()\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.local_llm.ops.plugins.modules import model_artifact\n"
        f"with patch_module_args({arguments!r}): model_artifact.main()\n"
    )
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections")}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    parts = tmp_path / "in/.parts"
    key = parts / f"{FILES['model.gguf']}.part"
    while time.monotonic() < deadline and not (key.exists() and key.stat().st_size > 200_000):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "in/model.gguf").exists()
    kept = key.stat().st_size
    content.requests.clear()
    result = fetch(sizes=sizes)
    assert 200_000 < kept < len(DATA)
    assert (result["resumed_bytes"], result["received_bytes"]) == (kept, len(DATA) - kept)
    assert sent(content, "/m/model.gguf") == len(DATA) - kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"files": {"pytorch_model.bin": "0" * 64}}, "can hold a Python pickle"),
        ({"files": {"modeling.py": "0" * 64}}, "is program code"),
        ({"files": {"picture.png": "0" * 64}}, "is no safetensors, GGUF"),
        ({"files": {"../model.gguf": "0" * 64}}, "without '..'"),
        ({"files": {"model.gguf": "abc"}}, "is no SHA-256"),
        ({"files": {}}, "files is empty"),
        ({"allow": ["*"]}, "names the files"),
        ({"url": "ftp://x/m"}, "https:// or http://"),
        ({"url": "http://user:pass@h/m"}, "use token"),
        ({"reserve_bytes": 1 << 60}, "too few"),
        ({"quota_bytes": 1000}, "the quota is 1000"),
        ({"source": "hf", "repo": "org/m", "revision": "main"}, "40 hex digits"),
        ({"source": "hf", "repo": "m", "revision": "0" * 40}, "owner/name"),
    ],
)
def test_what_must_not_come_is_refused_before_anything_is_written(
    fetch: Call, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    result = fetch(**options)
    assert result["failed"] and words.replace("names the files", "name the files") in result["msg"]
    assert not (tmp_path / "in").exists()


def test_a_file_named_in_allow_may_come(fetch: Call, content: Content) -> None:
    content.files["/m/modeling_x.py"] = b"pass"
    files = {"modeling_x.py": hashlib.sha256(b"pass").hexdigest()}
    assert fetch(files=files, allow=["modeling_x.py"])["changed"] is True


def test_auto_map_is_refused_before_the_large_files_come(fetch: Call, content: Content, tmp_path: Path) -> None:
    config = b'{"text_config": {"auto_map": {"AutoModel": "modeling_x.Model"}}}'
    content.files["/m/config.json"] = config
    files = {**FILES, "config.json": hashlib.sha256(config).hexdigest()}
    sizes = {"model.gguf": len(DATA), "config.json": len(config)}
    assert "has the key auto_map" in fetch(files=files, sizes=sizes)["msg"]
    assert sent(content, "/m/model.gguf") == 0 and there(tmp_path) == []
    assert fetch(files=files, allow=["auto_map"])["changed"] is True


def test_a_cache_holds_files_by_digest_and_many_processes_fetch_once(
    mirror: Mirror, content: Content, tmp_path: Path, fetch: Call
) -> None:
    content.faults["/m/model.gguf"] = Fault(bytes_per_second=4_000_000, times=-1)
    sizes = {"model.gguf": len(DATA), "config.json": len(CONFIG)}
    order = _artifact_bring.Order(
        "model tiny",
        FILES,
        {path: f"{mirror.url}/m/{path}" for path in FILES},
        str(tmp_path / "in"),
        sizes,
        by_digest=True,
    )
    children = []
    for _turn in range(5):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _artifact_bring.bring(order, lambda line: None, False)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
    assert [request.path for request in content.requests] == ["/m/config.json", "/m/model.gguf"]
    assert there(tmp_path) == sorted(FILES.values())
    assert fetch(directory_layout="sha256", sizes=sizes)["changed"] is False
    # A byte that flips on the controller's disk is found and mended.
    (tmp_path / "in" / FILES["model.gguf"]).write_bytes(b"x" + DATA[1:])
    assert fetch(directory_layout="sha256", sizes=sizes)["fetched_files"] == ["model.gguf"]


def test_a_source_that_nothing_reaches_is_told_when_that_is_allowed(fetch: Call) -> None:
    result = fetch(url="http://127.0.0.1:1", allow_unreachable=True)
    assert (result["reachable"], result["missing_files"], result["changed"]) == (False, sorted(FILES), False)
    assert "cannot be reached" in fetch(url="http://127.0.0.1:1")["msg"]


def test_the_manifest_of_a_server_is_made_by_fetching_once(run: Call, mirror: Mirror, tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"state": "manifest", "source": "http", "url": f"{mirror.url}/m"}
    made = run(**fixed, paths=list(FILES), directory=str(tmp_path / "cache"))
    assert made["files"] == FILES
    assert made["manifest_sha256"] == sha256_hex(canonical_json(FILES))
    assert made["definition"]["files"] == FILES and made["definition"]["source"] == "http"
    assert sorted(path.name for path in (tmp_path / "cache").glob("[0-9a-f]*")) == sorted(FILES.values())
    known = run(**fixed, files=FILES)
    assert known["sizes"] == {"model.gguf": len(DATA), "config.json": len(CONFIG)}


def test_the_manifest_does_not_depend_on_the_source(run: Call, mirror: Mirror, tmp_path: Path) -> None:
    for path, data in (("model.gguf", DATA), ("config.json", CONFIG), ("picture.png", b"x")):
        (tmp_path / path).write_bytes(data)
    local = run(state="manifest", source="directory", path=str(tmp_path))
    far = run(state="manifest", source="http", url=f"{mirror.url}/m", files=FILES)
    assert local["manifest_sha256"] == far["manifest_sha256"]
    assert local["left_out"] == ["picture.png"]


def test_verified_hashes_again_at_a_bounded_rate_and_names_a_flipped_byte(run: Call, tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    (root / "model.gguf").write_bytes(DATA)
    manifest = {"schema": 1, "files": {"model.gguf": FILES["model.gguf"]}, "sizes": {"model.gguf": len(DATA)}}
    (root / "manifest.json").write_text(json.dumps(manifest))
    result = run(state="verified", directory=str(root), bytes_per_second=4_000_000)
    assert (result["hashed_files"], result["hashed_bytes"]) == (1, len(DATA))
    assert 0.2 <= result["seconds"] < 2
    (root / "model.gguf").write_bytes(DATA[:-1] + b"x")
    assert "differs from its manifest: model.gguf: SHA-256" in run(state="verified", directory=str(root))["msg"]
