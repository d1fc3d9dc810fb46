# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab is built from: the vocabulary of its model, archives that come out the same, the fake engine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, CHECKOUT / path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_vocabulary_covers_every_byte_and_prints_only_plain_text() -> None:
    tiny = load("tests/lab/artefacts/tiny_gguf.py")
    tokens, types, merges, printable = tiny.vocabulary()
    assert len(tokens) == len(types) == len(printable) == len(set(tokens)) == tiny.VOCABULARY
    assert len(set(tiny.byte_letters())) == 256
    assert tokens[256 : 256 + len(merges)] == [merge.replace(" ", "") for merge in merges]
    assert not any(printable[tokens.index(token)] for token in (*tiny.CONTROL_TOKENS, tokens[0x0A], tokens[0xFF]))
    assert printable[tokens.index("th")]


def test_the_same_tree_gives_the_same_archive_whatever_its_age(tmp_path: Path) -> None:
    reproducible = load("tests/lab/artefacts/reproducible.py")
    sums = set()
    for age in (1, 2):
        tree = tmp_path / str(age)
        (tree / "bin").mkdir(parents=True)
        (tree / "bin/x").write_text("#!/bin/sh")
        (tree / "bin/x").chmod(0o700 + age)
        os.utime(tree / "bin/x", (age, age))
        reproducible.write_tar_gz(tmp_path / f"{age}.tar.gz", tree)
        sums.add(reproducible.sha256_of(tmp_path / f"{age}.tar.gz"))
    assert len(sums) == 1


def test_the_fake_sends_the_real_engine_to_another_address(tmp_path: Path) -> None:
    fake = load("tests/fakes/fake_llama_faults/fake_llama_faults.py")
    given = ["--model", "m", "--port", "8001", "--host", "10.0.0.1"]
    assert fake.value_of(given, "--port", "8080") == "8001"
    assert fake.replaced(given, {"--host": "127.0.0.1", "--port": "9"}) == [
        "--model",
        "m",
        "--port",
        "9",
        "--host",
        "127.0.0.1",
    ]
    assert fake.replaced(["--model", "m"], {"--port": "9"}) == ["--model", "m", "--port", "9"]
    assert fake.marker_text({"marker": str(tmp_path / "none")}) is None


@pytest.mark.parametrize(("text", "marker"), [("", ""), ("500\n", "500")])
def test_the_marker_chooses_the_fault(tmp_path: Path, text: str, marker: str) -> None:
    fake = load("tests/fakes/fake_llama_faults/fake_llama_faults.py")
    (tmp_path / "fault").write_text(text)
    assert fake.marker_text({"marker": str(tmp_path / "fault")}) == marker


@pytest.mark.parametrize(
    ("text", "body", "through_gateway", "percent"),
    [
        (None, b'{"stream": true}', True, 0),
        ("all", b'{"stream": true}', False, 15),
        ("all", b'{"stream":true}', True, 15),
        ("all", b'{"stream": false}', True, 0),
        ("clients", b'{"stream": true}', True, 15),
        ("clients", b'{"stream": true}', False, 0),
    ],
)
def test_the_fake_answers_a_share_badly_to_whom_the_marker_says(
    tmp_path: Path, text: str | None, body: bytes, through_gateway: bool, percent: float
) -> None:
    fake = load("tests/fakes/fake_llama_faults/fake_llama_faults.py")
    if text is not None:
        (tmp_path / "marker").write_text(f"{text}\n")
    fault = {"fault": "bad_share", "percent": 15, "seed": 15, "marker": str(tmp_path / "marker")}
    drawn = []
    for _server in range(2):
        proxy = fake.Proxy(("127.0.0.1", 0), fault, 1)
        try:
            drawn.append([proxy.draws_bad(body, through_gateway) for _request in range(2000)])
        finally:
            proxy.server_close()
    assert drawn[0] == drawn[1], "the same seed, the same answers"
    assert sum(drawn[0]) / 2000 == pytest.approx(percent / 100, abs=0.02)


@pytest.mark.skipif(
    shutil.which("zstd") is None, reason="the program zstd is not on this machine; make setup installs it"
)
@pytest.mark.parametrize("version", ["0.32.15", "0.33.0"])
def test_an_archive_of_ollama_says_its_version_so_that_one_variable_is_enough(tmp_path: Path, version: str) -> None:
    path = tmp_path / "ollama.tar.zst"
    digest = load("tests/fakes/ollama_stand_in/pack.py").pack(path, version)
    found = load("tests/lab/artefacts/ollama_archive.py").described(path)
    assert found == {"path": str(path), "version": version, "sha256": digest}
