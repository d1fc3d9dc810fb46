# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed engines are whole, protected, and serve a real model."""

from __future__ import annotations

import json
from typing import Any

ENGINES = "/opt/local_llm/engines/llamacpp"
MODEL = "/var/lib/local_llm/models/tiny/r1"
# Start the engine as an unprivileged user, wait for it with a deadline, ask it, tell which backends it loaded, end it.
TRIAL = """
set -eu
systemd-run --quiet --unit=trial --property=DynamicUser=yes \
  --property=InaccessiblePaths=-/usr/lib/x86_64-linux-gnu/ggml \
  {engine}/bin/llama-server --model {model}/model.gguf --host 127.0.0.1 --port 8099 --no-slots --no-ui --offline \
  --ctx-size 1024 --log-verbosity 2
trap 'systemctl stop trial' EXIT
python3 - <<'END'
import json, time, urllib.request
deadline = time.monotonic() + 30
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:8099/health", timeout=2)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
question = {{"messages": [{{"role": "user", "content": "Hello"}}], "max_tokens": 16, "temperature": 0}}
request = urllib.request.Request("http://127.0.0.1:8099/v1/chat/completions", json.dumps(question).encode())
answer = json.load(urllib.request.urlopen(request, timeout=20))
print(answer["usage"]["completion_tokens"], answer["choices"][0]["message"]["content"])
END
grep -oE '/[^ ]*libggml-cpu[^ ]*' /proc/$(systemctl show --property=MainPID --value trial)/maps | sort -u
"""


def _versions(host: Any) -> list[str]:
    return sorted(host.file(ENGINES).listdir())


def test_each_host_has_the_versions_it_was_given(host: Any) -> None:
    wanted = ["0.7.0", "0.7.0-deb"] if host.backend.get_hostname() == "gpu2" else ["0.7.0"]
    assert _versions(host) == wanted


def test_every_file_is_what_the_manifest_says(host: Any) -> None:
    for directory in [f"{ENGINES}/{version}" for version in _versions(host)] + [MODEL]:
        files = json.loads(host.file(f"{directory}/manifest.json").content_string)["files"]
        lines = host.check_output(f"cd {directory} && sha256sum {' '.join(files)}").splitlines()
        assert {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in lines} == files


def test_nobody_but_root_can_write(host: Any) -> None:
    found = host.check_output(f"find {ENGINES} {MODEL} '!' -type l '(' -perm /022 -o '!' -user root ')'")
    assert found == ""


def test_every_version_serves_with_its_own_backends_only(host: Any) -> None:
    answers = set()
    for version in _versions(host):
        engine = f"{ENGINES}/{version}"
        answer, *backends = host.check_output(TRIAL.format(engine=engine, model=MODEL)).splitlines()
        answers.add(answer)
        assert answer.startswith("16 ")
        assert backends
        assert all(path.startswith(engine + "/") for path in backends)
    assert len(answers) == 1


def test_no_archive_is_left_behind(host: Any) -> None:
    assert host.check_output("find /opt/local_llm/engines/.incoming /var/lib/local_llm/models/.incoming -type f") == ""
