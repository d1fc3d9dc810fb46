# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the desired state: each fault names the key, the hosts, the value and the fix."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils import _stop_time as stop_time
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.module_utils._release import manifest_digest, validate_description
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_releases import desired_releases, mixed_pools
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_role_variables import ROLE_VARIABLES
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_schema import (
    KNOWN_VARIABLES,
    MEASURING_FIELDS,
    POOL_FIELDS,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import check_desired, check_variable_names
from ansible_collections.local_llm.ops.plugins.plugin_utils._knowledge import collection_knowledge

KNOWLEDGE = collection_knowledge()
DIGEST = hashlib.sha256(b"hello").hexdigest()
OTHER_DIGEST = hashlib.sha256(b"other").hexdigest()
FILES = {"/models/tiny/model.gguf": DIGEST, "/engines/llama.tar.gz": OTHER_DIGEST}

LOCKS: dict[str, str] = {}


class FakeFiles:
    """Files of a controller, kept in a dictionary of path to digest."""

    def is_dir(self, path: str) -> bool:
        return any(name.startswith(path.rstrip("/") + "/") for name in FILES)

    def size_bytes(self, path: str) -> int | None:
        return 1000 if path in FILES else None

    def sha256(self, path: str) -> str:
        return FILES[path]

    def text(self, path: str) -> str:
        return LOCKS[path]


def variables() -> dict[str, Any]:
    return {
        "local_llm_models": {
            "tiny": {"source": "directory", "path": "/models/tiny", "revision": "r1", "files": {"model.gguf": DIGEST}}
        },
        "local_llm_instances": [
            {
                "name": "chat",
                "engine": "llamacpp",
                "engine_version": "0.7.0",
                "model": "tiny",
                "served_name": "chat",
                "port": 8001,
                "pool": "chat",
            }
        ],
        "local_llm_pools": {"chat": {}},
        "llamacpp_artifacts": {
            "0.7.0": {"method": "archive", "src": "/engines/llama.tar.gz", "sha256": {"x86_64": OTHER_DIGEST}},
            "0.7.0-deb": {"method": "package", "package": "llama.cpp-tools", "package_version": "1:0.7.0+dfsg-2"},
        },
    }


def check(change: Callable[[dict[str, Any]], None], gateways: int = 1) -> list[str]:
    """Return the lines of the findings after a change of a sound state of two hosts."""
    hosts = {}
    for host in ("gpu1", "gpu2"):
        hosts[host] = variables()
        change(hosts[host])
    front = {f"gw{number}": copy.deepcopy(hosts["gpu1"]) for number in range(1, gateways + 1)}
    return [finding_line(item) for item in check_desired(hosts, front, KNOWLEDGE, FakeFiles())]


def instance(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda v: v["local_llm_instances"][0].update(values)


def model(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda v: v["local_llm_models"]["tiny"].update(values)


def artifact(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda v: v["llamacpp_artifacts"]["0.7.0"].update(values)


def rename(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(v: dict[str, Any]) -> None:
        v["local_llm_instances"][0][new] = v["local_llm_instances"][0].pop(old)

    return change


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda v: v["local_llm_instances"][0].pop(key)


def second(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda v: v["local_llm_instances"].append({**v["local_llm_instances"][0], **values})


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda v: v.__setitem__(key, value)


def test_a_sound_state_has_no_findings() -> None:
    assert check(lambda v: None) == []


FAULTS: list[tuple[str, Callable[[dict[str, Any]], None], list[str]]] = [
    ("unknown key", rename("engine", "engin"), ["local_llm_instances[0].engin on gpu1, gpu2", "Did you mean engine?"]),
    ("unknown key far off", instance(colour="red"), ["local_llm_instances[0].colour", "Known keys: name, engine"]),
    ("missing key", drop("port"), ["local_llm_instances[0].port", "missing", "Add port"]),
    (
        "unknown engine",
        instance(engine="lamacpp"),
        ["local_llm_instances[0].engine", "lamacpp", "Did you mean llamacpp?"],
    ),
    ("number as text", instance(engine_version=0.7), ["engine_version", "0.7", 'Put it in quotes: "0.7"']),
    ("text as number", instance(port="8001"), ["local_llm_instances[0].port", "8001", "without quotes"]),
    ("true as number", instance(port=True), ["local_llm_instances[0].port", "True", "a whole number"]),
    ("low port", instance(port=80), ["local_llm_instances[0].port", "80", "from 1024 to 65535"]),
    ("bad name", instance(name="Chat!"), ["local_llm_instances[0].name", "Chat!", "small letters"]),
    ("unknown model", instance(model="tyny"), ["local_llm_instances[0].model", "tyny", "Did you mean tiny?"]),
    (
        "no artefact",
        instance(engine_version="0.8.0"),
        ["engine_version", "0.8.0", "llamacpp_artifacts[0.8.0]", "0.7.0"],
    ),
    ("unknown pool", instance(pool="chta"), ["local_llm_instances[0].pool", "chta", "gw1", "Did you mean chat?"]),
    ("unknown tier", instance(slo_tier="premum"), ["slo_tier", "premum", "Did you mean premium?"]),
    (
        "bad tier",
        put("local_llm_slo_tiers", {"lab": {"ttft_p95_max_second": 1}}),
        ["local_llm_slo_tiers.lab", "ttft_p95"],
    ),
    (
        "tier value",
        put("local_llm_slo_tiers", {"lab": {"ttft_p95_max_seconds": "1 s"}}),
        ["local_llm_slo_tiers.lab", "1 s"],
    ),
    ("tiers no mapping", put("local_llm_slo_tiers", ["lab"]), ["local_llm_slo_tiers", "dictionary"]),
    ("config key", instance(config={"thread": 4}), ["local_llm_instances[0].config.thread", "threads"]),
    ("config value", instance(config={"threads": "4"}), ["local_llm_instances[0].config.threads", "'4'"]),
    ("config no mapping", instance(config=[1]), ["local_llm_instances[0].config", "a mapping"]),
    ("gpus", instance(gpus="both"), ["local_llm_instances[0].gpus", "both", "[0, 1]"]),
    ("gpus twice", instance(gpus=[0, 0]), ["local_llm_instances[0].gpus", "List each GPU once"]),
    ("same port", second(name="other"), ["local_llm_instances[1].port", "8001", "local_llm_instances[0] (chat)"]),
    ("same name", second(port=8002), ["local_llm_instances[1].name", "chat", "its own name"]),
    (
        "two served names",
        second(name="b", port=8002, served_name="x"),
        ["served_name in pool chat", "gpu1/b", "gpu1/chat"],
    ),
    ("instances no list", put("local_llm_instances", {"chat": {}}), ["local_llm_instances", "a list", "- name:"]),
    ("instance no mapping", put("local_llm_instances", ["chat"]), ["local_llm_instances[0]", "chat", "a mapping"]),
    ("models no mapping", put("local_llm_models", []), ["local_llm_models", "a mapping"]),
    ("pools no mapping", put("local_llm_pools", ["chat"]), ["local_llm_pools", "a mapping"]),
    ("pool key", put("local_llm_pools", {"chat": {"max_queu": 1}}), ["local_llm_pools.chat.max_queu", "max_queue"]),
    ("artefacts no mapping", put("llamacpp_artifacts", "0.7.0"), ["llamacpp_artifacts", "a mapping"]),
    ("source", model(source="htp"), ["local_llm_models.tiny.source", "htp", "Did you mean http?"]),
    ("model key", model(pat="/x"), ["local_llm_models.tiny.pat", "Did you mean path?"]),
    ("relative path", model(path="models/tiny"), ["local_llm_models.tiny.path", "models/tiny", "inventory_dir"]),
    ("no directory", model(path="/models/tyny"), ["local_llm_models.tiny.path", "/models/tyny", "mend the path"]),
    ("missing file", model(files={"a.gguf": DIGEST}), ["local_llm_models.tiny.files[a.gguf]", "/models/tiny/a.gguf"]),
    (
        "bad sha256",
        model(files={"model.gguf": "abc"}),
        ["local_llm_models.tiny.files[model.gguf]", "abc", "64 hex digits"],
    ),
    ("big sha256", model(files={"model.gguf": DIGEST.upper()}), ["files[model.gguf]", "small letters"]),
    ("wrong sha256", model(files={"model.gguf": OTHER_DIGEST}), ["files[model.gguf]", DIGEST, OTHER_DIGEST]),
    ("no files", model(files={}), ["local_llm_models.tiny.files", "at least one file"]),
    ("path outside", model(files={"../x": DIGEST}), ["local_llm_models.tiny.files", "../x", "without .."]),
    ("no entry", model(files={"a.gguf": DIGEST, "b.gguf": DIGEST}), ["tiny.entry", "missing", "a.gguf, b.gguf"]),
    ("pickle", model(files={"model.bin": DIGEST}), ["tiny.files", "model.bin, which", "pickle", "allow: [model.bin]"]),
    ("all allowed", model(allow=["*"]), ["local_llm_models.tiny.allow", "Name the files"]),
    ("wrong entry", model(entry="modl.gguf"), ["local_llm_models.tiny.entry", "Did you mean model.gguf?"]),
    (
        "no archive",
        artifact(src="/engines/x"),
        ["llamacpp_artifacts[0.7.0].src", "/engines/x", "Put the archive there"],
    ),
    ("wrong archive", artifact(sha256={"x86_64": DIGEST}), ["llamacpp_artifacts[0.7.0].src", OTHER_DIGEST, "Fetch"]),
    ("relative archive", artifact(src="llama.tar.gz"), ["llamacpp_artifacts[0.7.0].src", "llama.tar.gz"]),
    ("odd address", artifact(src="ftp://x/y"), ["llamacpp_artifacts[0.7.0].src", "ftp://x/y", "http"]),
    ("archive sha256", artifact(sha256={"x86_64": "abc"}), ["llamacpp_artifacts[0.7.0].sha256[x86_64]", "abc"]),
    ("no archive sha256", artifact(sha256={}), ["llamacpp_artifacts[0.7.0].sha256", "one SHA-256 per architecture"]),
    ("method", artifact(method="archiv"), ["llamacpp_artifacts[0.7.0].method", "Did you mean archive?"]),
]


@pytest.mark.parametrize(("change", "words"), [pytest.param(c, w, id=name) for name, c, w in FAULTS])
def test_a_fault_names_key_value_and_fix(change: Callable[[dict[str, Any]], None], words: list[str]) -> None:
    lines = check(change)
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


def test_a_pool_without_a_gateway_group_is_a_fault() -> None:
    lines = check(lambda v: None, gateways=0)
    assert len(lines) == 1
    assert "local_llm_instances[0].pool on gpu1, gpu2: found: chat" in lines[0]
    assert "group gateway" in lines[0]


def test_each_gateway_must_serve_the_pool() -> None:
    hosts = {"gpu1": variables()}
    lines = [
        finding_line(item)
        for item in check_desired(
            hosts, {"gw1": variables(), "gw2": {"local_llm_pools": {"batch": {}}}}, KNOWLEDGE, FakeFiles()
        )
    ]
    assert len(lines) == 1
    assert "gateway host gw2" in lines[0]


def test_without_a_list_of_pools_a_gateway_serves_the_pools_of_the_instances() -> None:
    assert check_desired({"gpu1": variables()}, {"gw1": {}}, KNOWLEDGE, FakeFiles()) == []


def test_the_gateway_role_knows_the_same_keys_of_a_pool() -> None:
    role = Path(__file__).resolve().parents[4] / "roles" / "gateway" / "vars" / "main.yml"
    known = yaml.safe_load(role.read_text(encoding="utf-8"))
    assert sorted(POOL_FIELDS) == sorted(known["__gateway_pool_keys"] + known["__gateway_other_pool_keys"])


HF: dict[str, Any] = {
    "source": "hf",
    "repo": "org/name",
    "revision": "0" * 40,
    "manifest_sha256": DIGEST,
    "entry": "m.gguf",
}
HTTP: dict[str, Any] = {"source": "http", "url": "https://mirror/m", "revision": "r1", "files": {"m.gguf": DIGEST}}


def remote(base: dict[str, Any], **values: Any) -> Callable[[dict[str, Any]], None]:
    wanted = {key: value for key, value in {**base, **values}.items() if value is not None}
    return lambda v: v["local_llm_models"].update(tiny=wanted)


def test_models_from_a_hub_and_from_a_server_need_no_file_on_the_controller() -> None:
    assert check(remote(HF)) == []
    assert check(remote(HTTP)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remote(HF, revision="main"), ["tiny.revision", "main", "40 hex digits"]),
        (remote(HF, repo="name"), ["tiny.repo", "name", "owner/name"]),
        (remote(HF, manifest_sha256=None), ["tiny.files", "manifest_sha256", "docs/models.md"]),
        (remote(HF, manifest_sha256="abc"), ["tiny.manifest_sha256", "abc", "64 hex digits"]),
        (remote(HF, files={"m.gguf": DIGEST}), ["tiny.manifest_sha256", "Correct files, or write"]),
        (remote(HF, endpoint="hub"), ["tiny.endpoint", "hub", "https://"]),
        (remote(HF, entry=None), ["tiny.entry", "missing", "the GGUF file"]),
        (remote(HTTP, url="http://user:secret@mirror/m"), ["tiny.url", "http://mirror/m", "password"]),
        (remote(HTTP, files={"x.py": DIGEST}), ["tiny.files", "x.py", "program code"]),
    ],
)
def test_a_model_from_the_network_that_is_not_pinned_is_refused(change: Any, words: list[str]) -> None:
    lines = check(change)
    assert len(lines) == 1, lines
    assert [word for word in words if word not in lines[0]] == []
    assert "secret" not in lines[0]


def test_the_release_depends_on_the_bytes_and_not_on_where_they_come_from(tmp_path: Path) -> None:
    found = []
    digest = manifest_digest({"m.gguf": DIGEST})
    for base in (
        HTTP,
        {**HTTP, "url": "https://other/m"},
        {**HTTP, "files": None, "manifest_sha256": digest, "entry": "m.gguf"},
    ):
        state = variables()
        remote(base)(state)
        state["local_llm_model_cache"] = str(tmp_path)
        found.append(desired_releases(state, KNOWLEDGE, FakeFiles())["chat"])
    assert len({release["release_id"] for release in found}) == 1
    assert found[0]["model_bytes"] == 0
    (tmp_path / "manifests").mkdir()
    kept = {"schema": 1, "files": {"m.gguf": DIGEST}, "sizes": {"m.gguf": 12}}
    (tmp_path / f"manifests/{digest}.json").write_text(json.dumps(kept), encoding="utf-8")
    assert desired_releases(state, KNOWLEDGE, FakeFiles())["chat"]["model_bytes"] == 12


def test_an_unused_model_may_be_missing_on_the_controller() -> None:
    spare = {"source": "directory", "path": "/gone", "revision": "r1", "files": {"x.gguf": DIGEST}}
    assert check(lambda v: v["local_llm_models"].update(spare=spare)) == []


def test_many_hosts_with_one_fault_make_one_finding() -> None:
    hosts = {f"gpu{number}": variables() for number in range(50)}
    for item in hosts.values():
        item["local_llm_instances"][0]["port"] = 80
    found = check_desired(hosts, {"gw1": variables()}, KNOWLEDGE, FakeFiles())
    assert len(found) == 1
    assert "gpu0, gpu1, gpu2 and 47 more" in found[0]["subject"]


def test_several_faults_are_told_at_once() -> None:
    def change(v: dict[str, Any]) -> None:
        instance(port=80)(v)
        model(revision="")(v)
        artifact(method="x")(v)

    assert len(check(change)) == 3


def test_a_release_has_every_key_and_every_default() -> None:
    release = desired_releases(variables(), KNOWLEDGE, FakeFiles())["chat"]
    assert validate_description(release["description"]) == []
    assert release["description"]["gpus"] == "all"
    assert release["description"]["config"]["threads"] == 0
    assert release["description"]["model_entry"] == "model.gguf"
    assert release["slo_tier"] == "standard"
    assert (release["model_bytes"], release["engine_bytes"], release["bytes_needed"]) == (1000, 4000, 5000)


def test_writing_a_default_down_changes_no_release_id() -> None:
    written = variables()
    written["local_llm_instances"][0].update(gpus="all", config={"threads": 0})
    first, second_ = (desired_releases(v, KNOWLEDGE, FakeFiles())["chat"] for v in (variables(), written))
    assert first["release_id"] == second_["release_id"]


@pytest.mark.parametrize("change", [instance(engine_version="0.7.0-deb"), model(revision="r2"), instance(port=8002)])
def test_every_change_of_content_changes_the_release_id(change: Callable[[dict[str, Any]], None]) -> None:
    changed = variables()
    change(changed)
    assert (
        desired_releases(changed, KNOWLEDGE, FakeFiles())["chat"]["release_id"]
        != desired_releases(variables(), KNOWLEDGE, FakeFiles())["chat"]["release_id"]
    )


def test_a_pool_with_two_contents_is_warned_about() -> None:
    changed = variables()
    changed["local_llm_instances"][0]["config"] = {"threads": 2}
    releases = {
        host: desired_releases(v, KNOWLEDGE, FakeFiles()) for host, v in (("gpu1", variables()), ("gpu2", changed))
    }
    found = mixed_pools(releases)
    assert [item["status"] for item in found] == ["warn"]
    assert "gpu1/chat; gpu2/chat" in found[0]["observed"]
    assert mixed_pools({"gpu1": releases["gpu1"]}) == []


ROOT = Path(__file__).parents[4]
# What Prometheus calls its targets, and groups that a rollout makes with add_host: no variables.
JOBS = {"local_llm_engine", "local_llm_gateway", "local_llm_gpu", "local_llm_node"}
GROUPS = {"local_llm_mend", "local_llm_unwell", "local_llm_rollout", "local_llm_settle"}


def test_the_known_variables_are_those_that_roles_and_playbooks_use() -> None:
    files = [path for part in ("roles", "playbooks") for path in (ROOT / part).rglob("*") if path.is_file()]
    # Not programs and dashboards: names of metrics begin in the same way.
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in (".yml", ".j2")]
    used = {name for text in texts for name in re.findall(r"\blocal_llm_[a-z0-9_]+\b(?!\.prom)", text)}
    assert set(KNOWN_VARIABLES) == used - GROUPS - JOBS


def test_the_known_defaults_are_those_of_the_public_roles() -> None:
    defaults = [yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8"))
                for role in ("gateway", "gpu_exporter", "host", "llamacpp", "monitoring", "node_exporter",
                             "nvidia_driver", "ollama", "remediation", "vllm")]  # fmt: skip
    assert set(ROLE_VARIABLES) == {name for values in defaults for name in values}


@pytest.mark.parametrize("variable", MEASURING_FIELDS)
def test_the_measuring_keys_are_those_of_the_role(variable: str) -> None:
    defaults = yaml.safe_load((ROOT / "roles/_release/defaults/main.yml").read_text(encoding="utf-8"))
    assert set(MEASURING_FIELDS[variable]) == set(defaults[f"_release_{variable[len('local_llm_') :]}_defaults"])


def test_every_documented_variable_is_known() -> None:
    text = (ROOT / "docs/reference_variables.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(local_llm_[a-z0-9_]+)`", text)) <= set(KNOWN_VARIABLES)


@pytest.mark.parametrize(
    ("name", "status", "meant"),
    [
        ("local_llm_instance", "fail", "local_llm_instances"),
        ("local_llm_pool", "fail", "local_llm_pools"),
        ("local_llm_rollout_serail", "fail", "local_llm_rollout_serial"),
        ("local_llm_watch_second", "fail", "local_llm_watch_seconds"),
        ("local_llm_zzz", "fail", "docs/reference_variables.md"),
        ("llamacpp_artifact", "warn", "llamacpp_artifacts"),
        ("gateway_api_key", "warn", "gateway_api_keys"),
    ],
)
def test_a_variable_that_nothing_reads_is_told_with_the_name_that_was_meant(name: str, status: str, meant: str) -> None:
    found = check_variable_names({"gpu1": [name, "local_llm_instances"], "gpu2": [name]})
    assert [(item["status"], item["subject"]) for item in found] == [(status, f"{name} on gpu1, gpu2")]
    assert meant in found[0]["action"]


def test_variables_that_are_known_or_none_of_ours_pass() -> None:
    own = ["host_rack", "gateway_region", "ansible_host", "my_local_llm_thing", "groups"]
    assert check_variable_names({"gpu1": [*KNOWN_VARIABLES, *ROLE_VARIABLES, *own]}) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("local_llm_benchmark", {"request": 10}, ["local_llm_benchmark.request on", "requests"]),
        ("local_llm_quality", {"min_similarty": 1}, ["local_llm_quality.min_similarty on", "min_similarity"]),
        ("local_llm_quality", [1], ["local_llm_quality on", "a mapping"]),
        ("local_llm_benchmark", {"users": 2, "requests": "{{ 5 }}"}, []),
    ],
)
def test_a_wrong_key_of_the_measuring_is_a_fault(name: str, value: Any, words: list[str]) -> None:
    lines = check(lambda v: v.update({name: value}))
    assert len(lines) == (1 if words else 0)
    assert [word for word in words if word not in lines[0]] == []


def test_limits_of_a_pool_are_checked_before_anything_is_measured() -> None:
    def change(values: dict[str, Any]) -> None:
        pool = values["local_llm_instances"][0]["pool"]
        values["local_llm_pools"] = {pool: {"slo": {"ttft_p95_max": 1}}}

    lines = [line for line in check(change) if ".slo" in line]
    assert lines, "the typo must be told"
    assert "ttft_p95_max" in lines[0] and "local_llm_pools." in lines[0]


def test_a_wrong_engine_option_is_told_with_its_value() -> None:
    lines = check(instance(config={"paralell_requests": 3}))
    assert "on gpu1, gpu2: config.paralell_requests = 3: unknown option. Did you mean" in lines[0]


def test_a_checksum_that_does_not_match_says_which_is_the_files_and_which_the_inventorys() -> None:
    wrong = "0" * 64

    def change(values: dict[str, Any]) -> None:
        values["local_llm_models"]["tiny"]["files"]["model.gguf"] = wrong

    line = check(change)[0]
    assert f"the file /models/tiny/model.gguf has SHA-256 {DIGEST}" in line
    assert f"the inventory's {wrong}" in line


@pytest.mark.parametrize(
    ("config", "stop", "told"),
    [
        ({}, None, ""),
        ({"shutdown_timeout_seconds": 105}, None, ""),
        ({"shutdown_timeout_seconds": 106}, None, "106, with host_stop_timeout_seconds = 120"),
        ({"shutdown_timeout_seconds": 300}, 315, ""),
        ({}, 60, "60, with host_stop_timeout_seconds = 60"),
        ({}, "74", "60, with host_stop_timeout_seconds = 74"),
    ],
)
def test_an_engine_that_would_be_killed_while_it_finishes_requests_is_a_fault(
    config: dict[str, Any], stop: Any, told: str
) -> None:
    values = variables()
    values["local_llm_instances"][0].update(engine="vllm", engine_version="0.33.0", config=config)
    values["vllm_artifacts"] = {"0.33.0": {"method": "venv", "requirements": ["vllm==0.33.0"]}}
    values["host_stop_timeout_seconds"] = stop
    found = [finding_line(item) for item in check_desired({"gpu1": values}, {"gw1": {}}, KNOWLEDGE, FakeFiles())]
    assert len(found) == bool(told), found
    for word in (told, "local_llm_instances[0].config.shutdown_timeout_seconds", "local_llm.ops.site") if told else ():
        assert word in found[0]


def test_the_default_time_of_a_stop_is_that_of_the_role() -> None:
    defaults = yaml.safe_load((ROOT / "roles/host/defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults[stop_time.VARIABLE] == stop_time.DEFAULT_SECONDS


def vllm(**artifact: Any) -> list[str]:
    values = variables()
    values["local_llm_instances"][0].update(engine="vllm", engine_version="0.33.0", config={})
    values["vllm_artifacts"] = {"0.33.0": {"method": "venv", "requirements": ["vllm==0.33.0"], **artifact}}
    found = check_desired({"gpu1": values}, {"gw1": {}}, KNOWLEDGE, FakeFiles())
    return [f"{item['subject']} {item['observed']} {item['action']}" for item in found]


def test_a_python_environment_is_held_to_its_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vllm() == []
    for artifact, words in (
        ({"requirements": ["vllm>=0.33"]}, ["vllm_artifacts[0.33.0].requirements", "vllm>=0.33", "Pin it exactly"]),
        ({"lock_file": "lock"}, ["vllm_artifacts[0.33.0].lock_file", "whole path"]),
        ({"lock_file": "/lock"}, ["vllm_artifacts[0.33.0].lock_file", "/lock", "mend the path"]),
        ({"requirement": ["x"]}, ["vllm_artifacts[0.33.0].requirement", "Did you mean requirements"]),
        ({"method": "package"}, ["vllm_artifacts[0.33.0].method", "package", "venv"]),
        ({"index_url": "ftp://x"}, ["vllm_artifacts[0.33.0].index_url", "ftp://x", "https://"]),
    ):
        found = " | ".join(vllm(**artifact))
        for word in words:
            assert word in found, (artifact, found)
    monkeypatch.setitem(FILES, "/lock", DIGEST)
    monkeypatch.setitem(LOCKS, "/lock", "vllm==0.33.0 --hash=sha256:" + "a" * 64 + "\ntorch==2.0\n")
    assert "torch==2.0" in " | ".join(vllm(lock_file="/lock"))
