# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller-side actions in real runs of ansible-playbook on this machine."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import append_line, read_journal

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
HOSTS = [f"gpu{number}" for number in range(1, 7)]
DIGEST = hashlib.sha256(b"hello").hexdigest()
DEADLINE_SECONDS = 30.0


def inventory(directory: Path, **values: Any) -> dict[str, Any]:
    instance = {
        "name": "chat",
        "engine": "llamacpp",
        "engine_version": "0.7.0",
        "model": "tiny",
        "served_name": "chat",
        "port": 8001,
        "pool": "chat",
    }
    model = {"source": "directory", "path": "{{ inventory_dir }}/model", "revision": "r1", "files": {"m.gguf": DIGEST}}
    archive = {"method": "archive", "src": "https://example.org/llama.tar.gz", "sha256": {"x86_64": DIGEST}}
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "rollout": str(directory / "rollout"),
        "local_llm_instances": [instance],
        "local_llm_models": {"tiny": model},
        "local_llm_pools": {"chat": {}},
        "llamacpp_artifacts": {"0.7.0": archive},
        **values,
    }
    children = {"gpu_hosts": {"hosts": dict.fromkeys(HOSTS)}, "gateway": {"hosts": {"gw1": None, "gw2": None}}}
    return {"all": {"vars": variables, "children": children}}


class Runner:
    """Runs playbooks in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rollout = directory / "rollout"
        (directory / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
        (directory / "model").mkdir()
        (directory / "model" / "m.gguf").write_bytes(b"hello")
        self.started: list[subprocess.Popen[str]] = []

    def start(self, tasks: list[dict[str, Any]], *arguments: str, hosts: str = "gpu_hosts", **play: Any) -> Any:
        number = len(self.started)
        playbook = self.directory / f"play{number}.yml"
        play = {"hosts": hosts, "gather_facts": False, "tasks": tasks, **play}
        playbook.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
        inventory_file = self.directory / "inventory.yml"
        if not inventory_file.exists():
            inventory_file.write_text(yaml.safe_dump(inventory(self.directory)), encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_HOME": str(self.directory / ".ansible"),
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_FORKS": "6",
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory_file), str(playbook)]
        process = subprocess.Popen(
            [*command, *arguments], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.started.append(process)
        return process

    def run(self, tasks: list[dict[str, Any]], *arguments: str, **play: Any) -> tuple[int, str]:
        process = self.start(tasks, *arguments, **play)
        output, _nothing = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, output

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                kill_tree(process)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    one = Runner(tmp_path)
    yield one
    one.end()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def kill_tree(process: subprocess.Popen[str]) -> None:
    """End a process and everything it started, at once and without a chance to clean up."""
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(DEADLINE_SECONDS)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found += [int(entry.name), *descendants(int(entry.name))]
    return found


def journal(event: str, **values: Any) -> dict[str, Any]:
    base = {"directory": "{{ rollout }}", "rollout_id": "r", "event": event, "instance": "chat"}
    return {"local_llm.ops.rollout_journal": {**base, **values}}


def test_all_workers_of_a_play_write_one_chain(runner: Runner) -> None:
    tasks = [
        {"ansible.builtin.command": {"argv": ["true"]}, "register": "done"},
        journal(
            "drained", state="drained", result="{{ done }}", evidence={"big": "{{ 'x' * 5000 }}"}, category="waiting"
        ),
        journal("switched", state="warming", result_from="done", seconds=1.5),
        {**journal("rolling", host="", instance="{{ omit }}", state="progressing"), "run_once": True},
    ]
    code, output = runner.run(tasks)
    assert code == 0, output
    found = read_journal(runner.rollout)
    assert (found.intact, len(found.lines)) == (True, 13)
    assert sorted(line["host"] for line in found.lines if line["event"] == "drained") == HOSTS
    assert found.lines[-1]["host"] is None
    first = next(line for line in found.lines if line["host"] == "gpu1")
    assert first["evidence"]["category"] == "waiting"
    assert first["evidence"]["big"].endswith("-drained-big.json")


def test_a_step_without_proof_fails_on_its_host_and_says_why(runner: Runner) -> None:
    tasks = [
        {"ansible.builtin.command": {"argv": ["true"]}, "register": "done", "when": "inventory_hostname != 'gpu1'"},
        {
            "ansible.builtin.set_fact": {"done": {"unreachable": True, "msg": "no route"}},
            "when": "inventory_hostname == 'gpu2'",
        },
        journal("switched", state="warming", result_from="done"),
        journal("asked", result_from="never_registered"),
    ]
    code, output = runner.run(tasks)
    assert code == 2
    assert "gpu1/chat: step switched is not proven: the task was skipped" in output
    assert "gpu2/chat: step switched is not proven: unreachable: no route" in output
    assert "gpu3/chat: step asked is not proven: no task result was handed over" in output
    lines = {(line["host"], line["event"]): line for line in read_journal(runner.rollout).lines}
    assert lines["gpu1", "step_failed"]["state"] is None
    assert lines["gpu1", "step_failed"]["evidence"] == {"reason": "skipped", "step": "switched"}
    assert lines["gpu2", "unreachable"]["state"] == "unknown"
    assert lines["gpu3", "switched"]["state"] == "warming"


def test_check_mode_writes_no_line_but_still_asks_for_proof(runner: Runner) -> None:
    code, output = runner.run([journal("drained", state="drained"), journal("x", result="{{ {} }}")], "--check")
    assert code == 2
    assert "step x is not proven: the task result is empty" in output
    assert not runner.rollout.exists()


def _append_until_killed(directory: str) -> None:
    while True:
        append_line(Path(directory), {"rollout_id": "r", "event": "x", "host": "a", "detail": "y" * 3000})


def test_writers_that_are_killed_at_any_moment_leave_a_chain_to_go_on_with(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(1, 9):
        writer = context.Process(target=_append_until_killed, args=(str(tmp_path),))
        writer.start()
        before = len(read_journal(tmp_path).lines)
        wait_for(lambda at_least=before + round_: len(read_journal(tmp_path).lines) >= at_least)  # type: ignore[misc]
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(DEADLINE_SECONDS)
        whole = len(read_journal(tmp_path).lines)
        assert append_line(tmp_path, {"rollout_id": "r", "event": "resumed"})["seq"] == whole + 1
        assert read_journal(tmp_path).intact


def test_a_run_that_is_killed_between_lines_is_resumed(runner: Runner) -> None:
    tasks = [
        {
            **journal("step{{ number }}", detail="{{ 'y' * 1000 }}"),
            "loop": "{{ range(200) | list }}",
            "loop_control": {"loop_var": "number", "label": "{{ number }}"},
        }
    ]
    process = runner.start(tasks)
    wait_for(lambda: len(read_journal(runner.rollout).lines) > 20)
    kill_tree(process)
    lines = len(read_journal(runner.rollout).lines)
    assert lines < 200 * len(HOSTS)
    code, output = runner.run([{**journal("resumed"), "run_once": True}])
    assert code == 0, output
    found = read_journal(runner.rollout)
    assert (found.intact, len(found.lines), found.lines[-1]["event"]) == (True, lines + 1, "resumed")


PLAN = {
    "schema": 1,
    "rollout_id": "r",
    "batches": [["gpu1"], ["gpu2", "gpu3"], ["gpu4", "gpu5", "gpu6"]],
    "hosts": {host: {"chat": {"from": "a" * 12, "to": "b" * 12, "action": "upgrade"}} for host in HOSTS},
}
GOOD = {
    "instance": "chat",
    "current": "b" * 12,
    "armed": None,
    "instance_state": {"state": "healthy"},
    "active_state": "active",
    "evidence": {"verdict": "pass", "accepted": None, "rollout_id": "r", "at": "2026-01-01T00:00:00Z"},
}


def rolling_tasks(good_hosts: list[str]) -> list[dict[str, Any]]:
    """Return the tasks of a batch: gate, then the line that makes the host healthy, where it becomes so."""
    infos = {host: {"changed": False, "instances": [GOOD]} for host in HOSTS}
    return [
        {
            "local_llm.ops.rollout_gate": {"directory": "{{ rollout }}", "plan": PLAN, "release_infos": infos},
            "register": "gate",
        },
        {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} batch={{ gate.batch_number }} go={{ gate.go }}"}},
        {"ansible.builtin.debug": {"msg": "{{ gate.msg }}"}},
        {
            **journal("full_share", state="healthy", release="b" * 12),
            "when": ["gate.go", f"inventory_hostname in {good_hosts}"],
        },
    ]


def started(runner: Runner) -> None:
    append_line(runner.rollout, {"rollout_id": "r", "event": "canary", "state": "canary"})


def decisions(output: str) -> dict[str, str]:
    return dict(re.findall(r"(gpu[0-9]) batch=[0-9]+ go=(True|False)", output))


def test_the_gate_opens_for_each_batch_of_a_good_rollout(runner: Runner) -> None:
    started(runner)
    code, output = runner.run(rolling_tasks(HOSTS), serial=[1, 2, 3])
    assert code == 0, output
    assert decisions(output) == dict.fromkeys(HOSTS, "True")


def test_the_gate_stays_shut_after_a_host_without_proof(runner: Runner) -> None:
    started(runner)
    code, output = runner.run(rolling_tasks(["gpu1", "gpu2"]), serial=[1, 2, 3])
    assert code == 0, output
    wanted = {"gpu1": "True", "gpu2": "True", "gpu3": "True", "gpu4": "False", "gpu5": "False", "gpu6": "False"}
    assert decisions(output) == wanted
    assert "gpu3/chat: expected journal state healthy with release bbbbbbbbbbbb, found no line in the journal" in output


def test_the_gate_does_not_open_for_another_strategy(runner: Runner) -> None:
    started(runner)
    _code, output = runner.run(rolling_tasks(HOSTS)[:3], "--limit", "gpu1", strategy="free")
    assert decisions(output) == {"gpu1": "False"}
    assert "expected strategy linear, found strategy free" in output


def test_a_gate_that_shall_fail_fails(runner: Runner) -> None:
    tasks = rolling_tasks(HOSTS)[:1]
    tasks[0]["local_llm.ops.rollout_gate"]["fail"] = True
    code, output = runner.run(tasks, "--limit", "gpu1")
    assert code == 2
    assert "batch 1 of 3 must not start" in output


def lock(state: str = "held", rollout_id: str = "r1", **values: Any) -> dict[str, Any]:
    arguments = {
        "state": state,
        "rollout_id": rollout_id,
        "directory": "{{ inventory_dir }}/lock-{{ gateway_host }}",
        **values,
    }
    return {
        "local_llm.ops.rollout_lock": arguments,
        "delegate_to": "{{ gateway_host }}",
        "run_once": True,
        "loop": "{{ groups['gateway'] | sort }}",
        "loop_control": {"loop_var": "gateway_host", "break_when": "lock is failed"},
        "register": "lock",
    }


OUTCOMES = {
    "ansible.builtin.debug": {"msg": "outcomes={{ lock.results | map(attribute='outcome') | join(',') }}"},
    "run_once": True,
}


def test_a_second_rollout_is_refused_and_takes_over_only_from_a_dead_one(runner: Runner) -> None:
    wait = {"ansible.builtin.wait_for": {"path": "{{ inventory_dir }}/never", "timeout": 50}, "run_once": True}
    renew = lock(renew_only=True)
    process = runner.start([lock(), renew, wait])
    wait_for((runner.directory / "lock-gw2" / "rollout.lock").exists)
    code, output = runner.run([lock(rollout_id="r2")])
    assert code == 2
    assert "gw1: rollout r1 holds the lock" in output
    assert f"process {process.pid} (ansible-playbook play0.yml)" in output
    assert "lock-gw2" not in output
    content = json.loads((runner.directory / "lock-gw1" / "rollout.lock").read_text(encoding="utf-8"))
    assert content["rollout_id"] == "r1"
    kill_tree(process)
    code, output = runner.run(
        [lock(rollout_id="r2"), OUTCOMES, lock("released", "r2"), OUTCOMES, lock("released", "r2"), OUTCOMES]
    )
    assert code == 0, output
    assert re.findall(r"outcomes=([a-z_,]+)", output) == ["took_over,took_over", "released,released", "free,free"]
    assert not (runner.directory / "lock-gw1" / "rollout.lock").exists()


def test_a_lock_of_another_controller_is_taken_over_by_name_or_when_it_lapsed(runner: Runner) -> None:
    for name, renewed in (("gw1", "2099-01-01T00:00:00.000Z"), ("gw2", "2020-01-01T00:00:00.000Z")):
        directory = runner.directory / f"lock-{name}"
        directory.mkdir()
        held = {"rollout_id": "far", "controller": "bastion", "controller_id": "other", "user": "ops", "pid": 1}
        held.update(renewed_at=renewed, started_at=renewed, ttl_seconds=60, command="ansible-playbook upgrade.yml")
        (directory / "rollout.lock").write_text(json.dumps(held), encoding="utf-8")
    code, output = runner.run([lock(rollout_id="r2")])
    assert code == 2
    assert "ops on controller bastion" in output
    code, output = runner.run([lock("query"), OUTCOMES, lock(rollout_id="r2", take_over="far"), OUTCOMES])
    assert code == 0, output
    assert re.findall(r"outcomes=([a-z_,]+)", output) == ["query,query", "took_over,took_over"]


def test_a_renewal_of_a_lock_that_was_lost_stops_the_rollout(runner: Runner) -> None:
    code, output = runner.run([lock(renew_only=True)])
    assert code == 2
    assert "gw1: rollout r1 has lost its lock: nobody holds it" in output


def plan_task(**values: Any) -> dict[str, Any]:
    old = {**GOOD, "current": "a" * 12}
    arguments = {"release_infos_from": "info", "root": "{{ inventory_dir }}/rollouts", "write": True, **values}
    return {"local_llm.ops.rollout_plan": arguments, "run_once": True, "vars": {"info": {"instances": [old]}}}


def planned(runner: Runner) -> dict[str, Any]:
    path = next((runner.directory / "rollouts").glob("*/plan.json"))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_a_plan_makes_the_batches_that_the_play_then_has(runner: Runner) -> None:
    serial = [1, "34%", "100%"]
    tasks = [
        plan_task(
            serial=serial,
            canary_host="gpu3",
            release_infos_from="{{ omit }}",
            release_infos={host: {"instances": [{**GOOD, "current": "a" * 12}]} for host in HOSTS},
        )
    ]
    code, output = runner.run(tasks)
    assert code == 0, output
    plan = planned(runner)
    assert plan["order"][0] == "gpu3"
    assert "6 to upgrade, on 6 hosts in 3 batches" in output
    assert (runner.directory / "rollouts" / plan["rollout_id"] / "rollback-plan.md").exists()
    shown = [{"ansible.builtin.debug": {"msg": "batch={{ ansible_play_batch | join(',') }}"}, "run_once": True}]
    code, output = runner.run(shown, hosts=",".join(plan["order"]), serial=serial)
    assert [found.split(",") for found in re.findall(r"batch=([a-z0-9,]+)", output)] == plan["batches"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"local_llm_instances": [{"nam": "chat"}]}, ["local_llm_instances[0].nam on gpu1", "Did you mean name?"]),
        ({"local_llm_pools": "{{ no_such_variable }}"}, ["local_llm_pools on gw1", "no_such_variable"]),
        ({"llamacpp_artifacts": {}}, ["local_llm_instances[0].engine_version", "0.7.0", "llamacpp_artifacts"]),
    ],
)
def test_a_bad_inventory_is_refused_before_anything_is_written(
    runner: Runner, values: dict[str, Any], words: list[str]
) -> None:
    text = yaml.safe_dump(inventory(runner.directory, **values))
    (runner.directory / "inventory.yml").write_text(text, encoding="utf-8")
    code, output = runner.run([plan_task()])
    assert code == 2, output
    for word in words:
        assert word in output
    assert not (runner.directory / "rollouts").exists()


def test_a_check_of_the_inventory_alone_needs_no_host(runner: Runner) -> None:
    code, output = runner.run(
        [
            {"local_llm.ops.rollout_plan": {}, "run_once": True, "register": "checked"},
            {"ansible.builtin.debug": {"msg": "{{ checked.preflight.gpu1[0].instance }}={{ checked.msg }}"}},
        ]
    )
    assert code == 0, output
    assert "chat=The desired state is sound." in output


def test_a_rollback_is_planned_from_what_the_hosts_say(runner: Runner) -> None:
    after = {**GOOD, "previous": "a" * 12, "releases": ["b" * 12, "a" * 12]}
    infos = {host: {"instances": [after]} for host in HOSTS}
    task = plan_task(direction="back", release_infos_from="{{ omit }}", release_infos=infos)
    code, output = runner.run([task])
    assert code == 0, output
    assert "6 to roll back, on 6 hosts" in output
    assert planned(runner)["hosts"]["gpu1"]["chat"]["from"] == "a" * 12


def settle_tasks() -> list[dict[str, Any]]:
    """Return a plan in which gpu1 was promoted by rollout r0 and the others still have to move, and what it settles."""
    old = {**GOOD, "current": "a" * 12}
    wanted = {"current": "{{ checked.wanted.gpu1[0].to }}", "previous": "a" * 12}
    infos = {host: {"instances": [old]} for host in HOSTS}
    infos["gpu1"] = {"instances": [{**GOOD, **wanted, "instance_state": {"state": "healthy", "rollout_id": "r0"}}]}
    told = "settle={{ planned.settle | dict2items | map(attribute='key') | sort | join(',') }}"
    return [
        {"local_llm.ops.rollout_plan": {}, "run_once": True, "register": "checked"},
        {
            "local_llm.ops.rollout_plan": {"release_infos": infos, "root": "{{ inventory_dir }}/rollouts"},
            "run_once": True,
            "register": "planned",
        },
        {"ansible.builtin.debug": {"msg": told}, "run_once": True},
        {
            "ansible.builtin.debug": {"msg": "first={{ (planned.settle.gpu1 | default([{}]))[0].action | default() }}"},
            "run_once": True,
        },
        {"ansible.builtin.debug": {"msg": "roll={{ planned.roll.gpu1 | length }}"}, "run_once": True},
    ]


def test_what_an_interrupted_rollout_promoted_is_settled_but_not_rolled(runner: Runner) -> None:
    code, output = runner.run(settle_tasks())
    assert code == 0, output
    assert re.findall(r"settle=([a-z0-9,]+)", output) == [",".join(HOSTS)]
    assert ("first=none" in output, "roll=0" in output) == (True, True)


def test_what_a_completed_rollout_brought_is_not_settled_again(runner: Runner) -> None:
    journal_directory = runner.directory / "rollouts" / "r0"
    append_line(journal_directory, {"rollout_id": "r0", "event": "completed", "state": "completed"})
    code, output = runner.run(settle_tasks())
    assert code == 0, output
    assert re.findall(r"settle=([a-z0-9,]+)", output) == [",".join(HOSTS[1:])]


def test_a_gate_that_says_no_tells_whether_a_fault_is_proven_and_why_in_one_line(runner: Runner) -> None:
    started(runner)
    append_line(
        runner.rollout,
        {"rollout_id": "r", "event": "x", "host": "gpu1", "instance": "chat", "state": "healthy", "release": "b" * 12},
    )
    infos = {"gpu1": {"instances": [{**GOOD, "active_state": "failed"}]}}
    arguments = {"directory": "{{ rollout }}", "plan": PLAN, "release_infos": infos, "batch_hosts": ["gpu2", "gpu3"]}
    tasks = [
        {"local_llm.ops.rollout_gate": arguments, "run_once": True, "register": "gate"},
        {"ansible.builtin.debug": {"msg": "fault={{ gate.fault }} {{ gate.reasons_text }}"}, "run_once": True},
    ]
    code, output = runner.run(tasks)
    assert code == 0, output
    assert "fault=True gpu1/chat: expected unit state active, found unit state failed" in output


def check_inventory(runner: Runner, active: str = "active", **options: Any) -> tuple[int, str]:
    info = {"instances": [{"instance": "old", "current": "a" * 12, "active_state": active}]}
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.set_fact": {"info": info}},
        {
            "local_llm.ops.rollout_plan": {"check_only": True, "release_infos_from": "info", **options},
            "run_once": True,
            "register": "planned",
        },
        {"ansible.builtin.debug": {"msg": "plan={{ planned.plan is defined }}"}, "run_once": True},
    ]
    return runner.run(tasks)


def test_the_check_alone_refuses_to_forget_an_instance_that_serves_and_makes_no_plan(runner: Runner) -> None:
    code, output = check_inventory(runner, keep_serving=True)
    assert code == 2, output
    assert "instance old serves on gpu1 and is not in local_llm_instances" in output
    code, output = check_inventory(runner, keep_serving=True, active="inactive")
    assert (code, "plan=False" in output) == (0, True), output
    code, output = check_inventory(runner)
    assert (code, "plan=False" in output) == (0, True), output


def test_a_misspelt_variable_is_refused_on_any_host_and_a_near_role_default_is_warned_of(runner: Runner) -> None:
    values = inventory(runner.directory, llamacpp_artifact={})
    values["all"]["children"]["gateway"]["vars"] = {"local_llm_pool": {}}
    (runner.directory / "inventory.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
    code, output = runner.run([{"local_llm.ops.rollout_plan": {}, "run_once": True}])
    assert code == 2, output
    assert "local_llm_pool on gw1, gw2: Unknown variable" in output
    values["all"]["children"]["gateway"].pop("vars")
    (runner.directory / "inventory.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
    code, output = runner.run([{"local_llm.ops.rollout_plan": {}, "run_once": True}])
    assert code == 0, output
    assert "Did you mean llamacpp_artifacts?" in " ".join(output.split())
