# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say which version of Ollama a release archive holds, and its SHA-256: ollama_archive.py ARCHIVE.tar.zst prints JSON.

The program in it is asked, so the archive must be one for this machine. Needs the programs tar and zstd.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".build" / "collections"))

from ansible_collections.local_llm.ops.plugins.module_utils._engines._ollama import ENGINE


def said_version(archive: Path) -> str:
    """Return the version that the program in the archive says; its large libraries are left out."""
    with tempfile.TemporaryDirectory(prefix="local_llm_ollama_") as directory:
        unpack = ["tar", "--extract", "--zstd", f"--file={archive}", f"--directory={directory}", "--exclude=*.so*"]
        subprocess.run(unpack, check=True)
        # No server is asked: it would tell its own version.
        environment = {**os.environ, "HOME": directory, "OLLAMA_HOST": "127.0.0.1:9"}
        command = [f"{directory}/bin/ollama", *ENGINE.version_arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    line = ENGINE.version_line((done.stdout + done.stderr).splitlines())
    return line.split()[-1]


def described(archive: Path) -> dict[str, str]:
    """Return path, version and SHA-256."""
    with open(archive, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"path": str(archive), "version": said_version(archive), "sha256": digest}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} ARCHIVE.tar.zst")
    print(json.dumps(described(Path(sys.argv[1])), sort_keys=True))
