# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Fill the incoming directory of an engine version and let the engine prove itself there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._archive_unpack import unpack, unpacked_bytes
from ansible_collections.local_llm.ops.plugins.module_utils._dpkg_tree import copy_packages
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.module_utils._engines._base import Engine
from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import (
    TreeError,
    free_bytes,
    make_directories,
    path_problem,
    sha256_file,
)
from ansible_collections.local_llm.ops.plugins.module_utils._venv_build import build_venv, venv_origin, venv_problems
from ansible_collections.local_llm.ops.plugins.module_utils._zstd_archive import plain_tar

RunCommand = Callable[..., tuple[int, str, str]]


def check_artifact(params: dict[str, Any], architecture: str) -> None:
    """Put the SHA-256 for this architecture into the artifact; raise TreeError when it cannot be used here."""
    artifact = params["artifact"]
    place = f"{params['engine']}_artifacts[{params['version']!r}]"
    artifact["wanted_sha256"] = ""
    methods = getattr(get_engine(params["engine"]), "install_methods", ("archive", "package"))
    if artifact["method"] not in methods:
        raise TreeError(f"{place}.method = {artifact['method']!r}: {params['engine']} takes {' or '.join(methods)}.")
    if artifact["method"] == "package":
        return
    if artifact["method"] == "venv":
        _check_venv(params, place)
        return
    digest = artifact["sha256"].get(architecture)
    if digest is None:
        known = ", ".join(sorted(artifact["sha256"])) or "nothing"
        raise TreeError(f"{place}.sha256 has no {architecture!r}, only {known}. Add the SHA-256 for this architecture.")
    if not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
        raise TreeError(f"{place}.sha256.{architecture} = {digest!r} is no SHA-256. Write 64 small hex digits.")
    if artifact["entry"] and path_problem(artifact["entry"]):
        raise TreeError(f"{place}.entry = {artifact['entry']!r}: {path_problem(artifact['entry'])}.")
    artifact["wanted_sha256"] = digest


def _check_venv(params: dict[str, Any], place: str) -> None:
    """Fill in what a description of a Python environment may leave out; raise TreeError when it cannot be trusted."""
    artifact, lock, text = params["artifact"], params.get("lock_path"), None
    for key in ("requirements", "extra_arguments"):
        artifact[key] = artifact[key] or []
    artifact["python"] = artifact["python"] or "python3"
    if lock:
        try:
            with open(lock, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, ValueError) as error:
            raise TreeError(f"{place}.lock_file: {lock} cannot be read on this host ({error}). Bring it.") from None
    elif artifact["lock_file"]:
        # The file is on the controller still: its SHA-256 stands for it, and nothing can be installed yet.
        if not re.fullmatch(r"[0-9a-f]{64}", str(params.get("lock_sha256") or "")):
            raise TreeError(f"{place}.lock_file = {artifact['lock_file']!r}: give lock_path, or its lock_sha256.")
        return
    for path, value, fix in venv_problems(place, artifact, text):
        raise TreeError(f"{path} = {value!r}: {fix}")


def same_origin(manifest: dict[str, Any], params: dict[str, Any]) -> bool:
    """Tell whether a published version was made from this artifact."""
    artifact = params["artifact"]
    if manifest.get("method") != artifact["method"]:
        return False
    if artifact["method"] == "archive":
        return bool(manifest.get("archive_sha256") == artifact["wanted_sha256"])
    if artifact["method"] == "venv":
        return all(manifest.get(key) == value for key, value in venv_origin(params).items())
    return bool(manifest.get("packages", {}).get(artifact["package"]) == artifact["package_version"])


def wrapper_text(program: str, library_directory: str = "") -> str:
    """Return the script that stands at the engine's entry and starts a program elsewhere in the directory."""
    lines = ["#!/bin/sh", "# Written by local_llm.ops: starts the engine with the libraries of this directory."]
    lines.append('here=$(cd "$(dirname "$0")/.." && pwd)')
    if library_directory:
        lines += [f'LD_LIBRARY_PATH="$here"/{shlex.quote(library_directory)}', "export LD_LIBRARY_PATH"]
    lines.append(f'exec "$here"/{shlex.quote(program)} "$@"')
    return "\n".join(lines) + "\n"


def write_wrapper(root: str, entry: str, text: str) -> None:
    """Write the script at the engine's entry."""
    path = os.path.join(root, entry)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(path, 0o755)


def _fill_from_archive(run_command: RunCommand, params: dict[str, Any], incoming: str, entry: str) -> dict[str, Any]:
    artifact, archive = params["artifact"], params["archive_path"]
    label = f"{params['engine']} {params['version']}"
    if not archive or not os.path.isfile(archive):
        raise TreeError(f"{label}: archive_path = {archive!r} is no file on this host. Bring the archive there first.")
    found = sha256_file(archive)
    if found != artifact["wanted_sha256"]:
        raise TreeError(
            f"{label}: {artifact['src']} has SHA-256 {found}, {params['engine']}_artifacts says "
            f"{artifact['wanted_sha256']}. Nothing was unpacked. Fetch it again, or correct the SHA-256 if the new "
            "file is meant."
        )
    with plain_tar(run_command, archive) as tar:
        wanted, free = unpacked_bytes(tar) + params["reserve_bytes"], free_bytes(incoming)
        if free < wanted:
            raise TreeError(
                f"{label}: needs {wanted} bytes in {params['engines_directory']} ({params['reserve_bytes']} of them "
                f"stay free), only {free} are free. Remove old versions, or give the directory a larger file system."
            )
        unpack(tar, incoming)
    own = artifact["entry"]
    if own and own != entry:
        if not os.path.isfile(os.path.join(incoming, own)):
            raise TreeError(f"{label}: the archive has no file {own!r}. Correct entry in {params['engine']}_artifacts.")
        os.chmod(os.path.join(incoming, own), 0o755)
        write_wrapper(incoming, entry, wrapper_text(own, os.path.dirname(own)))
    return {"archive_sha256": found}


def fill(
    run_command: RunCommand, params: dict[str, Any], incoming: str, entry: str, uv: str | None = None
) -> dict[str, Any]:
    """Fill a new incoming directory; return what the manifest says about the origin. uv: the program, where it is."""
    shutil.rmtree(incoming, ignore_errors=True)
    make_directories(os.path.dirname(incoming))
    artifact = params["artifact"]
    if artifact["method"] == "archive":
        origin = _fill_from_archive(run_command, params, incoming, entry)
    elif artifact["method"] == "venv":
        if artifact["lock_file"] and not params["lock_path"]:
            raise TreeError(
                f"{params['engine']} {params['version']}: lock_path is not given. Bring the lock file first."
            )
        origin = build_venv(run_command, params, incoming, uv)
    else:
        os.makedirs(incoming, mode=0o700)
        origin = copy_packages(run_command, artifact["package"], artifact["package_version"], incoming)
        program = f"libexec/{os.path.basename(entry)}"
        if not os.path.isfile(os.path.join(incoming, program)):
            raise TreeError(
                f"package {artifact['package']} has no {os.path.basename(entry)}. Name the package that has it."
            )
        write_wrapper(incoming, entry, wrapper_text(program, "lib"))
    if not os.path.isfile(os.path.join(incoming, entry)):
        raise TreeError(
            f"{params['engine']} {params['version']}: there is no {entry} in it. Name the program with entry in "
            f"{params['engine']}_artifacts."
        )
    return origin


def prove(run_command: RunCommand, root: str, engine: Engine, version: str = "") -> str:
    """Run the engine for its version and check that it knows every flag we use; return the first line it printed."""
    program = os.path.join(root, engine.entry)
    environment = {"LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    code, out, err = run_command([program, *engine.version_arguments], environ_update=environment)
    if code != 0:
        last = (err + out).strip().splitlines()[-1:] or ["no output"]
        raise TreeError(
            f"{engine.name}: '{engine.entry} {' '.join(engine.version_arguments)}' ended with {code}: {last[0]}. "
            "Nothing was installed. The engine does not fit this host: check architecture and libraries."
        )
    lines = [line for line in (out + "\n" + err).splitlines() if line.strip()]
    own_choice = getattr(engine, "version_line", None)
    if own_choice:
        said = str(own_choice(lines))
    else:
        said = next((line for line in lines if line.startswith("version")), lines[0] if lines else "")
    problem = engine.version_problem(version, said) if version and hasattr(engine, "version_problem") else ""
    if problem:
        raise TreeError(f"{engine.name} {version}: {problem}. Nothing was installed.")
    code, help_out, help_err = run_command([program, *engine.help_arguments], environ_update=environment)
    broken = re.search(getattr(engine, "broken_pattern", r"(?!)"), "\n".join((out, err, help_out, help_err)))
    if broken:
        raise TreeError(
            f"{engine.name}: the engine cannot load a part of itself: {broken[1].strip()[:300]}. Nothing was "
            "installed. "
            f"Install the missing library on the host (for lasting: {engine.name}_system_packages)."
        )
    known = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", help_out + help_err))
    unknown = [flag for flag in engine.required_flags if flag not in known]
    if unknown:
        raise TreeError(
            f"{engine.name}: this version does not know {', '.join(unknown)}. Nothing was installed. "
            "Use a newer version of the engine."
        )
    return said
