# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input is told in the first second: what, which value, what to do."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._bench._bodies import Workload
from ansible_collections.local_llm.ops.plugins.module_utils._bench._client_probe import probe
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import parse_endpoint
from ansible_collections.local_llm.ops.tests.fakes.fake_stream_server import Behaviour, FakeStreamServer

PAGE = "<html>It works!</html>"
HIDDEN = {"/v1/models": (404, PAGE)}
ALIASES = '{"data": [{"id": "long/name", "aliases": ["fake"]}]}'


def ask(behaviour: Behaviour, api: str = "openai_chat", model: str = "fake", key: str | None = None) -> str | None:
    with FakeStreamServer(behaviour) as fake:
        found = probe(parse_endpoint(fake.url, api_key=key), Workload(api, model))
        assert fake.bodies == []
    return found


@pytest.mark.parametrize("api", ["openai_chat", "openai_completions", "ollama", "ollama_generate"])
def test_a_server_that_can_do_the_work_is_no_problem_and_makes_no_token(api: str) -> None:
    assert ask(Behaviour(), api) is None


def test_ollama_knows_a_model_by_its_tag_too() -> None:
    assert ask(Behaviour(), "ollama", "fake:latest") is None
    assert "is not served" in (ask(Behaviour(), "ollama", "fake:7b") or "")


def test_a_gateway_that_hides_the_list_and_a_model_with_aliases_are_no_problem() -> None:
    assert ask(Behaviour(pages=HIDDEN)) is None
    assert ask(Behaviour(pages={"/v1/models": (200, ALIASES)})) is None


def test_a_key_that_only_completions_ask_for_is_found_out() -> None:
    """llama.cpp shows its models to anybody."""
    problem = ask(Behaviour(api_key="right", open_list=True), key="bad") or ""
    assert "api_key:" in problem and "/v1/chat/completions refuses the key" in problem


def test_the_right_key_is_no_problem() -> None:
    assert ask(Behaviour(api_key="right"), key="right") is None


@pytest.mark.parametrize(
    ("behaviour", "api", "model", "key", "words"),
    [
        (Behaviour(api_key="right"), "openai_chat", "fake", "wrong", ["api_key:", "HTTP 401", "give a valid key"]),
        (Behaviour(), "openai_chat", "other", None, ["model: 'other' is not served", "served: chat, fake", "Name one"]),
        (Behaviour(models=()), "openai_chat", "fake", None, ["'fake' is not served", "no other model is"]),
        (Behaviour(apis=(), pages=HIDDEN), "openai_chat", "fake", None, ["url:", "HTTP 404", "check"]),
        (Behaviour(apis=()), "openai_chat", "fake", None, ["api:", "knows no /v1/chat/completions", "choose the api"]),
        (Behaviour(pages={"/v1/models": (500, "")}), "openai_chat", "fake", None, ["url:", "HTTP 500"]),
        (Behaviour(pages={"/v1/models": (200, PAGE)}), "openai_chat", "fake", None, ["no list of models", "check"]),
        (Behaviour(pages={"/v1/models": (200, "[]")}), "openai_chat", "fake", None, ["no list of models"]),
        (
            Behaviour(pages={"/api/tags": (404, "")}),
            "ollama",
            "fake",
            None,
            ["no Ollama server"],
        ),
    ],
)
def test_a_server_that_cannot_is_told_with_thing_value_and_fix(
    behaviour: Behaviour, api: str, model: str, key: str | None, words: list[str]
) -> None:
    began = time.monotonic()
    problem = ask(behaviour, api, model, key) or ""
    assert [word for word in words if word not in problem] == [] and time.monotonic() - began < 2
    assert "wrong" not in problem


def test_nothing_listening_is_told() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    problem = probe(parse_endpoint(url), Workload("openai_chat", "fake"))
    assert problem is not None and "cannot connect" in problem and url in problem


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_a_certificate_that_is_not_trusted_and_a_wrong_scheme_are_told_apart(tmp_path: Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=fake"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    work = Workload("openai_chat", "fake")
    with FakeStreamServer(tls=context) as fake:
        assert probe(parse_endpoint(fake.url, ca_path=certificate), work) is None
        untrusted = probe(parse_endpoint(fake.url), work) or ""
        assert "certificate" in untrusted and "is not trusted" in untrusted and "ca_path" in untrusted
        assert (probe(parse_endpoint(fake.url.replace("https", "http")), work) or "").startswith("url: ")
    with FakeStreamServer() as fake:
        plain = probe(parse_endpoint(fake.url.replace("http", "https")), work, 0.5) or ""
        assert plain.startswith("url: ")
