# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM serves from a release: safely, privately, and again after it died."""

from __future__ import annotations

import json
import re
from typing import Any

ENGINE = "/opt/local_llm/engines/vllm/0.32.0"
INSTANCE = "/var/lib/local_llm/instances/chat"
CACHE = "/var/cache/local-llm/chat/vllm-0.32.0"
UNIT = "local-llm@chat.service"
KEY = "molecule-marked-secret-key"
PROMPT = "molecule marked prompt"
ASK = """
python3 - <<'END'
import json, urllib.error, urllib.request
def ask(path, payload=None, key="{key}"):
    data = None if payload is None else json.dumps(payload).encode()
    headers = {{"Content-Type": "application/json", **({{"Authorization": "Bearer " + key}} if key else {{}})}}
    request = urllib.request.Request("http://127.0.0.1:8001" + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
question = {{"model": "chat", "messages": [{{"role": "user", "content": "{prompt}"}}], "max_tokens": 12}}
print(json.dumps([
    ask("/health", key=""), ask("/version"), ask("/v1/models"), ask("/v1/models", key=""),
    ask("/v1/chat/completions", question), ask("/v1/chat/completions", {{**question, "max_tokens": -3}}),
    ask("/v1/chat/completions", {{**question, "model": "no-such-model"}}), ask("/docs"),
    ask("/v1/chat/completions", {{**question, "messages": [{{"role": "user", "content": "{prompt} " * 400}}]}}),
]))
END
"""
WAIT = """
python3 - <<'END'
import time, urllib.request
deadline = time.monotonic() + 300
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:8001/health", timeout=2)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.3)
END
"""


def _pid(host: Any) -> int:
    return int(host.check_output(f"systemctl show --property=MainPID --value {UNIT}"))


def test_the_unit_restarts_after_every_end_but_a_wrong_argument(host: Any) -> None:
    words = "Restart RestartPreventExitStatus TimeoutStopUSec ActiveState NRestarts"
    shown = host.check_output("systemctl show " + " ".join(f"--property={word}" for word in words.split()) + f" {UNIT}")
    assert set(shown.splitlines()) == {
        "Restart=always", "RestartPreventExitStatus=2", "TimeoutStopUSec=2min", "ActiveState=active", "NRestarts=0",
    }  # fmt: skip


def test_it_answers_with_the_key_and_describes_nothing_else(host: Any) -> None:
    answers = json.loads(host.check_output(ASK.format(key=KEY, prompt=PROMPT)))
    health, version, models, without_key, completion, wrong, unknown, pages, too_long = answers
    assert health[0] == 200
    assert json.loads(version[1]) == {"version": "0.32.0"}
    assert [model["id"] for model in json.loads(models[1])["data"]] == ["chat"]
    assert without_key[0] == 401
    answer = json.loads(completion[1])
    assert answer["usage"]["completion_tokens"] == 12 and answer["choices"][0]["message"]["content"]
    assert answer["system_fingerprint"] is None
    assert (wrong[0], unknown[0], pages[0], too_long[0]) == (400, 404, 404, 400)


def test_no_prompt_and_no_key_in_logs_and_arguments(host: Any) -> None:
    host.check_output(ASK.format(key=KEY, prompt=PROMPT))
    assert host.run(f"journalctl --unit {UNIT} --output cat | grep -e '{KEY}' -e '{PROMPT}'").stdout == ""
    assert KEY not in host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert host.run(f"grep -rl -e '{KEY}' {INSTANCE} /var/cache/local-llm /opt/local_llm/tools").stdout == ""


def test_the_files_of_the_release_are_closed(host: Any) -> None:
    modes = {name: host.file(f"{INSTANCE}/current/{name}").mode for name in ("run", "environment", "engine.yaml")}
    assert modes == {"run": 0o750, "environment": 0o600, "engine.yaml": 0o640}
    settings = json.loads(host.file(f"{INSTANCE}/current/engine.yaml").content_string)
    assert settings["max-model-len"] == 1024 and settings["enable-log-requests"] is False


def test_it_listens_on_loopback_only(host: Any) -> None:
    lines = host.check_output("ss -Hltnp").splitlines()
    own = [line.split()[3] for line in lines if re.search(r'"(python|VLLM)', line)]
    assert "127.0.0.1:8001" in own
    assert all(address.startswith("127.") for address in own), own


def test_nobody_but_root_can_write_the_engine(host: Any) -> None:
    assert host.check_output(f"find {ENGINE} '!' -type l '(' -perm /022 -o '!' -user root ')'") == ""
    manifest = json.loads(host.file(f"{ENGINE}/manifest.json").content_string)
    assert manifest["packages"]["vllm"] == "0.32.0+cpu" and manifest["lock_sha256"]


def test_no_program_of_the_environment_names_where_it_was_built(host: Any) -> None:
    assert host.run(f"grep -rl incoming {ENGINE}/bin {ENGINE}/pyvenv.cfg").stdout == ""


def test_a_dead_engine_is_started_again_and_keeps_what_it_compiled(host: Any) -> None:
    host.check_output(f"touch {CACHE}/vllm/mark")
    before = host.check_output(f"find {CACHE} -type f | sort")
    old = _pid(host)
    # The engine behind the server dies; the server then ends, with status 0 as this version does.
    host.check_output("pkill --signal KILL --exact VLLM::EngineCor")
    host.check_output(
        f'timeout 60 sh -c \'while [ "$(systemctl show -P MainPID {UNIT})" = {old} ] || '
        f'[ "$(systemctl show -P MainPID {UNIT})" = 0 ]; do sleep 0.2; done\''
    )
    host.check_output(WAIT)
    assert _pid(host) != old
    assert host.check_output(f"systemctl show --property=NRestarts --value {UNIT}") == "1"
    assert host.check_output(f"find {CACHE} -type f | sort") == before
