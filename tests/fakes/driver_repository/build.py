#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a signed apt repository of fake drivers, with a key of its own that is thrown away with it.

build.py DIRECTORY VERSION[:fails|:silent|:module=OTHER] ...
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
packages: Any = importlib.import_module(f"{__package__ or HERE.name}.packages")

SUITE = "fake"
COMPONENT = "main"
KEY = "key.asc"


class BuildError(Exception):
    """The repository could not be built; the message says what failed."""


def run(*command: str, **environment: str) -> None:
    """Run a program of this machine."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr + done.stdout)[-1000:]}")


def build_package(package: Any, directory: Path) -> Path:
    """Build one package into a directory and return its path."""
    target = directory / package.file_name
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        control = root / "DEBIAN"
        control.mkdir(parents=True)
        os.chmod(root, 0o755)
        (control / "control").write_text(package.control(), encoding="utf-8")
        settings = [f"/{name}\n" for name in package.files if name.startswith("etc/")]
        if settings:
            (control / "conffiles").write_text("".join(settings), encoding="utf-8")
        for name, text in package.scripts.items():
            (control / name).write_text(text, encoding="utf-8")
            (control / name).chmod(0o755)
        for name, text in package.files.items():
            place = root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text.encode() if isinstance(text, str) else text)
        for name, goal in package.links.items():
            (root / name).symlink_to(goal)
        run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(target))
    return target


def index(pool: Path, root: Path) -> str:
    """Return the list of packages that apt reads."""
    blocks = []
    for path in sorted(pool.glob("*.deb")):
        content = path.read_bytes()
        control = subprocess.run(["dpkg-deb", "--field", str(path)], capture_output=True, text=True, check=True).stdout
        name = path.relative_to(root)
        digest = hashlib.sha256(content).hexdigest()
        blocks.append(f"{control.rstrip()}\nFilename: {name}\nSize: {len(content)}\nSHA256: {digest}\n")
    return "\n".join(blocks)


def publish(root: Path) -> None:
    """Write and sign the lists of a repository for the packages that lie in its pool now."""
    pool, place = root / "pool", root / "dists" / SUITE
    binary = place / COMPONENT / f"binary-{packages.ARCHITECTURE}"
    binary.mkdir(parents=True, exist_ok=True)
    text = index(pool, root).encode()
    (binary / "Packages").write_bytes(text)
    (binary / "Packages.gz").write_bytes(gzip.compress(text, mtime=0))
    lines = ["Origin: local-llm-test", f"Label: FAKE drivers for tests\nSuite: {SUITE}\nCodename: {SUITE}"]
    lines += [f"Components: {COMPONENT}", f"Architectures: {packages.ARCHITECTURE}", f"Date: {formatdate(usegmt=True)}"]
    lines += ["SHA256:"]
    for path in sorted(binary.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f" {digest} {path.stat().st_size} {path.relative_to(place)}")
    (place / "Release").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (place / "InRelease").unlink(missing_ok=True)
    home = root.with_name(f"{root.name}.gnupg")
    run("gpg", "--homedir", str(home), "--batch", "--yes", "--digest-algo", "SHA512", "--clearsign",
        "--output", str(place / "InRelease"), str(place / "Release"))  # fmt: skip


def make_key(root: Path) -> None:
    """Make a key that signs this repository and nothing else; its private part lies beside the repository."""
    home = root.with_name(f"{root.name}.gnupg")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    name = "FAKE drivers for tests <test@example.invalid>"
    run("gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--quick-gen-key", name, "rsa3072", "sign", "30d")
    exported = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--armor", "--export"], capture_output=True, check=True
    )
    (root / KEY).write_bytes(exported.stdout)
    # gpg leaves a process behind that keeps the key.
    run("gpgconf", "--homedir", str(home), "--kill", "all")


def build(root: Path, releases: Sequence[Any], library: Path | None = None) -> Path:
    """Build the repository anew and return its directory. library: a fake libnvidia-ml for the package of it."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "pool").mkdir(parents=True)
    make_key(root)
    for package in packages.shared_packages():
        build_package(package, root / "pool")
    for release in releases:
        for package in packages.release_packages(release, library.read_bytes() if library else None):
            build_package(package, root / "pool")
    publish(root)
    run("gpgconf", "--homedir", str(root.with_name(f"{root.name}.gnupg")), "--kill", "all")
    return root


def release_of(text: str) -> Any:
    """Return the release that a word of the command line names."""
    version, _colon, fault = text.partition(":")
    if fault.startswith("module="):
        return packages.Release(version, module_version=fault.removeprefix("module="))
    return packages.Release(version, build=fault or "ok")


def main() -> int:
    """Read the command line and carry it out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("release", nargs="+", type=release_of, metavar="VERSION[:fails|:silent|:module=OTHER]")
    options = parser.parse_args()
    try:
        build(options.directory, options.release)
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
