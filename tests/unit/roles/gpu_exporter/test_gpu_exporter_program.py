# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter's program: who may read it, what it answers, and that few clients cannot take it from the others."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[4] / "roles" / "gpu_exporter"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_exporter_program", ROLE / "files" / "gpu_exporter.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


program = load()
USER = hashlib.sha256(b"prometheus:secret").hexdigest()


def metrics(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"metrics"]


def ask(application: Any, path: str = "/metrics", header: str | None = None) -> str:
    said: list[str] = []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "QUERY_STRING": ""}
    if header is not None:
        environ["HTTP_AUTHORIZATION"] = header
    application(environ, lambda status, _headers: said.append(status))
    return said[0].split()[0]


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, "401"),
        ("", "401"),
        ("Basic", "401"),
        ("Basic %%%", "401"),
        ("Bearer secret", "401"),
        (basic("prometheus:wrong"), "401"),
        (basic("other:secret"), "401"),
        (basic("prometheus:secret"), "200"),
        (basic("prometheus:secret").replace("Basic", "basic"), "200"),
    ],
)
def test_only_who_knows_user_and_password_gets_an_answer(header: str | None, status: str) -> None:
    guarded = program.guarded(metrics, frozenset({USER, "0" * 64}))
    assert ask(guarded, header=header) == status
    assert ask(guarded, "/other", header) == ("404" if status == "200" else "401")


def test_without_users_everybody_gets_the_metrics_and_nothing_else() -> None:
    guarded = program.guarded(metrics, frozenset())
    assert [ask(guarded, path) for path in ("/metrics", "/", "/favicon.ico", "/metrics/x")] == [
        "200",
        "404",
        "404",
        "404",
    ]


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    pytest.importorskip("prometheus_client")
    options = {"listen_address": "127.0.0.1", "port": free_port(), "tls": False}
    it = program.make_server(options, program.guarded(metrics, frozenset()), tmp_path)
    threading.Thread(target=it.serve_forever, daemon=True).start()
    yield it
    it.shutdown()
    it.server_close()


def test_silent_clients_beyond_the_limit_are_sent_away_and_the_others_served(server: Any) -> None:
    address = server.server_address
    silent = [socket.create_connection(address, timeout=10) for _number in range(program.MAX_CONNECTIONS - 1)]
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/metrics", timeout=10) as answer:
        assert answer.read() == b"metrics"
    # As soon as the place of that request is free again, one more silent client takes the last one.
    deadline = time.monotonic() + 10
    while True:
        more = socket.create_connection(address, timeout=0.5)
        silent.append(more)
        try:
            if more.recv(1) == b"":
                break
        except TimeoutError:
            pass
        assert time.monotonic() < deadline
    assert threading.active_count() < program.MAX_CONNECTIONS + 10
    for one in silent:
        one.close()


def test_tls_client_that_says_nothing_holds_nobody_up(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"]
    files = ["-keyout", str(tmp_path / "tls_key"), "-out", str(tmp_path / "tls_certificate")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    options = {"listen_address": "127.0.0.1", "port": free_port(), "tls": True}
    server = program.make_server(options, program.guarded(metrics, frozenset()), tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with socket.create_connection(server.server_address, timeout=10):
            import ssl

            context = ssl.create_default_context(cafile=str(tmp_path / "tls_certificate"))
            context.check_hostname = False
            url = f"https://127.0.0.1:{server.server_address[1]}/metrics"
            with urllib.request.urlopen(url, timeout=10, context=context) as answer:
                assert answer.read() == b"metrics"
    finally:
        server.shutdown()
        server.server_close()


def test_collector_gives_the_client_library_what_is_known() -> None:
    library = pytest.importorskip("prometheus_client")
    labels = {"gpu": "0", "uuid": "GPU-a"}
    found = {
        "local_llm_gpu_energy_joules_total": [(labels, 7.0)],
        "local_llm_gpu_temperature_celsius": [(labels, 60.0), ({"gpu": "1", "uuid": "GPU-b"}, 61.0)],
    }
    registry = library.CollectorRegistry(auto_describe=False)
    registry.register(program.Collector(lambda: found))
    text = library.generate_latest(registry).decode()
    assert '\nlocal_llm_gpu_energy_joules_total{gpu="0",uuid="GPU-a"} 7.0\n' in text
    assert "# TYPE local_llm_gpu_energy_joules_total counter\n" in text
    assert '\nlocal_llm_gpu_temperature_celsius{gpu="1",uuid="GPU-b"} 61.0\n' in text


def role_file(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def test_venv_gets_the_same_nvml_package_from_both_roles() -> None:
    host = yaml.safe_load((ROLE.parent / "host" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    ours = role_file("defaults/main.yml")["gpu_exporter_packages"]
    assert [one for one in host["host_tools_packages"] if one.startswith("nvidia-ml-py")] == ours[:1]
