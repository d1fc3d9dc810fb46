# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine ollama: options, the start script run for real by sh with a program that only notes, readiness, pages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._engine_info import collect
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import EngineError
from ansible_collections.local_llm.ops.plugins.module_utils._engines._ollama import ENGINE
from ansible_collections.local_llm.ops.plugins.module_utils._engines._ollama_info import spill
from ansible_collections.local_llm.ops.plugins.module_utils._engines._ollama_options import FIXED, OPTIONS
from ansible_collections.local_llm.ops.plugins.module_utils._http_json import Answer
from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import (
    config_blob,
    extra_blobs,
    manifest_text,
)

PATHS = {"engine_directory": "/e", "model_directory": "/m", "instance_directory": "/i"}
README = Path(__file__).resolve().parents[4] / "roles/ollama/README.md"
NOTES = """#!/bin/sh
case $1 in serve) env > "$HOME/serve.env" ;; run) echo "$@" > "$HOME/run.args"; exit ${FAIL:-0} ;; esac
"""


def description(**changes: Any) -> dict[str, Any]:
    return {
        "engine": "ollama",
        "config": {},
        "model_entry": "model.gguf",
        "served_name": "chat",
        "port": 8001,
        "gpus": "all",
        **changes,
    }


def environment(**changes: Any) -> dict[str, str]:
    text = ENGINE.render(description(**changes), PATHS)["environment"]
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_engine_is_found_by_its_name() -> None:
    assert get_engine("ollama") is ENGINE


def test_every_option_has_a_reason_and_stands_in_the_readme_with_its_default() -> None:
    text = README.read_text(encoding="utf-8")
    for key, option in OPTIONS.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{key}` |")), "")
        assert option.reason and option.reason in row, key
        default = option.default if isinstance(option.default, str) and option.default else json.dumps(option.default)
        assert f"| `{default}` |" in row, key


def test_what_keeps_prompts_and_models_inside_cannot_be_changed() -> None:
    seen = environment()
    for name, value in FIXED.items():
        assert seen[name] == value
    assert not {option.flag for option in OPTIONS.values()} & FIXED.keys()


def test_options_become_variables_with_the_units_that_ollama_reads() -> None:
    seen = environment(
        config={
            "context_tokens": 8192,
            "parallel_requests": 2,
            "keep_alive_seconds": 90,
            "load_timeout_seconds": 60,
            "flash_attention": "off",
            "sched_spread": True,
            "gpu_overhead_bytes": 5,
        }
    )
    assert seen["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert seen["OLLAMA_NUM_PARALLEL"] == "2"
    assert seen["OLLAMA_KEEP_ALIVE"] == "90s"
    assert seen["OLLAMA_LOAD_TIMEOUT"] == "60s"
    assert seen["OLLAMA_FLASH_ATTENTION"] == "0"
    assert seen["OLLAMA_SCHED_SPREAD"] == "1"
    assert seen["OLLAMA_GPU_OVERHEAD"] == "5"
    default = environment()
    assert default["OLLAMA_KEEP_ALIVE"] == "-1"
    assert "OLLAMA_FLASH_ATTENTION" not in default
    assert "OLLAMA_LLM_LIBRARY" not in default


@pytest.mark.parametrize(
    ("gpus", "seen"),
    [("all", None), ("none", "-1"), ([0, 1], "0,1"), (["GPU-0a-1b"], "GPU-0a-1b")],
)
def test_an_instance_sees_its_gpus_only(gpus: Any, seen: str | None) -> None:
    assert environment(gpus=gpus).get("CUDA_VISIBLE_DEVICES") == seen


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"context_token": 1}, "Did you mean 'context_tokens'"),
        ({"keep_alive_seconds": 0}, "would unload"),
        ({"kv_cache_type": "q8_0", "flash_attention": "off"}, "needs flash attention"),
        ({"stop": ["a\x07"]}, "control characters"),
        ({"gpu_layers": "all"}, "or one of: auto"),
    ],
)
def test_a_wrong_option_is_named_with_the_fix(config: dict[str, Any], words: str) -> None:
    assert any(words in message for message in ENGINE.validate_config(config))
    with pytest.raises(EngineError):
        ENGINE.complete_config(config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_entry": "../x.gguf"}, "path inside"),
        ({"model_entry": "model.safetensors"}, "serves a .gguf file"),
        ({"model_entry": "big-00001-of-00003.gguf"}, "llama-gguf-split --merge"),
        ({"served_name": "a/b/c/d"}, "served_name"),
        ({"served_name": "chat:cloud"}, "model outside"),
        ({"model_entry": "manifests/h/n/m/t", "config": {"template": "x"}}, "copied store"),
    ],
)
def test_a_release_that_ollama_cannot_serve_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineError, match=words):
        ENGINE.render(description(**changes), PATHS)


def run_script(tmp_path: Path, fail: int = 0, **changes: Any) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the start script of a release; return the home directory."""
    home, engine, model = tmp_path / "home", tmp_path / "engine", tmp_path / "model"
    home.mkdir(exist_ok=True)
    (engine / "bin").mkdir(parents=True, exist_ok=True)
    program = engine / "bin/ollama"
    program.write_text(NOTES, encoding="utf-8")
    program.chmod(0o755)
    paths = {**PATHS, "engine_directory": str(engine), "model_directory": str(model)}
    script = tmp_path / "run"
    script.write_text(ENGINE.render(description(**changes), paths)["run"], encoding="utf-8")
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "LOCAL_LLM_ADDRESS": "10.0.0.1", "FAIL": str(fail)}
    done = subprocess.run(["sh", str(script)], env=variables, capture_output=True, text=True, timeout=20, check=False)
    return home, done


def publish(tmp_path: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Write a model as the role publishes it; return the SHA-256 of its files."""
    digests = {}
    for name, content in files.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    manifest = {"files": digests, "sizes": {name: len(content) for name, content in files.items()}, "schema": 1}
    (tmp_path / "model/manifest.json").write_text(json.dumps(manifest, sort_keys=True, indent=1), encoding="utf-8")
    return digests


def wait_for(path: Path) -> str:
    end = time.monotonic() + 10
    while not path.exists() or not path.read_text(encoding="utf-8"):
        assert time.monotonic() < end, path
        time.sleep(0.01)
    return path.read_text(encoding="utf-8")


def test_the_start_makes_a_store_with_exactly_the_verified_file_and_loads_it(tmp_path: Path) -> None:
    digests = publish(tmp_path, {"sub/my-1.5.gguf": b"GGUF weights", "sub/myX1.5.gguf": b"other"})
    config = {"template": "{{ .Prompt }}\n'50 %s'\\n", "stop": ["<|e|>"], "gpu_layers": 7}
    for _start in range(2):  # the second start finds the read-only store of the first
        home, done = run_script(tmp_path, model_entry="sub/my-1.5.gguf", config=config)
        assert done.returncode == 0, done.stderr
    store = home / "ollama-models"
    text = (store / "manifests/registry.ollama.ai/library/chat/latest").read_text(encoding="utf-8")
    digest = digests["sub/my-1.5.gguf"]
    extra = extra_blobs(config["template"], {"num_gpu": 7, "stop": ["<|e|>"]})  # type: ignore[arg-type]
    assert text == manifest_text(config_blob(), extra, digest, len(b"GGUF weights"))
    for blob in (store / "blobs").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name.partition("-")[2]
    assert (store / f"blobs/sha256-{digest}").readlink() == tmp_path / "model/sub/my-1.5.gguf"
    assert all(path.stat().st_mode & 0o222 == 0 for path in (store, store / "blobs", store / "manifests"))
    seen = wait_for(home / "serve.env").splitlines()
    assert "OLLAMA_HOST=10.0.0.1:8001" in seen
    assert f"OLLAMA_MODELS={store}" in seen
    assert "NO_PROXY=localhost,127.0.0.1,::1,10.0.0.1" in seen
    assert wait_for(home / "run.args").split() == ["run", "chat:latest"]


def test_a_copied_store_is_served_under_the_served_name(tmp_path: Path) -> None:
    weights = hashlib.sha256(b"weights").hexdigest()
    config = hashlib.sha256(b"{}").hexdigest()
    entry = "manifests/registry.ollama.ai/library/llama3.2/1b"
    manifest = {"config": {"digest": f"sha256:{config}"}, "layers": [{"digest": f"sha256:{weights}"}]}
    files = {f"blobs/sha256-{weights}": b"weights", f"blobs/sha256-{config}": b"{}"}
    publish(tmp_path, {entry: json.dumps(manifest).encode(), **files})
    home, done = run_script(tmp_path, model_entry=entry, served_name="team/chat:v2")
    assert done.returncode == 0, done.stderr
    store = home / "ollama-models"
    assert json.loads((store / "manifests/registry.ollama.ai/team/chat/v2").read_bytes()) == manifest
    assert sorted(path.read_bytes() for path in (store / "blobs").iterdir()) == [b"weights", b"{}"]


def test_a_copied_store_with_a_blob_under_a_false_name_does_not_start(tmp_path: Path) -> None:
    false = "0" * 64
    entry = "manifests/registry.ollama.ai/library/x/1"
    manifest = {"config": {"digest": f"sha256:{false}"}, "layers": []}
    publish(tmp_path, {entry: json.dumps(manifest).encode(), f"blobs/sha256-{false}": b"else"})
    _home, done = run_script(tmp_path, model_entry=entry)
    assert done.returncode == 1
    assert "not with that SHA-256" in done.stderr


def test_a_missing_file_ends_the_start_with_its_name(tmp_path: Path) -> None:
    publish(tmp_path, {"other.gguf": b"x"})
    _home, done = run_script(tmp_path)
    assert done.returncode == 1
    assert "model.gguf is missing" in done.stderr


def test_an_embedding_model_is_loaded_with_a_word(tmp_path: Path) -> None:
    publish(tmp_path, {"model.gguf": b"x"})
    home, _done = run_script(tmp_path, config={"embeddings": True})
    assert wait_for(home / "run.args").split() == ["run", "chat:latest", "ready"]


class Server:
    """Answers of an instance, and what it was asked."""

    def __init__(self, **answers: tuple[int | None, bytes]) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def __call__(self, method: str, path: str, payload: dict[str, Any] | None) -> tuple[int | None, bytes]:
        self.asked.append((method, path, payload))
        return self.answers[path.rpartition("/")[2]]


LISTED = (200, b'{"models":[{"size_vram":1}]}')


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"ps": (None, b"")}, None),
        ({"ps": (0, b"")}, 0),
        ({"ps": (200, b'{"models":[]}')}, 503),
        ({"ps": LISTED, "generate": (0, b"")}, 503),
        ({"ps": LISTED, "generate": (500, b"")}, 500),
        ({"ps": LISTED, "generate": (200, b"{}")}, 200),
    ],
)
def test_an_instance_is_ready_when_its_model_is_loaded(answers: dict[str, Any], status: int | None) -> None:
    assert ENGINE.ready_status(description(), Server(**answers)) == status


def test_the_question_for_readiness_never_begins_the_load_itself() -> None:
    server = Server(ps=(200, b'{"models":[]}'))
    ENGINE.ready_status(description(), server)
    assert [path for _method, path, _payload in server.asked] == ["/api/ps"]


def test_an_instance_that_unloads_when_idle_is_asked_by_loading_it() -> None:
    server = Server(generate=(200, b"{}"))
    assert ENGINE.ready_status(description(config={"keep_alive_seconds": 60}), server) == 200
    assert server.asked[0][2] == {"model": "chat:latest", "stream": False}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Warning: could not connect to a running Ollama instance", "Warning: client version is 0.32.15"], "0.32.15"),
        (["ollama version is 0.20.0", "Warning: client version is 0.32.15"], "0.32.15"),
        (["ollama version is 0.32.15"], "0.32.15"),
    ],
)
def test_the_version_is_the_program_s_own_not_that_of_a_running_server(lines: list[str], said: str) -> None:
    assert ENGINE.version_line(lines) == f"ollama {said}"


@pytest.mark.parametrize(
    ("version", "said", "right"),
    [
        ("0.32.15", "ollama 0.32.15", True),
        ("0.32.15-rocm", "ollama 0.32.15", True),
        ("0.32.15", "ollama 0.16.0", False),
        ("0.32.1", "ollama 0.32.15", False),
        ("latest", "ollama 0.32.15", False),
        ("0.32.15", "", False),
    ],
)
def test_an_old_program_cannot_stand_under_a_newer_name(version: str, said: str, right: bool) -> None:
    assert (ENGINE.version_problem(version, said) == "") is right


def pages(**changes: Any) -> dict[str, Any]:
    content = {
        "/api/version": {"version": "0.32.15"},
        "/v1/models": {"data": [{"id": "chat:latest"}, {"id": "team/x:1"}]},
        "/api/ps": {"models": [{"name": "chat:latest", "size": 100, "size_vram": 100}]},
        **changes,
    }

    def fetch(path: str) -> Answer:
        page = content[path]
        return page if isinstance(page, Answer) else Answer(200, json.dumps(page).encode())

    return collect("ollama", fetch)


def test_llm_info_tells_version_names_and_nothing_that_ollama_does_not_say() -> None:
    info = pages()
    assert (info["version"], info["status"], info["detail"]) == ("0.32.15", "ready", "")
    assert info["served_models"] == ["chat:latest", "chat", "team/x:1"]
    assert info["queue_depth"] is None
    assert info["in_flight"] is None
    assert set(info["metrics"].values()) == {None}


def test_llm_info_says_loading_until_a_model_is_in_memory() -> None:
    info = pages(**{"/api/ps": {"models": []}})
    assert info["status"] == "loading"
    assert "no model is in memory" in info["detail"]


@pytest.mark.parametrize(
    "page", [Answer(None, error="connection", detail="refused"), Answer(200, b"<html>"), Answer(404)]
)
def test_llm_info_says_dead_when_no_ollama_answers(page: Answer) -> None:
    assert pages(**{"/api/version": page})["status"] == "dead"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "c", "size": 100, "size_vram": 100}, ""),
        ({"name": "c", "size": 100, "size_vram": 51}, "spill: c has 51 of 100 bytes in GPU memory (51 %)"),
        ({"name": "c", "size": 100, "size_vram": 0}, "spill: c runs on the CPU alone"),
        ({"name": "c", "size": "x"}, ""),
    ],
)
def test_a_spill_is_named(model: dict[str, Any], words: str) -> None:
    text = spill(model)
    assert text.startswith(words) if words else text == ""
