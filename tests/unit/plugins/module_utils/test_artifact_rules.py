# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files may be part of a model, and how progress is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._artifact_http import shown, url_problem
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_progress import Progress, size_text, time_text
from ansible_collections.local_llm.ops.plugins.module_utils._artifact_rules import (
    DEFAULT_INCLUDE,
    config_problem,
    name_problem,
    paths_problem,
    revision_problem,
    select_paths,
)

TYPICAL = [
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "merges.txt",
    "vocab.json",
    "chat_template.jinja",
    "Q4_K_M/model.gguf",
    "LICENSE",
    "README.md",
]


@pytest.mark.parametrize("path", TYPICAL)
def test_the_files_of_ordinary_models_pass(path: str) -> None:
    assert name_problem(path) == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("pytorch_model.bin", "pickle"),
        ("original/consolidated.00.PTH", "pickle"),
        ("model.ckpt", "pickle"),
        ("training_args.pkl", "pickle"),
        ("tokenizer.pickle", "pickle"),
        ("license.pt", "pickle"),
        ("modeling_x.py", "program code"),
        ("lib/kernel.so", "program code"),
        ("model.onnx", "no safetensors"),
        ("model.msgpack", "no safetensors"),
        ("archive.tar", "no safetensors"),
        ("model.safetensors.exe", "no safetensors"),
    ],
)
def test_files_that_can_run_code_and_unknown_formats_are_refused_unless_named(path: str, words: str) -> None:
    assert words in name_problem(path)
    assert name_problem(path, [path]) == ""
    assert name_problem(path, ["other.bin"]) != ""


def test_every_refused_file_is_named_in_one_text() -> None:
    text = paths_problem([*TYPICAL, "a.bin", "b.py"], [])
    assert "a.bin is a format" in text and "b.py is program code" in text and "allow" in text


def test_by_default_a_repository_is_taken_without_pictures_pickles_and_code() -> None:
    paths = [*TYPICAL, "a.bin", "b.py", "picture.png", "original/x.pth", ".gitattributes"]
    assert select_paths(paths, DEFAULT_INCLUDE, []) == sorted(set(TYPICAL) - {"LICENSE", "README.md"})
    assert select_paths(paths, ["*.gguf", "original/*"], ["*.pth"]) == ["Q4_K_M/model.gguf"]


@pytest.mark.parametrize("revision", ["main", "v1.0", "0" * 39, "A" * 40, "0" * 41, ""])
def test_only_a_whole_commit_pins(revision: str) -> None:
    assert "40 hex digits" in revision_problem(revision)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"auto_map": {}}', "auto_map"),
        (b'{"a": [{"b": {"auto_map": 1}}]}', "auto_map"),
        (b"<html>", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"a": ' * 50000, "is not JSON"),
        (b'{"model_type": "auto_map"}', ""),
    ],
)
def test_a_configuration_that_points_at_code_is_refused(content: bytes, words: str) -> None:
    problem = config_problem("config.json", content, [])
    assert words in problem and bool(words) == bool(problem)


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("https://user:secret@host:8443/a/b?token=secret#x") == "https://host:8443/a/b"
    assert url_problem("https://host/a") == ""
    for url in (
        "https://u:p@host/a",
        "host/a",
        "file:///etc/passwd",
        "http://",
        "http://host:x/",
        "http://h/a?t=secret",
    ):
        assert url_problem(url) and "secret" not in url_problem(url)


def test_progress_tells_counts_bytes_rate_and_time_left(tmp_path: Path) -> None:
    now = [100.0]
    lines: list[str] = []
    path = tmp_path / "progress.json"
    progress = Progress("model big", 3, 4_000_000_000, lines.append, str(path), 5.0, lambda: now[0])
    progress.there(1_000_000_000)
    progress.file_done()
    now[0] += 10
    progress.received(1_000_000_000)
    assert lines == ["model big: 1 of 3 files, 2.0 GB of 4.0 GB (50 %), 100.0 MB/s, 20 s left"]
    assert json.loads(path.read_text())["bytes_done"] == 2_000_000_000
    progress.received(1)
    assert len(lines) == 1


def test_numbers_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 15e9, 2e12)] == ["0 B", "999 B", "1.0 kB", "15.0 GB", "2.0 TB"]
    assert [time_text(n) for n in (0.4, 59, 61, 3700)] == ["0 s", "59 s", "1 min 1 s", "1 h 1 min"]
