# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_artifact needs less than 100 MB of memory for a larger file; benchmarks/model_hashing.py measures how much."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.tests.fakes.http_mirror.fake_mirror import Content, Mirror

LARGE_BYTES, MOST_BYTES = 160_000_000, 100_000_000
COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
# In a process of its own, as on a host. The last word but one is its peak memory in kilobytes.
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.local_llm.ops.plugins.modules import model_artifact
with patch_module_args(json.loads(sys.argv[1])):
    try:
        model_artifact.main()
    finally:
        print()
        print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_bytes(**options: Any) -> int:
    """Run the module; return the most memory that it had."""
    command = [sys.executable, "-c", MODULE, json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-2]) * 1024


def test_a_file_larger_than_the_memory_it_may_have_comes_and_is_hashed_again(tmp_path: Path) -> None:
    data = bytes(LARGE_BYTES)
    files = {"model.gguf": hashlib.sha256(data).hexdigest()}
    place = tmp_path / "model"
    place.mkdir()
    with Mirror(Content(files={"/m/model.gguf": data})) as mirror:
        fetch = {"state": "fetched", "name": "m", "source": "http", "url": f"{mirror.url}/m", "use_proxy": False}
        fetched = peak_bytes(**fetch, files=files, directory=str(place), reserve_bytes=0)
    assert (place / "model.gguf").stat().st_size == LARGE_BYTES
    assert fetched < MOST_BYTES, f"{fetched} bytes to fetch"
    (place / ".parts").rename(tmp_path / "parts")
    manifest = {"schema": 1, "files": files, "sizes": {"model.gguf": LARGE_BYTES}}
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    verified = peak_bytes(state="verified", name="m", directory=str(place))
    assert verified < MOST_BYTES, f"{verified} bytes to hash"
    (place / "model.gguf").unlink()
