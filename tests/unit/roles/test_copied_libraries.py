# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles copy to hosts is whole: every script there finds what it imports, and little else is copied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._release import read_release_text
from ansible_collections.local_llm.ops.plugins.module_utils._script_library import apply
from ansible_collections.local_llm.ops.plugins.plugin_utils._script_imports import MODULE_UTILS, PACKAGE, needed

ROOT = Path(__file__).resolve().parents[3]
TASKS = {
    "gateway": "configure.yml",
    "gpu_exporter": "configure.yml",
    "ollama": "metrics.yml",
    "remediation": "present.yml",
}
# Import every file of the library, and all that the script imports before it does anything.
PROGRAM = """
import importlib, pathlib, runpy, sys
place, script = pathlib.Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(place))
for path in place.rglob("*.py"):
    importlib.import_module(".".join(path.relative_to(place).with_suffix("").parts))
runpy.run_path(script, run_name="not_main")
"""


def library_task(role: str) -> dict[str, Any]:
    """Return the arguments of the one task of a role that installs a library."""

    def found(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        here = [task["local_llm.ops.script_library"] for task in tasks if "local_llm.ops.script_library" in task]
        return here + [one for task in tasks for one in found(task.get("block", []))]

    (task,) = found(yaml.safe_load((ROOT / f"roles/{role}/tasks/{TASKS[role]}").read_text(encoding="utf-8")))
    return task


def scripts_of(role: str) -> list[Path]:
    """Return the scripts that a role names."""
    place = str(ROOT / "roles" / role)
    return [Path(script.replace("{{ role_path }}", place)) for script in library_task(role)["scripts"]]


@pytest.mark.parametrize("role", TASKS)
def test_a_script_finds_what_it_imports_in_the_library_alone(role: str, tmp_path: Path) -> None:
    scripts = scripts_of(role)
    names = needed(scripts, library_task(role).get("modules", []))
    place = PACKAGE.replace(".", "/")
    files = {f"{place}/{name}": (MODULE_UTILS / name).read_text(encoding="utf-8") for name in names}
    apply(str(tmp_path), files, list(files), [])
    for script in scripts:
        # -I: neither this directory nor the environment lends it anything.
        done = subprocess.run(
            [sys.executable, "-I", "-c", PROGRAM, str(tmp_path), str(script)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_the_process_that_asks_nvml_is_in_the_library() -> None:
    (script,) = scripts_of("gpu_exporter")
    assert "_gpu._exporter_worker import serve" in script.read_text(encoding="utf-8")
    assert "_gpu/_exporter_worker.py" in needed([script], library_task("gpu_exporter")["modules"])


def test_the_agent_needs_next_to_nothing() -> None:
    # It runs all the time and without any right: one file of plain functions.
    assert needed([ROOT / "roles/remediation/files/remediation_agent.py"]) == {
        "_remedy/__init__.py",
        "_remedy/_service.py",
    }


def test_the_fake_release_of_the_lab_has_the_id_of_its_description() -> None:
    made = yaml.safe_load((ROOT / "tests/remediation/release.yml").read_text(encoding="utf-8"))
    assert read_release_text(made["fake_release_json"], made["fake_release_id"])["engine"] == "llamacpp"
