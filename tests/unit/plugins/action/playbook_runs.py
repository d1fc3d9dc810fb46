# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook of the collection as a user does, with an inventory made on the spot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

COLLECTIONS = next(path for path in sys.path if (Path(path) / "ansible_collections" / "local_llm" / "ops").is_dir())
DEADLINE_SECONDS = 120


def run_playbook(directory: Path, playbook: str, inventory: dict[str, Any], *arguments: str) -> tuple[int, str]:
    """Return exit code and output of a playbook of the collection; directory is its home, and where it is called."""
    file = directory / "inventory.yml"
    file.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    return _run(directory, "-i", str(file), f"local_llm.ops.{playbook}", *arguments)


def run_plays(directory: Path, plays: list[dict[str, Any]], *arguments: str) -> tuple[int, str]:
    """Return exit code and output of these plays, on this machine."""
    file = directory / "plays.yml"
    file.write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    return _run(directory, str(file), *arguments)


def _run(directory: Path, *arguments: str) -> tuple[int, str]:
    (directory / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PWD": str(directory),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
        "ANSIBLE_HOME": str(directory / ".ansible"),
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *arguments],
        env=environment,
        cwd=directory,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout
