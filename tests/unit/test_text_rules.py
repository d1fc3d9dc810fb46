# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the house that no linter knows. Each rule is a function from text or YAML to findings, tried on samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
HEADER = (
    "# Copyright (c) 2026, local_llm.ops contributors",
    "# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License-Identifier: GPL-3.0-or-later",
)
MAX_PLUGIN_LINES = 400
SWALLOWS_FAILURE = re.compile(r"^\s*(?:- )?(ignore_errors:(?!\s*(false|no)\b)|failed_when:\s*(false|no|\[\])\s*(#|$))")
REASON = "# reason:"


ROLES = sorted(p for p in (CHECKOUT / "roles").glob("*") if p.is_dir())
PUBLIC_ROLES = [p for p in ROLES if not p.name.startswith("_")]
PUBLIC_ROLE_NAMES = tuple(p.name for p in PUBLIC_ROLES)


class _Loader(yaml.SafeLoader):
    """Reads Ansible's own tags as plain values."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


# These run on the controller only, so no host can be unreachable for them.
ON_THE_CONTROLLER = {
    f"local_llm.ops.rollout_{name}" for name in ("plan", "journal", "gate", "outcome", "verdict", "report")
} | {
    f"ansible.builtin.{name}" for name in ("debug", "fail", "assert", "pause", "set_fact", "add_host", "include_tasks")
}
# What runs before a rollout begins: its play ends with the first failure, and it does not ignore lost hosts.
BEFORE_THE_ROLLOUT = {
    "plan.yml",
    "begin.yml",
    "check_inventory.yml",
    "preflight.yml",
    "preflight_rollback.yml",
    "write_plans.yml",
    "refuse_beside_rollout.yml",
}


def files(*patterns: str) -> list[Path]:
    """Return the files of the checkout that match."""
    return sorted({p for pattern in patterns for p in CHECKOUT.glob(pattern) if p.is_file()})


def relative(path: Path) -> str:
    """Return a path as the checkout knows it."""
    return str(path.relative_to(CHECKOUT))


def load(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def pairs(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key), value
            yield from pairs(value)
    elif isinstance(node, list):
        for item in node:
            yield from pairs(item)


def tasks_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every task and block of a task file."""
    for item in node if isinstance(node, list) else []:
        if isinstance(item, dict):
            yield item
            for key in ("block", "rescue", "always"):
                yield from tasks_in(item.get(key))


def swallowed_failures(text: str) -> list[int]:
    """Return the numbers of lines that swallow a failure without a reason on the line or in the comment above it."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines):
        if not SWALLOWS_FAILURE.match(line) or REASON in line:
            continue
        above = number - 1
        while above >= 0 and lines[above].lstrip().startswith("#") and REASON not in lines[above]:
            above -= 1
        if above < 0 or not lines[above].lstrip().startswith(REASON):
            found.append(number + 1)
    return found


def off_the_rollout_path(node: Any) -> list[str]:
    """Return what defeats the stop of a rollout after a failure, or runs at a time of its own."""
    return [
        key for key, _value in pairs(node) if key in ("always", "handlers", "notify", "listen", "flush_handlers")
    ] + ["flush_handlers" for key, value in pairs(node) if key.endswith("meta") and value == "flush_handlers"]


def remote_and_once(tasks: Any) -> list[str]:
    """Return the names of tasks that run once and may find a host unreachable.

    With ignore_unreachable, ansible-core 2.19 then ends the whole run at once and exits with 0.
    """
    return [
        str(task.get("name"))
        for task in tasks_in(tasks)
        if task.get("run_once") and task.get("delegate_to") != "localhost" and not ON_THE_CONTROLLER & task.keys()
    ]


def unsafe_play_keywords(node: Any) -> list[str]:
    """Return play keywords that do not do what they say: a template is always true, and only linear keeps the order."""
    found = []
    for key, value in pairs(node):
        if key == "any_errors_fatal" and not isinstance(value, bool):
            found.append(f"any_errors_fatal: {value}")
        if key == "strategy" and value not in ("linear", "ansible.builtin.linear"):
            found.append(f"strategy: {value}")
    return found


def names_given(tasks: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each variable that a task file sets, with the roles whose prefix it may carry besides its own."""
    for task in tasks_in(tasks):
        other: tuple[str, ...] = ()
        for key in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
            if isinstance(task.get(key), dict):
                other = (str(task[key].get("name", "")).rpartition(".")[2],)
                # A name that is worked out at run time: any role's.
                other = PUBLIC_ROLE_NAMES if "}" in other[0] else other
        if isinstance(task.get("register"), str):
            yield task["register"], ()
        for name in task.get("ansible.builtin.set_fact") or {}:
            if name != "cacheable":
                yield name, ()
        for name in task.get("vars") or {}:
            yield name, other
        loop_var = (task.get("loop_control") or {}).get("loop_var")
        if loop_var:
            yield loop_var, ()


def without_prefix(role: str, names: Iterator[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Return the names that begin neither with the role's name nor with ansible_."""
    found = []
    for name, other in names:
        bare = name.lstrip("_")
        if bare.startswith("ansible_"):
            continue
        # The names of an internal role say that they are internal.
        hidden = name.startswith("_") or not role.startswith("_") or other
        if not hidden or not any(bare.startswith(f"{prefix.lstrip('_')}_") for prefix in (role, *other)):
            found.append(name)
    return found


PLAYBOOK_FILES = files("playbooks/**/*.yml", "molecule/**/*.yml")
ROLE_FILES = files("roles/*/tasks/**/*.yml", "roles/*/handlers/**/*.yml")
ROLLOUT_FILES = files(
    "roles/_release/**/*.yml", "roles/_driver/**/*.yml", "playbooks/upgrade.yml", "playbooks/driver.yml"
)
ROLLED_FILES = [
    path
    for path in files("roles/_release/tasks/*.yml", "roles/_driver/tasks/*.yml")
    if path.name not in BEFORE_THE_ROLLOUT
]
PYTHON_FILES = files("plugins/**/*.py", "tests/**/*.py", "tools/**/*.py", "benchmarks/**/*.py", "molecule/**/*.py")


@pytest.mark.parametrize("path", [*PLAYBOOK_FILES, *ROLE_FILES], ids=relative)
def test_no_failure_is_swallowed_without_a_written_reason(path: Path) -> None:
    found = swallowed_failures(path.read_text(encoding="utf-8"))
    assert not found, f"{relative(path)} lines {found}: write '{REASON} ...' on the line or above it, or let it fail"


@pytest.mark.parametrize("path", ROLLOUT_FILES, ids=relative)
def test_nothing_on_the_rollout_path_defeats_its_stop(path: Path) -> None:
    found = off_the_rollout_path(load(path))
    assert not found, f"{relative(path)}: {found}: an always: hides a failure, a handler runs at a time of its own"


@pytest.mark.parametrize("path", ROLLED_FILES, ids=relative)
def test_a_lost_host_cannot_end_a_rollout_as_if_all_were_well(path: Path) -> None:
    found = remote_and_once(load(path))
    assert not found, f"{relative(path)}: {found}: run_once, and a host that may be lost; use 'when' on the first host"


def test_a_remote_task_that_runs_once_is_found() -> None:
    task = {"name": "x", "run_once": True, "local_llm.ops.llm_release_info": None, "delegate_to": "gw1"}
    assert remote_and_once([{"block": [task]}]) == ["x"]
    assert remote_and_once([{"name": "y", "run_once": True, "local_llm.ops.rollout_journal": {}}]) == []


def test_the_rollout_role_has_no_handlers() -> None:
    assert not (CHECKOUT / "roles" / "_release" / "handlers").exists()


@pytest.mark.parametrize("path", [*PLAYBOOK_FILES, *ROLE_FILES], ids=relative)
def test_play_keywords_do_what_they_say(path: Path) -> None:
    assert not unsafe_play_keywords(load(path)), relative(path)


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_every_python_file_carries_the_licence(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.strip() and path.name == "__init__.py":
        return
    head = text.splitlines()[:6]
    assert all(line in head for line in HEADER), f"{relative(path)}: the first lines must be:\n" + "\n".join(HEADER)


@pytest.mark.parametrize("path", files("plugins/**/*.py"), ids=relative)
def test_a_plugin_file_holds_one_idea(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_PLUGIN_LINES, (
        f"{relative(path)} has {lines} lines; at most {MAX_PLUGIN_LINES}: split it by idea"
    )


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_role_names_and_their_variables_are_prefixed(role: Path) -> None:
    assert re.fullmatch(r"_?[a-z][a-z0-9_]*", role.name)
    stated = [(name, ()) for kind in ("defaults", "vars") for f in role.glob(f"{kind}/*.yml") for name in load(f) or {}]
    found = without_prefix(role.name, iter(stated))
    for path in sorted(role.glob("tasks/**/*.yml")):
        found += [f"{relative(path)}: {name}" for name in without_prefix(role.name, names_given(load(path)))]
    assert not found, f"begin these with {role.name}_ (registers: __{role.name.lstrip('_')}_):\n" + "\n".join(found)


@pytest.mark.parametrize("role", PUBLIC_ROLES, ids=relative)
def test_every_public_role_is_complete(role: Path) -> None:
    name = role.name
    wanted = [
        f"roles/{name}/README.md",
        f"roles/{name}/defaults/main.yml",
        f"roles/{name}/tasks/main.yml",
        f"roles/{name}/meta/main.yml",
        f"roles/{name}/meta/argument_specs.yml",
        f"molecule/{name}/molecule.yml",
        f"molecule/{name}/converge.yml",
        f"molecule/{name}/absent.yml",
    ]
    missing = [path for path in wanted if not (CHECKOUT / path).is_file()]
    missing += [
        f"molecule/{name}/{d}/test_*.py"
        for d in ("tests", "tests_absent")
        if not files(f"molecule/{name}/{d}/test_*.py")
    ]
    assert not missing, f"role {name} lacks: {', '.join(missing)}"


def test_every_scenario_has_a_lab_of_its_own() -> None:
    names = [path.parent.name for path in files("molecule/*/molecule.yml")]
    # As in tools/molecule.sh.
    labs = {("m" + name.replace("_", ""))[:12]: name for name in names}
    assert sorted(labs.values()) == sorted(names), "two scenarios share a lab: call one of them otherwise"
    assert all(re.fullmatch(r"[a-z][a-z0-9]+", lab) for lab in labs), "small letters, digits and _ only"


@pytest.mark.parametrize("path", files("tests/sanity/ignore-*.txt"), ids=relative)
def test_every_ignored_sanity_finding_has_a_reason(path: Path) -> None:
    bad = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not re.search(r" # \w", line)]
    assert not bad, f"{relative(path)}: write the reason behind #: {bad}"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("  ignore_errors: true\n", [1]),
        ("  failed_when: false\n", [1]),
        ("  # why not\n  failed_when: false\n", [2]),
        ("  failed_when: false  # reason: the unit may be absent\n", []),
        ("  # reason: the unit may be absent,\n  # also after a crash\n  failed_when: false\n", []),
        ("  # reason: of the task before\n  register: x\n  failed_when: false\n", [3]),
        ("  ignore_errors: false\n", []),
        ("  failed_when: false_positive\n", []),
        ('  ignore_errors: "{{ x }}"\n', [1]),
    ],
)
def test_a_swallowed_failure_is_found(text: str, lines: list[int]) -> None:
    assert swallowed_failures(text) == lines


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("- block: []\n  always: []\n", ["always"]),
        ("- hosts: a\n  tasks:\n    - block:\n        - notify: x\n", ["notify"]),
        ("- hosts: a\n  handlers: []\n", ["handlers"]),
        ("- ansible.builtin.meta: flush_handlers\n", ["flush_handlers"]),
        ("- name: always say notify\n  tags: [always]\n", []),
    ],
)
def test_what_defeats_the_stop_of_a_rollout_is_found(text: str, found: list[str]) -> None:
    assert off_the_rollout_path(yaml.safe_load(text)) == found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("- any_errors_fatal: '{{ x }}'\n", 1),
        ("- any_errors_fatal: true\n", 0),
        ("- strategy: free\n", 1),
        ("- strategy: linear\n", 0),
    ],
)
def test_an_unsafe_play_keyword_is_found(text: str, count: int) -> None:
    assert len(unsafe_play_keywords(yaml.safe_load(text))) == count


@pytest.mark.parametrize(
    ("role", "text", "found"),
    [
        ("host", "- register: __host_x\n", []),
        ("host", "- register: x\n", ["x"]),
        ("host", "- block:\n    - ansible.builtin.set_fact: {host_x: 1, y: 2}\n", ["y"]),
        (
            "host",
            "- ansible.builtin.include_role: {name: local_llm.ops.gateway}\n  vars: {gateway_x: 1, z_x: 2}\n",
            ["z_x"],
        ),
        ("_release", "- register: _release_x\n", []),
        ("_release", "- register: release_x\n", ["release_x"]),
        ("host", "- vars: {ansible_become: true}\n", []),
    ],
)
def test_a_variable_without_its_prefix_is_found(role: str, text: str, found: list[str]) -> None:
    assert without_prefix(role, names_given(yaml.safe_load(text))) == found
