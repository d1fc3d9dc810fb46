# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out llama.cpp so that it runs on any x86-64 Linux: the engine with its own loader and C library.

bin/llama-server is a shell script. It starts lib/llama-server through lib/ld-linux-x86-64.so.2 with --library-path.
The CPU backends lie beside the loader, because the engine looks for them in the directory of the running executable,
and that is the loader. (Debian's build looks in /usr/lib/x86_64-linux-gnu/ggml/backends0 first.)
"""

from __future__ import annotations

import shutil
from pathlib import Path

from local_lab.shell import LabError, run

LOADER = "ld-linux-x86-64.so.2"
WRAPPER = f"""#!/bin/sh
# The engine with its own loader and libraries, so that it runs on any x86-64 Linux.
here=$(cd "$(dirname "$0")/../lib" && pwd)
exec "$here/{LOADER}" --argv0 llama-server --library-path "$here" "$here/llama-server" "$@"
"""


def unpack(files: list[Path], root: Path) -> None:
    """Unpack .deb files over each other."""
    root.mkdir(parents=True)
    for file in files:
        run("dpkg-deb", "-x", str(file), str(root))


def needed_libraries(loader: Path, program: Path, search: list[Path]) -> list[Path]:
    """Return the shared libraries a program loads, as the loader itself finds them."""
    path = ":".join(str(directory) for directory in search)
    lines = run(str(loader), "--library-path", path, "--list", str(program)).stdout.splitlines()
    found = []
    for line in lines:
        name, arrow, rest = line.strip().partition(" => ")
        if arrow and rest.startswith("not found"):
            raise LabError(f"{program.name} needs {name}, which none of the fetched packages has.")
        if arrow and rest.startswith("/"):
            found.append(Path(rest.rsplit(" (", 1)[0]))
    return found


def lay_out(root: Path, tree: Path) -> None:
    """Copy what llama-server needs from unpacked packages into a tree with bin/ and lib/."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    search = [libraries, libraries / "llama"]
    loader, server = libraries / LOADER, root / "usr/bin/llama-server"
    backends = sorted((libraries / "ggml").rglob("libggml-cpu-*.so"))
    if not backends:
        raise LabError(f"No CPU backend under {libraries}/ggml. Has the package libggml0 changed its layout?")
    target = tree / "lib"
    target.mkdir(parents=True)
    (tree / "bin").mkdir()
    wanted = {loader.name: loader, server.name: server}
    for program in (server, *backends):
        wanted.update({library.name: library for library in needed_libraries(loader, program, search)})
    wanted.update({backend.name: backend for backend in backends})
    for name, source in wanted.items():
        shutil.copyfile(source.resolve(), target / name)
    for name in (LOADER, "llama-server"):
        (target / name).chmod(0o755)
    wrapper = tree / "bin/llama-server"
    wrapper.write_text(WRAPPER, encoding="ascii")
    wrapper.chmod(0o755)
    copyright_files = tree / "share/doc"
    for package in ("llama.cpp-tools", "libllama0", "libggml0", "libc6", "libssl3t64", "libstdc++6", "gcc-16-base"):
        source = root / "usr/share/doc" / package / "copyright"
        if source.is_file():
            (copyright_files / package).mkdir(parents=True)
            shutil.copyfile(source, copyright_files / package / "copyright")
