# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Build the Python environment of an engine aside, so that it can be renamed into place.

A Python environment names its own path in the first line of its programs. These lines are written anew, so that each
program starts the interpreter beside it; then the directory works under every name, and nothing in it differs from one
host to the next but times.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError, free_bytes, sha256_file
from ansible_collections.local_llm.ops.plugins.module_utils._venv_requirements import (
    argument_problems,
    index_problem,
    lock_problems,
    pins,
    plain_name,
    requirement_problems,
)

RunCommand = Callable[..., "tuple[int, str, str]"]

_LAST_LINES = 8
# A program that is read by sh and by Python: sh starts the interpreter beside it, Python sees a text.
_FIRST_LINES = "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n"
_LONG_FORM = re.compile(r"\A#!/bin/sh\n'''exec' .*\n' '''\n")
_LIST = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'] + '==' + d.version)\n"


def venv_problems(place: str, artifact: dict[str, Any], lock_text: str | None) -> list[tuple[str, Any, str]]:
    """Return (key path, value, fix) for what is wrong with an artifact of the method venv."""
    requirements = list(artifact.get("requirements") or [])
    problems = requirement_problems(f"{place}.requirements", requirements, lock_text is not None)
    problems += argument_problems(f"{place}.extra_arguments", list(artifact.get("extra_arguments") or []))
    problems += index_problem(f"{place}.index_url", artifact.get("index_url"))
    if lock_text is not None and not problems:
        problems += lock_problems(f"{place}.lock_file", lock_text, requirements)
    return problems


def relocate(root: str) -> None:
    """Take the environment's own path out of its programs; raise TreeError when one still has it."""
    own = root.encode("utf-8")
    programs = os.path.join(root, "bin")
    for name in sorted(os.listdir(programs)):
        path = os.path.join(programs, name)
        if name.lower().startswith("activate") or name == "deactivate.bat":
            os.unlink(path)  # for people who type; they name the path
            continue
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as stream:
            content = stream.read()
        if own not in content:
            continue
        text = content.decode("utf-8", "surrogateescape")
        first, _newline, rest = text.partition("\n")
        if _LONG_FORM.match(text):
            text = _LONG_FORM.sub("", text)
        elif first.startswith("#!") and "python" in first:
            text = rest
        text = _FIRST_LINES + text
        if root in text:
            raise TreeError(f"{path} names the path {root} beyond its first line and would not work elsewhere.")
        with open(path, "wb") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
    settings = os.path.join(root, "pyvenv.cfg")
    with open(settings, encoding="utf-8") as stream:
        lines = [line for line in stream if root not in line]
    with open(settings, "w", encoding="utf-8") as stream:
        stream.writelines(lines)


def _must(
    run_command: RunCommand, label: str, what: str, command: Sequence[str], environment: dict[str, str], fix: str
) -> str:
    code, out, err = run_command(list(command), environ_update=environment)
    if code != 0:
        last = [line for line in (out + "\n" + err).splitlines() if line.strip()][-_LAST_LINES:]
        said = " | ".join(line.strip()[:300] for line in last) or "nothing"
        raise TreeError(f"{label}: {what} failed ({code}). Nothing was installed. It said: {said}. {fix}")
    return out


def _installed(run_command: RunCommand, label: str, python: str) -> dict[str, str]:
    out = _must(run_command, label, "listing the packages", [python, "-I", "-c", _LIST], {}, "Look at the host.")
    return {plain_name(name): version for name, _equals, version in (line.partition("==") for line in out.split())}


def build_venv(run_command: RunCommand, params: dict[str, Any], incoming: str, uv: str | None) -> dict[str, Any]:
    """Make the environment in a new directory and install into it; return what the manifest says about the origin."""
    artifact, label = params["artifact"], f"{params['engine']} {params['version']}"
    wanted, free = artifact["size_bytes"] + params["reserve_bytes"], free_bytes(incoming)
    if free < wanted:
        raise TreeError(
            f"{label}: needs about {artifact['size_bytes']} bytes in {params['engines_directory']} and "
            f"{params['reserve_bytes']} must stay free, only {free} are free. Remove old versions, give the directory "
            f"a larger file system, or correct size_bytes in {params['engine']}_artifacts."
        )
    work, final = incoming + ".work", os.path.join(params["engines_directory"], params["engine"], params["version"])
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work, mode=0o700)
    # The installers unpack in the same file system: /tmp is often small, and files of the cache become installed ones.
    environment = {
        "LC_ALL": "C.UTF-8", "TMPDIR": work, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_CACHE_DIR": os.path.join(work, "cache"), "UV_LINK_MODE": "hardlink", "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    python = os.path.join(incoming, "bin/python")
    asked = ["--require-hashes", "-r", params["lock_path"]] if params["lock_path"] else artifact["requirements"]
    options = [*(["--index-url", artifact["index_url"]] if artifact["index_url"] else []), *artifact["extra_arguments"]]
    where = f"Correct {params['engine']}_artifacts[{params['version']!r}]"
    try:
        if uv:
            create = [uv, "venv", "--no-config", "--python", artifact["python"], incoming]
            install = [uv, "pip", "install", "--no-config", "--python", python, *options, *asked]
        else:
            create = [artifact["python"], "-m", "venv", incoming]
            install = [python, "-I", "-m", "pip", "install", "--no-compile", "--no-cache-dir", *options, *asked]
        interpreter = f"{where}.python, or install that Python and its venv module on the host."
        _must(run_command, label, f"making the environment with {artifact['python']}", create, environment, interpreter)
        _must(run_command, label, "installing the packages", install, environment, where + ".")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    packages = _installed(run_command, label, python)
    for name, version in pins(artifact["requirements"]).items():
        if packages.get(name) != version:
            raise TreeError(f"{label}: {name} is {packages.get(name)} after the installation, {version} was asked for.")
    # Byte code now: the service may not write here. The status counts files that are no Python for this version.
    names = ["-s", incoming, "-p", final, os.path.join(incoming, "lib")]
    run_command([python, "-I", "-m", "compileall", "-q", "-j", "0", *names], environ_update={"LC_ALL": "C.UTF-8"})
    relocate(incoming)
    return {**venv_origin(params), "installer": "uv" if uv else "pip", "packages": packages}


def venv_origin(params: dict[str, Any]) -> dict[str, Any]:
    """Return what tells one artifact of the method venv from another."""
    lock = params.get("lock_path")
    return {
        "requirements": sorted(params["artifact"]["requirements"]),
        "lock_sha256": sha256_file(lock) if lock else params.get("lock_sha256") or "",
        "python": params["artifact"]["python"],
    }
