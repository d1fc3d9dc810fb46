#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what the lab serves: tiny models, the real llama.cpp as an archive, and archives with a fault in them.

Everything lies under --output, with index.json that lists paths and SHA-256. A second call makes only what is missing.
Needs the Python package gguf, and dpkg-deb and apt-get of Debian or Ubuntu.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from local_lab.shell import LabError
from local_lab.state import CACHE

from artefacts import engine_tree, packages, tiny_gguf
from artefacts.reproducible import sha256_of, write_tar_gz

HERE = Path(__file__).resolve().parent
FAKE = HERE.parents[1] / "fakes/fake_llama_faults/fake_llama_faults.py"
ENGINE_PACKAGE = "llama.cpp-tools"
SUITE = "forky"
MODELS = {"tiny": 1, "tiny-other": 2}
# Version suffix of an archive -> what stands in its fault.json.
FAULTS: dict[str, dict[str, Any]] = {
    "exits": {"fault": "exits_at_start"},
    "never-ready": {"fault": "never_ready"},
    "slow": {"fault": "slow_first_token"},
    "marker": {"fault": "fails_on_marker", "marker": "/etc/local-llm-fault"},
    "bad5": {"fault": "bad_share", "percent": 5, "seed": 5, "marker": "/etc/local-llm-fault"},
    "bad15": {"fault": "bad_share", "percent": 15, "seed": 15, "marker": "/etc/local-llm-fault"},
    "renamed": {"fault": "renames_metric", "from": "llamacpp:requests_deferred", "to": "llamacpp:requests_waiting"},
}
FAULT_WRAPPER = """#!/bin/sh
# A FAKE engine for tests; see fault/fake_llama_faults.py.
here=$(cd "$(dirname "$0")/.." && pwd)
exec python3 -I "$here/fault/fake_llama_faults.py" "$@"
"""
INDEX = "index.json"


def say(text: str) -> None:
    """Print a progress line."""
    print(f"artefacts: {text}", file=sys.stderr, flush=True)


def content_key(*parts: Any) -> str:
    """Return a digest of what a product depends on: files by content, other values by their text."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else json.dumps(part, sort_keys=True).encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


class Workshop:
    """The output directory with its index; makes a product only when it is missing, changed or made another way."""

    def __init__(self, output: Path) -> None:
        self.output = output
        output.mkdir(parents=True, exist_ok=True)
        path = output / INDEX
        self.old: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.new: dict[str, Any] = {"schema": 1, "models": {}, "llamacpp": {}}

    def kept(self, section: str, name: str, key: str) -> dict[str, Any] | None:
        """Return the entry of a product that is there, unchanged, and made from the same things."""
        entry: dict[str, Any] | None = self.old.get(section, {}).get(name)
        if entry is None or entry["key"] != key:
            return None
        path = Path(entry["path"])
        return entry if path.is_file() and sha256_of(path) == entry["sha256"] else None

    def model(self, name: str, key: str, write: Callable[[Path], None]) -> Path:
        """Make one model directory with model.gguf."""
        entry = self.kept("models", name, key)
        if entry is None:
            path = self.output / "models" / name / "model.gguf"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            say(f"wrote model {name} ({path.stat().st_size} bytes)")
            entry = {"key": key, "path": str(path), "directory": str(path.parent), "sha256": sha256_of(path)}
            entry["size_bytes"] = path.stat().st_size
        self.new["models"][name] = entry
        return Path(entry["path"])

    def archive(self, version: str, key: str, fill: Callable[[Path], dict[str, Any]]) -> None:
        """Make one engine archive."""
        entry = self.kept("llamacpp", version, key)
        if entry is None:
            path = self.output / "llamacpp" / f"llamacpp-{version}-x86_64.tar.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.output) as work:
                more = fill(Path(work))
                write_tar_gz(path, Path(work))
            say(f"wrote engine {version} ({path.stat().st_size} bytes)")
            entry = {"key": key, "path": str(path), "sha256": sha256_of(path), **more}
            entry["size_bytes"] = path.stat().st_size
        self.new["llamacpp"][version] = entry

    def save(self) -> Path:
        """Write index.json."""
        path = self.output / INDEX
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(self.new, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        unfinished.replace(path)
        return path


def make_models(workshop: Workshop) -> None:
    """Make the two tiny models, and the first one cut short."""
    recipe = HERE / "tiny_gguf.py"
    for name, seed in MODELS.items():
        workshop.model(name, content_key(recipe, seed), functools.partial(tiny_gguf.write_model, seed=seed))
    whole = Path(workshop.new["models"]["tiny"]["path"])
    workshop.model("tiny-truncated", content_key(recipe, whole), lambda path: tiny_gguf.write_truncated(path, whole))


def engine(workshop: Workshop, refresh: bool) -> tuple[str, Path]:
    """Return version and tree of the real engine; the tree is fetched once and then kept."""
    recipe_key = content_key(HERE / "engine_tree.py", HERE / "packages.py", SUITE)
    store = workshop.output / "engine-tree"
    note = store / "note.json"
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if refresh or known.get("key") != recipe_key:
        shutil.rmtree(store, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=workshop.output) as place:
            work = Path(place)
            files = packages.fetch(ENGINE_PACKAGE, SUITE, work / "apt", say)
            full = packages.version_of(ENGINE_PACKAGE, files)
            engine_tree.unpack(files, work / "root")
            engine_tree.lay_out(work / "root", work / "tree")
            shutil.copytree(work / "tree", store / "tree")
        # 1:0.7.0+dfsg-2 -> 0.7.0
        known = {"key": recipe_key, "package_version": full}
        known["version"] = full.partition(":")[2].partition("+")[0].partition("-")[0]
        note.write_text(json.dumps(known, sort_keys=True), encoding="utf-8")
    workshop.new["package"] = {"name": ENGINE_PACKAGE, "version": known["package_version"], "suite": SUITE}
    workshop.new["good_version"] = known["version"]
    return known["version"], store / "tree"


def make_engines(workshop: Workshop, slow_milliseconds: int, refresh: bool) -> None:
    """Make the archive of the real engine and one archive per fault."""
    version, tree = engine(workshop, refresh)
    tree_key = content_key(*sorted(path for path in tree.rglob("*") if path.is_file()))

    def good(target: Path) -> dict[str, Any]:
        shutil.copytree(tree, target, dirs_exist_ok=True)
        return {"fault": None}

    def faulty(target: Path, fault: dict[str, Any]) -> dict[str, Any]:
        shutil.copytree(tree, target / "real")
        (target / "bin").mkdir()
        (target / "fault").mkdir()
        (target / "bin/llama-server").write_text(FAULT_WRAPPER, encoding="ascii")
        (target / "bin/llama-server").chmod(0o755)
        shutil.copyfile(FAKE, target / "fault" / FAKE.name)
        (target / "fault/fault.json").write_text(json.dumps(fault, sort_keys=True) + "\n", encoding="ascii")
        return {"fault": fault}

    workshop.archive(version, content_key(tree_key, HERE / "reproducible.py"), good)
    for suffix, description in FAULTS.items():
        fault = dict(description)
        if fault["fault"] == "slow_first_token":
            fault["milliseconds"] = slow_milliseconds

        key = content_key(tree_key, HERE / "reproducible.py", FAKE, FAULT_WRAPPER, fault)
        workshop.archive(f"{version}-{suffix}", key, functools.partial(faulty, fault=fault))


def main() -> int:
    """Build what is missing and print the path of the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CACHE / "artefacts", help="default: %(default)s")
    parser.add_argument("--slow-milliseconds", type=int, default=1500, help="delay of the engine <version>-slow")
    parser.add_argument("--refresh", action="store_true", help="fetch the engine again, perhaps a newer one")
    options = parser.parse_args()
    try:
        workshop = Workshop(options.output.resolve())
        make_models(workshop)
        make_engines(workshop, options.slow_milliseconds, options.refresh)
        print(workshop.save())
    except LabError as error:
        say(f"failed: {error}")
        return 1
    except ImportError as error:
        say(f"failed: {error}. Run: pip install gguf")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
