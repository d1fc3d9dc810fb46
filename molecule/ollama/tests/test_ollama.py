# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed engine is whole, the instance serves exactly its model, privately, and refuses changes."""

from __future__ import annotations

import json
from typing import Any

ENGINES = "/opt/local_llm/engines/ollama"
URL = "http://127.0.0.1:8001"
SECRET = "Sesame-in-the-prompt-4711"


def _ask(host: Any, path: str, body: dict[str, Any] | None = None, method: str = "") -> tuple[int, str]:
    """Ask the instance; the body goes by standard input, so that no command line shows it."""
    program = (
        "import sys, urllib.request, urllib.error\n"
        "body = sys.stdin.buffer.read() or None\n"
        f"request = urllib.request.Request({URL + path!r}, body, method={method or None!r})\n"
        "try:\n"
        "    answer = urllib.request.urlopen(request, timeout=30)\n"
        "except urllib.error.HTTPError as error:\n"
        "    answer = error\n"
        "print(answer.status)\n"
        "print(answer.read().decode())\n"
    )
    text = "" if body is None else json.dumps(body)
    out = host.run("printf %%s %s | python3 -c %s", text, program)
    assert out.rc == 0, out.stderr
    status, _newline, content = out.stdout.partition("\n")
    return int(status), content


def test_every_file_is_what_the_manifest_says_and_only_root_can_write(host: Any) -> None:
    (version,) = host.file(ENGINES).listdir()
    files = json.loads(host.file(f"{ENGINES}/{version}/manifest.json").content_string)["files"]
    lines = host.check_output(f"cd {ENGINES}/{version} && sha256sum {' '.join(files)}").splitlines()
    assert {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in lines} == files
    assert host.check_output(f"find {ENGINES} '!' -type l '(' -perm /022 -o '!' -user root ')'") == ""
    assert host.check_output("find /opt/local_llm/engines/.incoming -type f") == ""


def test_the_instance_says_its_version_and_serves_its_name(host: Any) -> None:
    (version,) = host.file(ENGINES).listdir()
    assert host.service("local-llm@chat").is_running
    assert json.loads(_ask(host, "/api/version")[1])["version"] == version
    names = [model["id"] for model in json.loads(_ask(host, "/v1/models")[1])["data"]]
    assert names == ["chat:latest"]


def test_the_model_is_in_memory_for_ever_before_anyone_asks(host: Any) -> None:
    (model,) = json.loads(_ask(host, "/api/ps")[1])["models"]
    assert int(model["expires_at"][:4]) > 2100
    assert model["context_length"] == 1024


def test_it_serves_the_verified_file(host: Any) -> None:
    store = "/var/cache/local-llm/chat/ollama-models"
    manifest = json.loads(host.file(f"{store}/manifests/registry.ollama.ai/library/chat/latest").content_string)
    (layer,) = [item for item in manifest["layers"] if item["mediaType"].endswith("image.model")]
    wanted = json.loads(host.file("/var/lib/local_llm/models/tiny/r1/manifest.json").content_string)["files"]
    assert layer["digest"] == "sha256:" + wanted["model.gguf"]
    blob = host.file(f"{store}/blobs/{layer['digest'].replace(':', '-')}")
    assert blob.linked_to == "/var/lib/local_llm/models/tiny/r1/model.gguf"


def test_a_completion_through_v1_leaves_its_prompt_nowhere(host: Any) -> None:
    question = {"model": "chat", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 8, "temperature": 0}
    first, second = (_ask(host, "/v1/chat/completions", question) for _number in range(2))
    assert first[0] == 200
    answer, again = json.loads(first[1]), json.loads(second[1])
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["choices"][0]["message"] == again["choices"][0]["message"]
    assert SECRET not in host.check_output("journalctl --unit=local-llm@chat --no-pager")
    found = host.run(f"grep -rl {SECRET[:6]}-in-the-{SECRET[13:]} /var/cache/local-llm /var/lib/local_llm /tmp")
    assert found.stdout == ""


def test_the_cloud_is_off_and_nothing_secret_is_on_a_command_line(host: Any) -> None:
    assert "Ollama cloud disabled: true" in host.check_output("journalctl --unit=local-llm@chat --no-pager")
    pid = host.check_output("systemctl show --property=MainPID --value local-llm@chat")
    words = host.file(f"/proc/{pid}/cmdline").content.rstrip(b"\0").split(b"\0")
    assert [word.rpartition(b"/")[2] for word in words][-2:] == [b"ollama", b"serve"]
    environment = host.file(f"/proc/{pid}/environ").content.split(b"\0")
    for wanted in (b"OLLAMA_NO_CLOUD=1", b"OLLAMA_NOPRUNE=1", b"OLLAMA_DEBUG_LOG_REQUESTS=0", b"OLLAMA_KEEP_ALIVE=-1"):
        assert wanted in environment
    modes = host.check_output("stat -c %a /var/lib/local_llm/instances/chat/current/environment")
    assert modes == "600"


def test_requests_that_would_change_the_model_change_nothing(host: Any) -> None:
    assert _ask(host, "/api/delete", {"model": "chat"}, "DELETE")[0] >= 400
    assert _ask(host, "/api/copy", {"source": "chat", "destination": "other"})[0] >= 400
    pulled = _ask(host, "/api/pull", {"model": "127.0.0.1:5000/library/tiny:2", "insecure": True})[1]
    assert "error" in pulled and "success" not in pulled
    names = [model["name"] for model in json.loads(_ask(host, "/api/tags")[1])["models"]]
    assert names == ["chat:latest"]


def test_llm_info_says_ready_and_names_the_spill(host: Any) -> None:
    info = host.ansible("local_llm.ops.llm_info", json.dumps({"url": URL, "engine": "ollama"}), check=False)
    assert info["status"] == "ready"
    assert "chat" in info["served_models"]
    assert info["queue_depth"] is None
    assert info["detail"].startswith("spill: chat:latest")


def test_the_instance_is_ready_again_after_a_restart(host: Any) -> None:
    host.check_output("systemctl restart local-llm@chat")
    wait = (
        "import time, urllib.request\n"
        "end = time.monotonic() + 30\n"
        "while True:\n"
        "    try:\n"
        f"        if b'size_vram' in urllib.request.urlopen('{URL}/api/ps', timeout=2).read(): break\n"
        "    except OSError: pass\n"
        "    assert time.monotonic() < end\n"
        "    time.sleep(0.1)\n"
    )
    assert host.run("python3 -c %s", wait).rc == 0
    assert host.check_output("ps -o stat= -C ollama | grep -c Z || true") == "0"
