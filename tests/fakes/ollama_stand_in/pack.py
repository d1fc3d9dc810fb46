# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack the STAND-IN for Ollama as a release archive: bin/ollama and lib/ollama/, as .tar.zst. Needs the program zstd.

pack.py OUTPUT.tar.zst [--version 0.32.15] prints the SHA-256. The same content gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "ollama_stand_in"
FILES = ("__init__.py", "main.py", "models.py", "pull.py", "server.py", "store.py", "README.md")


def tar_bytes(version: str) -> bytes:
    """Return the tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, content: bytes, mode: int = 0o644) -> None:
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))

        add("bin/ollama", (HERE / "bin/ollama").read_bytes(), 0o755)
        for name in FILES:
            add(f"lib/ollama/{PACKAGE}/{name}", (HERE / name).read_bytes())
        add(f"lib/ollama/{PACKAGE}/VERSION", f"{version}\n".encode())
        # The real archive has libraries with links between them.
        add("lib/ollama/libstand_in.so.1.0", b"STAND-IN, no library\n")
        link = tarfile.TarInfo("./lib/ollama/libstand_in.so.1")
        link.type, link.linkname = tarfile.SYMTYPE, "libstand_in.so.1.0"
        tar.addfile(link)
    return out.getvalue()


def pack(path: Path, version: str) -> str:
    """Write the archive; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(["zstd", "-19", "-q", "-c"], input=tar_bytes(version), stdout=subprocess.PIPE, check=True)
    path.write_bytes(packed.stdout)
    return hashlib.sha256(packed.stdout).hexdigest()


def main() -> None:
    """Pack what the command line asks for."""
    parser = argparse.ArgumentParser(description="Pack the STAND-IN for Ollama as a release archive, for tests")
    parser.add_argument("output", type=Path)
    parser.add_argument("--version", default="0.32.15")
    arguments = parser.parse_args()
    print(pack(arguments.output, arguments.version))


if __name__ == "__main__":
    main()
