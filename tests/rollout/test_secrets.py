# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets and prompts are planted, everything is run at -vvv, then they are looked for everywhere.

A mark that was put where it can be found on purpose (`control`) proves that each of the searches finds.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import CHECKOUT, CLIENT_KEY, GATEWAY_PORT, Fleet
from local_lab import hosts as lab_hosts
from planted import Finding, search_controller, search_host, search_text, watching
from rollouts import HOSTS

sys.path.insert(0, str(CHECKOUT / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import canonical_json, sha256_hex
from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import (
    COMMIT,
    Content,
    Mirror,
)

CREDENTIAL = "/etc/credstore/local-llm.chat.api_key"
HUB_MODEL = "/var/lib/local_llm/models/planted-hub"
# The files that are meant for a secret. Each must be 0640 or narrower.
MEANT_FOR = {
    "key pepper": {"/etc/haproxy/local_llm/pepper.map"},
    "TLS key": {"/etc/haproxy/local_llm/tls.pem"},
    "engine key": {CREDENTIAL, "/run/credentials/local-llm@chat.service/api_key"},
}
SECRETS = (
    "hub token", "http token", "gateway key", "wrong gateway key", "key pepper", "TLS key", "engine key", "share token",
)  # fmt: skip
PROMPTS = (
    "chat prompt", "streamed prompt", "completion prompt", "refused prompt", "too long prompt", "suite prompt",
    "expected answer", "pattern",
)  # fmt: skip
# Besides the playbooks: a model from a hub, a suite that fails, and a key given to the modules that take one.
MORE = """
- hosts: gpu1
  gather_facts: false
  vars:
    endpoint: "http://{{ local_llm_address | default(ansible_host) }}:8001"
  tasks:
    - ansible.builtin.include_role:
        name: local_llm.ops._model
      vars:
        _model_name: planted-hub
    - local_llm.ops.llm_info:
        url: "{{ endpoint }}"
        engine: llamacpp
        api_key: "{{ planted_engine_key }}"
      register: engine
      until: engine.status == 'ready'
      retries: 30
      delay: 1
    - local_llm.ops.llm_benchmark:
        url: "{{ endpoint }}"
        model: chat
        requests: 2
        users: 1
        api_key: "{{ planted_engine_key }}"
    - local_llm.ops.llm_quality:
        url: "{{ endpoint }}"
        model: chat
        suite: "{{ planted_failing_suite }}"
        api_key: "{{ planted_engine_key }}"
    - ansible.builtin.debug:
        msg: "{{ planted_control }}"
"""


@dataclass(frozen=True)
class Planted:
    """What was found where, and what the other side saw of the secrets."""

    findings: list[Finding]
    variables: Path
    outputs: dict[str, tuple[int, str]]
    answers: list[int]
    tokens_seen: set[str]
    rounds: int

    def of(self, *places: str, marks: tuple[str, ...] = SECRETS + PROMPTS) -> list[Finding]:
        """Return the findings of some places."""
        return [entry for entry in self.findings if entry.place in places and entry.mark in marks]


def ask(fleet: Fleet, key: str, path: str, body: Any) -> int:
    """Send a request to the gateway over TLS and return the status of its whole answer."""
    address = next(host.address for host in fleet.lab.hosts.values() if host.group == "gateway")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, GATEWAY_PORT, timeout=60, context=context)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", path, body if isinstance(body, str) else json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def send_prompts(fleet: Fleet, marks: dict[str, str]) -> list[int]:
    """Send what is answered, what is refused by the gateway, and what the engine refuses."""
    key, chat = marks["gateway key"], "/v1/chat/completions"
    common: dict[str, Any] = {"model": "chat", "max_tokens": 4}
    say = [{"role": "user", "content": marks["chat prompt"]}]
    stream = [{"role": "user", "content": marks["streamed prompt"]}]
    too_long = f"{marks['too long prompt']} " * 2000
    return [
        ask(fleet, key, chat, {**common, "messages": say}),
        ask(fleet, key, chat, {**common, "messages": stream, "stream": True}),
        ask(fleet, key, "/v1/completions", {**common, "prompt": marks["completion prompt"]}),
        ask(fleet, key, chat, {**common, "messages": [{"role": "user", "content": too_long}]}),
        ask(fleet, key, chat, '{"messages": [{"role": "user", "content": "' + marks["refused prompt"]),
        ask(fleet, key, chat, {**common, "messages": [{"role": marks["refused prompt"], "content": 7}]}),
        ask(fleet, key, "/v1/tokenize", {"content": marks["refused prompt"]}),
        ask(fleet, marks["wrong gateway key"], chat, {**common, "messages": say}),
    ]


def make_marks(directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the marks, and certificate and key of the gateway."""
    marks = {name: f"planted-{secrets.token_hex(12)}" for name in (*SECRETS, *PROMPTS, "control")}
    marks["key pepper"] = b64encode(secrets.token_bytes(32)).decode("ascii")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=gw1"]
    made = subprocess.run([*command, "-keyout", "-"], cwd=directory, check=True, capture_output=True, text=True).stdout
    begin = made.index("-----BEGIN CERTIFICATE")
    pem = {"key": made[:begin], "certificate": made[begin:]}
    marks["TLS key"] = pem["key"].splitlines()[3]
    return marks, pem


def plant(directory: Path, marks: dict[str, str], pem: dict[str, str], index: dict[str, Any], url: str) -> Path:
    """Write the variables that a user would keep in a vault."""
    tiny = index["models"]["tiny"]
    files, other = ({"model.gguf": index["models"][name]["sha256"]} for name in ("tiny", "tiny-other"))
    suite = [{"id": "count", "prompt": f"{marks['suite prompt']} Count:", "max_tokens": 8}]
    failing = [
        {"id": "a", "prompt": f"{marks['suite prompt']} again", "max_tokens": 8, "expected": marks["expected answer"]},
        {"id": "b", "prompt": f"{marks['suite prompt']} more", "max_tokens": 8, "pattern": marks["pattern"]},
    ]
    variables = {
        "local_llm_models": {
            "tiny": {"source": "directory", "path": tiny["directory"], "revision": "r1", "files": files},
            "planted-http": {"source": "http", "url": f"{url}/m", "revision": secrets.token_hex(4), "files": files},
            "planted-hub": {
                "source": "hf",
                "repo": "lab/tiny",
                "revision": COMMIT,
                "endpoint": url,
                "manifest_sha256": sha256_hex(canonical_json(other)),
            },
        },
        "local_llm_hf_token": marks["hub token"],
        "local_llm_http_token": marks["http token"],
        "local_llm_model_cache": str(directory / "cache"),
        "local_llm_quality": {"suite": suite},
        # Whether the new release is as fast is not the question here.
        "local_llm_tolerances": {"ttft_floor_seconds": 20, "tpot_floor_seconds": 20, "e2el_floor_seconds": 20},
        "gateway_api_keys": {"demo": CLIENT_KEY, "planted": marks["gateway key"]},
        "gateway_key_pepper": marks["key pepper"],
        "gateway_tls": "provided",
        "gateway_tls_certificate": pem["certificate"],
        "gateway_tls_key": pem["key"],
        "planted_engine_key": marks["engine key"],
        "planted_failing_suite": failing,
        "planted_control": marks["control"],
    }
    path = directory / "variables.yml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(variables), encoding="utf-8")
    return path


def run_everything(
    fleet: Fleet, directory: Path, variables: Path, marks: dict[str, str]
) -> tuple[dict[str, tuple[int, str]], list[int]]:
    """Run the playbooks at -vvv; return {playbook: (exit code, output)} and the answers to the prompts."""
    common = ["-e", f"@{variables}", "-vvv"]
    done = {}
    # Without pipelining a module and its options lie in a file on the host while it runs.
    one = fleet.playbook("site", *common, "-e", "ansible_pipelining=false")
    assert one.code == 0, one.output[-3000:]
    done["site"] = (one.code, one.output)
    answers = send_prompts(fleet, marks)
    for playbook, *extra in (("upgrade", "-e", "lab_model=planted-http"), ("rollback",), ("benchmark",), ("health",)):
        one = fleet.playbook(playbook, *common, *extra)
        done[playbook] = (one.code, one.output)
    # A rollout refuses engines with a key of their own, so it comes last, as whoever runs such an engine would set it.
    secret = f"install -d -m 0700 /etc/credstore; umask 077; cat > {CREDENTIAL}; systemctl restart local-llm@chat"
    host = fleet.lab.host("gpu1")
    subprocess.run([*lab_hosts.ssh(fleet.lab, host), secret], input=marks["engine key"], text=True, check=True)
    (directory / "more.yml").write_text(MORE, encoding="utf-8")
    command = [str(directory / "more.yml") if word.startswith("local_llm.ops.") else word
               for word in fleet.playbook_command("more", *common)]  # fmt: skip
    more = subprocess.run(command, env=fleet.environment(), capture_output=True, text=True, check=False)
    done["more"] = (more.returncode, more.stdout + more.stderr)
    return done, answers


def put_control(fleet: Fleet, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """Put the control where each search must find it; end what was started."""
    for host in fleet.lab.hosts:
        subprocess.run(
            [str(fleet.venv / "bin/python"), str(Path(__file__).parents[1] / "lab/lab.py"), "exec", "--lab", fleet.name,
             host, f"install -m 0644 /dev/null /var/tmp/control; echo {mark} | tee /var/tmp/control | systemd-cat"],
            check=True,
        )  # fmt: skip
    shown = subprocess.Popen(["sleep", "3600"], env={"CONTROL": mark})
    try:
        yield shown
    finally:
        shown.kill()
        shown.wait()
        for host in fleet.lab.hosts:
            fleet.shell(host, "rm -f /var/tmp/control")


@pytest.fixture(scope="module")
def planted(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """Plant, run, search; afterwards the fleet is as it was."""
    directory = tmp_path_factory.mktemp("planted")
    stamp = directory / "begin"
    stamp.write_text(str(time.time()), encoding="ascii")
    marks, pem = make_marks(directory)
    index = json.loads((fleet.work.parents[1] / "artefacts" / "index.json").read_text(encoding="utf-8"))
    tiny, other = (
        (Path(index["models"][name]["directory"]) / "model.gguf").read_bytes() for name in ("tiny", "tiny-other")
    )
    content = Content(files={"/m/model.gguf": tiny}, repositories={"lab/tiny": {"model.gguf": other}})
    content.token = marks["hub token"]
    try:
        with Mirror(content) as mirror, contextlib.contextmanager(put_control)(fleet, marks["control"]):
            variables = plant(directory, marks, pem, index, mirror.url)
            with watching(marks) as watch:
                outputs, answers = run_everything(fleet, directory, variables, marks)
            for path in (directory / "cache/.share").glob("*.json"):
                marks["share token"] = json.loads(path.read_text(encoding="utf-8"))["token"]
            home = Path.home()
            places = [fleet.work, home / ".ansible", home / ".local/state/local_llm", home / ".cache/local_llm"]
            found = list(watch.found)
            found += search_controller(marks, [*places, Path("/tmp"), Path("/var/tmp")], stamp)
            for host in fleet.lab.hosts:
                found += search_host(fleet.lab, host, marks)
            for name, (_code, text) in outputs.items():
                found += search_text(text, name, marks)
        tokens = {request.authorization.removeprefix("Bearer ") for request in content.requests}
        seen = {name for name, value in marks.items() if value in tokens}
        yield Planted(found, variables, outputs, answers, seen, watch.rounds)
    finally:
        fleet.shell(
            "gpu1", f"rm -rf {CREDENTIAL} /var/lib/local_llm/models/planted-hub; systemctl restart local-llm@chat"
        )
        back = fleet.playbook("site")
        assert back.code == 0, back.output[-3000:]


def test_what_was_planted_was_in_use(planted: Planted) -> None:
    codes = {name: code for name, (code, _text) in planted.outputs.items()}
    ends = {name: text[-3000:] for name, (code, text) in planted.outputs.items() if code}
    assert not ends, f"ended with a failure: {codes}\n" + "\n".join(ends.values())
    assert planted.answers[:3] == [200, 200, 200], planted.answers
    assert all(status >= 400 for status in planted.answers[3:]), planted.answers
    assert {"hub token", "http token"} <= planted.tokens_seen, "the mirror was not asked with the tokens"
    for mark, paths in MEANT_FOR.items():
        there = {entry.path for entry in planted.of("file", marks=(mark,)) if entry.where != "controller"}
        assert paths <= there, f"{mark}: not where it is meant to be, only in {there}"


def test_every_search_finds_the_control(planted: Planted) -> None:
    control = planted.of("file", "journal", "environ", "output", marks=("control",))
    assert {entry.where for entry in control if entry.path == "/var/tmp/control"} == {"gw1", *HOSTS}
    assert {entry.where for entry in control if entry.place == "journal"} == {"gw1", *HOSTS}
    assert {entry.path for entry in control if entry.place == "output"} == {"more"}
    assert any(entry.place == "environ" and entry.path.startswith("sleep on") for entry in control)
    assert any(entry.where == "controller" and entry.path == str(planted.variables) for entry in control)
    assert planted.rounds > 100, f"processes were looked at {planted.rounds} times only"


def test_no_secret_and_no_prompt_in_arguments_or_environment_of_a_process(planted: Planted) -> None:
    assert planted.of("cmdline", "environ") == []


def test_no_secret_and_no_prompt_in_a_journal(planted: Planted) -> None:
    assert planted.of("journal") == []


def test_no_secret_and_no_prompt_in_what_ansible_prints(planted: Planted) -> None:
    assert planted.of("output") == []


def test_secrets_are_only_in_the_files_meant_for_them(planted: Planted) -> None:
    files = [entry for entry in planted.of("file", marks=SECRETS) if entry.path != str(planted.variables)]
    # The server of the play's cache is gone with the play, and its token with it; the file is of this user alone.
    shares = {entry.path for entry in files if entry.mark == "share token" and "/cache/.share/" in entry.path}
    strangers = [entry for entry in files if entry.path not in MEANT_FOR.get(entry.mark, shares)]
    assert strangers == []
    assert [entry for entry in files if not entry.narrow() or entry.owner != "root"] == []


def test_prompts_are_in_no_file_that_others_can_read(planted: Planted) -> None:
    assert [entry for entry in planted.of("file", marks=PROMPTS) if not entry.narrow()] == []
    assert planted.of("name of a file", marks=("?",)) == []
