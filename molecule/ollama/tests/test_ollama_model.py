# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ollama_model against a running server and a registry that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

NAME = "127.0.0.1:5000/library/tiny:1"
REGISTRY = "http://127.0.0.1:5000/control"


def _control(host: Any, **order: Any) -> None:
    program = f"import urllib.request; urllib.request.urlopen('{REGISTRY}', {json.dumps(order).encode()!r})"
    assert host.run("python3 -c %s", program).rc == 0


def _model(host: Any, check: bool = False, **options: Any) -> dict[str, Any]:
    options = {"url": "http://127.0.0.1:11434", "name": NAME, "insecure": True, **options}
    try:
        result = host.ansible("local_llm.ops.ollama_model", json.dumps(options), check=check)
    except host.ansible.AnsibleException as error:
        result = error.result
    # Whether a failure comes as an exception depends on the version of ansible-core.
    return {**result, "failed": "digest" not in result}


def _absent(host: Any) -> None:
    assert not _model(host, state="absent", remove_rollback=True)["failed"]


@pytest.fixture(autouse=True)
def clean(host: Any) -> Iterator[None]:
    """Begin and end with an empty server and a registry without a fault."""
    _control(host, fault=None, move=["tiny:1", "tiny:original"])
    _absent(host)
    yield
    _control(host, fault=None, move=["tiny:1", "tiny:original"])


def test_a_model_is_fetched_verified_loaded_and_then_left_alone(host: Any) -> None:
    predicted = _model(host, check=True)
    assert predicted["changed"]
    done = _model(host, preload=True, models_directory="/srv/models")
    assert done["changed"] and done["verified_blobs"] == 3
    assert done["progress"][-1]["status"] == "success"
    assert done["spill"].startswith("spill: ")
    again = _model(host, preload=True, models_directory="/srv/models", digest=done["digest"])
    assert not again["changed"]


def test_a_moved_tag_keeps_the_old_content_and_the_way_back_needs_no_registry(host: Any) -> None:
    old = _model(host)["digest"]
    _control(host, move=["tiny:1", "tiny:2"])
    refused = _model(host, digest="0" * 64)
    assert refused["failed"] and "is again what it was" in refused["msg"]
    assert _model(host)["digest"] == old
    assert not _model(host)["changed"]
    moved_digest = refused["msg"].partition("has the digest ")[2][:64]
    moved = _model(host, digest=moved_digest)
    assert moved["changed"] and moved["rollback_name"].endswith(f":prev-{old[:12]}")
    _control(host, fault="html")
    back = _model(host, digest=old, models_directory="/srv/models")
    assert back["changed"] and back["digest"] == old


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", "max retries exceeded"),
        ("wrong_digest", "digest mismatch"),
        ("html", "web page came instead"),
    ],
)
def test_an_error_inside_the_stream_is_an_error(host: Any, fault: str, words: str) -> None:
    _control(host, fault=fault)
    failed = _model(host)
    assert failed["failed"] and words in failed["msg"]
    _control(host, fault=None)
    assert _model(host, models_directory="/srv/models")["changed"]


def test_a_damaged_file_is_found_and_fetched_again(host: Any) -> None:
    _model(host)
    blob = host.check_output("ls -S /srv/models/blobs/sha256-* | head -n 1")
    host.check_output(f"printf x | dd of={blob} bs=1 seek=1000 conv=notrunc status=none")
    assert not _model(host)["changed"]
    mended = _model(host, models_directory="/srv/models")
    assert mended["changed"]
    assert host.check_output(f"sha256sum {blob}").split()[0] == blob.rpartition("-")[2]
