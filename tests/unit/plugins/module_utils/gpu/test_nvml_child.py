# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent of the probe: whatever the child does, it comes back in time with a plain status."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_child
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Ask, probe

GPU = r'{"gpu": 0, "values": {"name": "Card"}, "errors": {}}'
FACTS = '{"driver_version": "1.2", "nvml_version": "3", "cuda_version": 12080}'


def interpreter(directory: Path, body: str) -> str:
    """Return a program that stands for the interpreter and says what a test wants."""
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def ask(directory: Path, body: str, **options: Any) -> dict[str, Any]:
    values = {"deadline_seconds": 5.0, "sysfs_root": str(directory), **options}
    return probe(Ask(python=interpreter(directory, body), **values))


def test_garbage_between_the_lines_breaks_nothing(tmp_path: Path) -> None:
    garbage = "printf 'hello\\n\\377\\376 \\000 half {\\n[1]\\n7\\nnull\\n'"
    body = f"cat >/dev/null; {garbage}; echo '{FACTS}'; {garbage}; echo '{GPU}'; {garbage}; echo '{{\"done\": true}}'"
    result = ask(tmp_path, body)
    assert result["nvml"]["status"] == "ok"
    assert (result["nvml"]["driver_version"], result["nvml"]["cuda_version"]) == ("1.2", "12.8")
    assert [gpu["name"] for gpu in result["gpus"]] == ["Card"]


def test_a_child_that_dies_of_a_signal_is_an_error_that_names_it(tmp_path: Path) -> None:
    body = f'cat >/dev/null; echo \'{GPU}\'; echo \'{{"calling": "nvmlDeviceGetName", "gpu": 1}}\'; kill -SEGV $$'
    result = ask(tmp_path, body)
    assert result["nvml"]["status"] == "error"
    assert "SIGSEGV" in result["nvml"]["error"]
    assert "nvmlDeviceGetName (GPU 1)" in result["nvml"]["error"]
    assert result["gpus"] == []


def test_a_child_that_ends_early_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    nvml = ask(tmp_path, "echo first >&2; echo 'SyntaxError: broken' >&2; exit 3")["nvml"]
    assert nvml["status"] == "error"
    assert "status 3" in nvml["error"]
    assert "SyntaxError: broken" in nvml["error"]
    assert "first" not in nvml["error"]


def test_a_package_that_is_missing_says_who_installs_it(tmp_path: Path) -> None:
    line = '{"failed": "import", "code": null, "name": null, "error": "No module named pynvml"}'
    nvml = ask(tmp_path, f"cat >/dev/null; echo '{line}'")["nvml"]
    assert (nvml["status"], nvml["code"]) == ("missing_package", None)
    assert "nvml_python" in nvml["error"] and "local_llm.ops.host" in nvml["error"]


def test_an_interpreter_without_the_package_is_missing_package(tmp_path: Path) -> None:
    nvml = ask(tmp_path, f'exec "{sys.executable}" -I -S "$@"')["nvml"]
    assert nvml["status"] == "missing_package"


def test_an_interpreter_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    nvml = probe(Ask(python=str(tmp_path / "none"), sysfs_root=str(tmp_path)))["nvml"]
    assert nvml["status"] == "error"
    assert str(tmp_path / "none") in nvml["error"] and "nvml_python" in nvml["error"]


def test_a_directory_without_the_library_is_missing_library_and_asks_nobody_else(tmp_path: Path) -> None:
    nvml = ask(tmp_path, "exit 9", library_directory=str(tmp_path))["nvml"]
    assert nvml["status"] == "missing_library"
    assert "holds no libnvidia-ml.so.1" in nvml["error"]


@pytest.mark.parametrize(
    ("calling", "status", "call"),
    [
        (None, "error", "the start of the interpreter"),
        ("import pynvml", "error", "import pynvml"),
        ("/proc/4711", "error", "/proc/4711"),
        ("nvmlInit", "hung", "nvmlInit"),
    ],
)
def test_silence_ends_at_the_deadline_and_is_the_drivers_only_in_a_call_of_nvml(
    tmp_path: Path, calling: str | None, status: str, call: str
) -> None:
    said = f'echo \'{{"calling": "{calling}", "gpu": null}}\';' if calling else ""
    started = time.monotonic()
    nvml = ask(tmp_path, f"cat >/dev/null; {said} exec sleep 60", deadline_seconds=0.3)["nvml"]
    assert time.monotonic() - started < 1.5
    assert (nvml["status"], nvml["hung_call"], nvml["code"]) == (status, call, None)
    assert ("reboot" in nvml["error"], "raise deadline_seconds" in nvml["error"]) == (
        status == "hung",
        status == "error",
    )


def test_a_child_that_never_reads_its_program_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nvml_child, "source", lambda ask: b"#" * 1_000_000)
    nvml = ask(tmp_path, "exec sleep 60", deadline_seconds=0.3)["nvml"]
    assert (nvml["status"], nvml["hung_call"]) == ("error", "the start of the interpreter")


def test_a_child_that_cannot_be_killed_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    class Kept(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Kept)
    kill = os.killpg
    monkeypatch.setattr(os, "killpg", lambda group, number: left.append(group))
    started = time.monotonic()
    calling = '{"calling": "nvmlDeviceGetName", "gpu": 1}'
    body = f"cat >/dev/null; echo '{FACTS}'; echo '{GPU}'; echo '{calling}'; exec sleep 60"
    try:
        result = ask(tmp_path, body, deadline_seconds=0.3)
        assert time.monotonic() - started < 1.5
        assert result["nvml"]["status"] == "hung"
        assert [gpu["name"] for gpu in result["gpus"]] == ["Card"]
        os.kill(left[0], 0)  # it is still there, in a session of its own
        assert os.getsid(left[0]) == left[0]
        # Nothing waits for it later either: not the garbage collector, not the next child.
        assert [child.wait(0.1) for child in children] == [-signal.SIGKILL]
    finally:
        for group in left:
            kill(group, signal.SIGKILL)
            os.waitpid(group, 0)


def test_a_child_that_says_done_and_stays_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nvml_child, "END_SECONDS", 0.1)
    started = time.monotonic()
    result = ask(tmp_path, f"cat >/dev/null; echo '{GPU}'; echo '{{\"done\": true}}'; exec sleep 60")
    assert time.monotonic() - started < 1.5
    assert result["nvml"]["status"] == "ok"


def test_a_child_that_closes_its_output_and_stays_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nvml_child, "END_SECONDS", 0.1)
    nvml = ask(tmp_path, "cat >/dev/null; exec sleep 60 >&- 2>&-")["nvml"]
    assert nvml["status"] == "error"


def test_a_flood_ends_before_the_memory_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nvml_child, "MAX_OUTPUT_BYTES", 100_000)
    nvml = ask(tmp_path, "cat >/dev/null; exec cat /dev/zero")["nvml"]
    assert nvml["status"] == "error"
    assert "100000 bytes" in nvml["error"]


def test_no_descriptor_and_no_zombie_stays(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for body in ("exit 0", "exec sleep 60"):
        ask(tmp_path, body, deadline_seconds=0.2)
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_library_directory_goes_first_and_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")
    (tmp_path / "libnvidia-ml.so.1").touch()
    nvml = ask(tmp_path, 'echo "$LD_LIBRARY_PATH $PWD" >&2; exit 1', library_directory=str(tmp_path))["nvml"]
    assert f"{tmp_path}:/elsewhere /" in nvml["error"]


def test_the_probe_stands_alone_and_fits_a_pipe() -> None:
    program = _nvml_child.source(Ask())
    assert b"import ansible" not in program and b"from ansible" not in program
    assert len(program) < 65536
    compile(program, "probe", "exec")


def test_the_default_interpreter_is_that_of_the_tools_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nvml_child, "TOOLS_PYTHON", str(tmp_path / "python"))
    assert Ask().interpreter == sys.executable
    interpreter(tmp_path, "exit 0")
    assert Ask().interpreter == str(tmp_path / "python")
    assert Ask(python="/usr/bin/python3").interpreter == "/usr/bin/python3"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"deadline_seconds": 0.5}, ["deadline_seconds: 0.5", "1 to 600"]),
        ({"deadline_seconds": 601}, ["deadline_seconds: 601"]),
        ({"deadline_seconds": float("nan")}, ["deadline_seconds: nan"]),
        ({"python": "/nonexistent/python"}, ["nvml_python: /nonexistent/python"]),
        ({"python": "/"}, ["nvml_python: /"]),
        ({"library_directory": "/nonexistent"}, ["nvml_library_directory: /nonexistent"]),
        ({"procfs_root": "/etc/passwd"}, ["procfs_root: /etc/passwd"]),
        ({"sysfs_root": "/nonexistent"}, ["sysfs_root: /nonexistent"]),
    ],
)
def test_a_bad_option_is_named_with_its_value(options: dict[str, Any], words: list[str]) -> None:
    (problem,) = Ask(**options).problems()
    assert [word for word in words if word not in problem] == []


def test_good_options_have_no_problems(tmp_path: Path) -> None:
    assert Ask(python=sys.executable, library_directory=str(tmp_path), deadline_seconds=1).problems() == []


def test_lost_gpus_keep_no_address_when_it_would_be_a_guess(tmp_path: Path) -> None:
    for address in ("0000:01:00.0", "0000:02:00.0"):
        device = tmp_path / "bus/pci/devices" / address
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030200\n")
    gpus: list[dict[str, Any]] = [{"pci": {"address": None, "bus": None, "numa_node": None}}]
    _nvml_child.complete_addresses(gpus, str(tmp_path))
    assert gpus[0]["pci"]["address"] is None
