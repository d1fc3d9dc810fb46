# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python environment of an engine: only what is pinned, and it works wherever it is moved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError
from ansible_collections.local_llm.ops.plugins.module_utils._venv_build import build_venv, relocate, venv_problems
from ansible_collections.local_llm.ops.plugins.module_utils._venv_requirements import lock_entries

HASH = "--hash=sha256:" + "a" * 64


def problems(lock: str | None = None, **artifact: Any) -> list[tuple[str, Any, str]]:
    return venv_problems("vllm_artifacts[1]", {"requirements": ["vllm==0.33.0"], **artifact}, lock)


@pytest.mark.parametrize(
    "text", ["vllm", "vllm>=0.33", "vllm==0.33.*", "vllm @ https://x/y.whl", "git+https://x", "-r x", "", "vllm==", 7]
)
def test_a_requirement_that_is_not_exact_is_refused(text: Any) -> None:
    found = problems(requirements=[text])
    assert [(path, value) for path, value, _fix in found] == [("vllm_artifacts[1].requirements", text)]
    assert "==" in found[0][2]


@pytest.mark.parametrize("text", ["vllm==0.33.0", "vllm[audio]==0.33.0", "torch==2.13.0+cpu", "A.b_c==1.0rc1"])
def test_an_exact_requirement_is_taken(text: str) -> None:
    assert problems(requirements=[text]) == []


def test_nothing_to_install_is_refused() -> None:
    assert "lock_file" in problems(requirements=[])[0][2]


@pytest.mark.parametrize(
    "argument", ["--upgrade", "-r", "--target=/x", "--index-url=https://x", "--pre", "--trusted-host", "--python", 1]
)
def test_arguments_that_undo_the_pins_are_refused(argument: Any) -> None:
    found = problems(extra_arguments=[argument])
    assert len(found) == 1 and found[0][0] == "vllm_artifacts[1].extra_arguments"


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    address = "https://user:geheim@index.example.com/simple"
    for found in (problems(index_url=address), problems(extra_arguments=[f"--find-links={address}"])):
        assert len(found) == 1 and "geheim" not in repr(found) and "netrc" in found[0][2]


@pytest.mark.parametrize(
    ("lock", "value"),
    [
        (f"vllm==0.33.0 {HASH}\ntorch==2.0\n", "torch==2.0"),
        (f"vllm==0.33.0 {HASH}\ntorch>=2.0 {HASH}\n", "torch>=2.0"),
        (f"torch==2.0 {HASH}\n", "vllm==0.33.0"),
        (f"vllm==0.32.0 {HASH}\n", "vllm==0.33.0"),
        (f"--index-url https://x\nvllm==0.33.0 {HASH}\n", "--index-url https://x"),
        ("# nothing\n", "no package"),
        ("vllm==0.33.0 --hash=sha256:abc\n", "vllm==0.33.0"),
    ],
)
def test_a_lock_file_with_a_hole_is_refused(lock: str, value: str) -> None:
    assert value in [found[1] for found in problems(lock)]


def test_a_lock_file_as_uv_writes_it_is_taken() -> None:
    lock = f"# by uv\nvllm==0.33.0 \\\n    {HASH} \\\n    {HASH}\n    # via x\n"
    lock += f"torch==2.0 ; python_version >= '3.8' \\\n    {HASH}\n"
    assert problems(lock) == []
    assert problems(lock, requirements=["vllm>=0.30"]) == []
    assert len(lock_entries(lock)) == 2


def tree(root: Path) -> Path:
    programs = root / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "tool").write_text(f"#!{programs}/python\nimport sys\nprint('args', sys.argv[1:], sys.argv[0])\n")
    (programs / "long").write_text(f"#!/bin/sh\n'''exec' \"{programs}/python\" \"$0\" \"$@\"\n' '''\nprint('long')\n")
    (programs / "shell").write_text("#!/bin/sh\necho shell\n")
    (programs / "activate").write_text(f"VIRTUAL_ENV={root}\n")
    (root / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = python -m venv {root}\nversion = 3.11\n")
    for name in ("tool", "long", "shell"):
        (programs / name).chmod(0o755)
    return root


def test_programs_work_after_the_environment_was_moved(tmp_path: Path) -> None:
    relocate(str(tree(tmp_path / "incoming")))
    final = tmp_path / "a place" / "final"
    final.parent.mkdir()
    (tmp_path / "incoming").rename(final)
    link = tmp_path / "link"
    link.symlink_to(final / "bin/tool")
    for program, words in ((final / "bin/tool", "args ['a b']"), (link, "args ['a b']"), (final / "bin/long", "long")):
        assert words in subprocess.run([program, "a b"], capture_output=True, text=True, check=True).stdout
    assert (final / "bin/shell").read_text() == "#!/bin/sh\necho shell\n"
    assert not (final / "bin/activate").exists()
    assert "incoming" not in (final / "pyvenv.cfg").read_text()
    assert (final / "bin/tool").stat().st_mode & 0o777 == 0o755


def test_a_program_that_names_its_place_elsewhere_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "incoming")
    (root / "bin/tool").write_text(f"#!{root}/bin/python\nHOME = '{root}'\n")
    with pytest.raises(TreeError, match=r"bin/tool names the path"):
        relocate(str(root))


class Installer:
    """uv, pip and Python, as far as a build asks them."""

    def __init__(self, root: Path, fails: str = "", installed: str = "vllm==0.33.0\nTorch==2.0\n") -> None:
        self.root, self.fails, self.installed = root, fails, installed
        self.calls: list[tuple[list[str], dict[str, str]]] = []

    def __call__(self, command: list[str], environ_update: dict[str, str]) -> tuple[int, str, str]:
        self.calls.append((command, environ_update))
        text = " ".join(command)
        if self.fails and self.fails in text:
            return 1, "", "ERROR: hash mismatch\n"
        if " venv" in text:
            tree(self.root)
        return 0, self.installed if "importlib" in text else "", ""


def build(tmp_path: Path, installer: Installer, uv: str | None = None, **more: Any) -> dict[str, Any]:
    artifact = {
        "requirements": ["vllm==0.33.0"],
        "python": "python3",
        "index_url": None,
        "extra_arguments": ["--no-deps"],
        "size_bytes": 1,
        **more.pop("artifact", {}),
    }
    params = {"engine": "vllm", "version": "1", "artifact": artifact, "engines_directory": str(tmp_path),
              "reserve_bytes": 1, "lock_path": None, **more}  # fmt: skip
    return build_venv(installer, params, str(installer.root), uv)


@pytest.mark.parametrize(("uv", "name"), [(None, "pip"), ("/usr/bin/uv", "uv")])
def test_the_installer_gets_pins_and_a_place_of_its_own(tmp_path: Path, uv: str | None, name: str) -> None:
    installer = Installer(tmp_path / ".incoming/vllm-1")
    origin = build(tmp_path, installer, uv, artifact={"index_url": "https://x/simple"})
    assert origin["installer"] == name and origin["packages"] == {"vllm": "0.33.0", "torch": "2.0"}
    command, environment = installer.calls[1]
    assert command[-4:] == ["--index-url", "https://x/simple", "--no-deps", "vllm==0.33.0"]
    assert environment["TMPDIR"].startswith(str(tmp_path)) and environment["UV_PYTHON_DOWNLOADS"] == "never"
    assert not (tmp_path / ".incoming/vllm-1.work").exists()


def test_a_lock_file_is_installed_with_its_hashes_and_nothing_else(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("x")
    installer = Installer(tmp_path / ".incoming/vllm-1")
    origin = build(tmp_path, installer, lock_path=str(lock))
    assert installer.calls[1][0][-3:] == ["--require-hashes", "-r", str(lock)]
    assert len(origin["lock_sha256"]) == 64


@pytest.mark.parametrize(
    ("installer", "words"),
    [
        ({"fails": "pip install"}, ["installing the packages failed (1)", "hash mismatch", "vllm_artifacts['1']"]),
        ({"fails": " venv"}, ["making the environment with python3 failed", "vllm_artifacts['1'].python"]),
        ({"installed": "vllm==0.32.0\n"}, ["vllm is 0.32.0 after the installation, 0.33.0 was asked for"]),
    ],
)
def test_what_fails_is_named_with_what_the_installer_said(
    tmp_path: Path, installer: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(TreeError) as caught:
        build(tmp_path, Installer(tmp_path / ".incoming/vllm-1", **installer))
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / ".incoming/vllm-1.work").exists()


def test_too_little_room_is_said_before_anything_is_made(tmp_path: Path) -> None:
    installer = Installer(tmp_path / ".incoming/vllm-1")
    with pytest.raises(TreeError, match=r"needs about .* size_bytes in vllm_artifacts"):
        build(tmp_path, installer, artifact={"size_bytes": 1 << 60})
    assert installer.calls == []
