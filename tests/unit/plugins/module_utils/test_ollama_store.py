# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ollama's names, digests and manifests."""

from __future__ import annotations

import json

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._ollama_store import (
    OllamaStoreError,
    config_blob,
    extra_blobs,
    manifest_blobs,
    manifest_text,
    parse_digest,
    parse_name,
    rollback_name,
)

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "short", "path"),
    [
        ("chat", "chat:latest", "manifests/registry.ollama.ai/library/chat/latest"),
        ("llama3.2:1b", "llama3.2:1b", "manifests/registry.ollama.ai/library/llama3.2/1b"),
        ("team/chat:v2", "team/chat:v2", "manifests/registry.ollama.ai/team/chat/v2"),
        ("registry.ollama.ai/library/chat", "chat:latest", "manifests/registry.ollama.ai/library/chat/latest"),
        ("reg.example.com:5000/team/chat", "reg.example.com:5000/team/chat:latest",
         "manifests/reg.example.com:5000/team/chat/latest"),
    ],
)  # fmt: skip
def test_a_name_has_the_form_and_the_place_that_the_server_gives_it(text: str, short: str, path: str) -> None:
    name = parse_name(text)
    assert (name.short, name.manifest_path) == (short, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not take"),
        ("a/b/c/d", "more than host"),
        ("../x", "does not take"),
        ("chat:", "does not take"),
        ("chat@sha256:" + HEX, "cannot fetch by digest"),
        ("with space", "does not take"),
        ("a" * 81, "does not take"),
    ],
)
def test_a_name_that_ollama_refuses_is_refused_with_the_fix(text: str, words: str) -> None:
    with pytest.raises(OllamaStoreError, match=words):
        parse_name(text)


def test_a_digest_may_carry_its_algorithm_and_nothing_shorter_is_taken() -> None:
    assert parse_digest("sha256:" + HEX.upper()) == parse_digest("sha256-" + HEX) == parse_digest(HEX) == HEX
    with pytest.raises(OllamaStoreError, match="first 12 digits"):
        parse_digest(HEX[:12])


def test_the_rollback_name_is_a_tag_of_the_same_model() -> None:
    assert rollback_name(parse_name("team/chat:v2"), HEX).short == f"team/chat:prev-{HEX[:12]}"


def test_a_manifest_names_the_file_by_digest_and_size_and_the_small_layers_with_theirs() -> None:
    config = config_blob(family="gptoss", renderer="r", parser="p")
    extra = extra_blobs("{{ .Prompt }}\n100 %", {"stop": ["<|e|>"], "num_gpu": 3})
    manifest = json.loads(manifest_text(config, extra, HEX, 4711))
    assert manifest["schemaVersion"] == 2
    assert manifest["layers"][0] == {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{HEX}",
        "size": 4711,
    }
    assert [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"][1:]] == ["template", "params"]
    assert manifest["config"]["digest"] == f"sha256:{config.digest}"
    assert json.loads(config.text)["model_families"] == ["gptoss"]
    blobs = manifest_blobs(json.dumps(manifest))
    assert blobs[HEX] == 4711
    assert len(blobs) == 4


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"config":{},"layers":[{"digest":"x","size":1}]}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(OllamaStoreError):
        manifest_blobs(text)
