#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the fake libnvidia-ml.so.1 with gcc. As a command: build.py DIRECTORY prints the path of the library."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = "libnvidia-ml.so.1"
FLAGS = (
    "-std=gnu11",
    "-O1",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    f"-Wl,-soname,{LIBRARY}",
)


class BuildError(Exception):
    """The library could not be built; the message says why and what to do."""


def sources() -> list[Path]:
    """Return the C files, in order."""
    return sorted(HERE.glob("*.c"))


def sources_hash() -> str:
    """Return a short hash of everything that the library is made of."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in [*sources(), *sorted(HERE.glob("*.h"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def build(directory: Path) -> Path:
    """Return the path of libnvidia-ml.so.1 under the directory; build it when these sources were not built there yet.

    The library lies in a directory of its own, named by the hash of the sources: use path.parent as LD_LIBRARY_PATH.
    """
    place = Path(directory) / f"fake-nvml-{sources_hash()}"
    library = place / LIBRARY
    if library.exists():
        return library
    if shutil.which("gcc") is None:
        raise BuildError("gcc is not installed, and the fake libnvidia-ml is written in C. Install it: apt install gcc")
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        made = Path(scratch) / LIBRARY
        command = ["gcc", *FLAGS, "-o", str(made), *map(str, sources()), "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"gcc could not build the fake libnvidia-ml (exit code {done.returncode}):\n{done.stderr}")
        os.replace(made, library)
    return library


def main() -> int:
    """Build into the directory that the user named."""
    if len(sys.argv) != 2:
        print("usage: build.py DIRECTORY", file=sys.stderr)
        return 2
    try:
        print(build(Path(sys.argv[1])))
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
