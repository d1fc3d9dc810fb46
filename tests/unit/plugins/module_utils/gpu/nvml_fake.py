# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake libnvidia-ml for tests: built once, and a scenario file that the child of the probe finds."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Ask, probe
from ansible_collections.local_llm.ops.tests.fakes.nvml import build, scenarios

CHECKOUT = Path(__file__).resolve().parents[5]


class FakeNvml:
    """A library directory and a scenario that a test changes."""

    def __init__(self, library_directory: Path, path: Path) -> None:
        self.library_directory = library_directory
        self.path = path
        self.scenario: dict[str, str] = {}

    def play(self, profile: str, **changes: object) -> FakeNvml:
        """Make a healthy profile the scenario, with keys changed (a double underscore stands for a dot)."""
        values = {key.replace("__", "."): str(value) for key, value in changes.items()}
        return self.use({**scenarios.profile(profile), **values})

    def gpu(self, index: int, values: dict[str, object]) -> FakeNvml:
        """Change values of one GPU."""
        return self.use({**self.scenario, **{f"gpu.{index}.{key}": str(value) for key, value in values.items()}})

    def use(self, scenario: dict[str, str]) -> FakeNvml:
        """Make this the scenario."""
        self.scenario = scenario
        self.path.write_text("".join(f"{key} {value}\n" for key, value in scenario.items()), encoding="utf-8")
        return self

    def probe(self, **options: Any) -> dict[str, Any]:
        """Ask as the module does; nothing of this machine's own /sys."""
        values = {"library_directory": str(self.library_directory), "sysfs_root": str(self.path.parent), **options}
        return probe(Ask(**values))


def fake_nvml(monkeypatch: pytest.MonkeyPatch, directory: Path) -> FakeNvml:
    """Return the fake, with its scenario in a directory; skip where it cannot be built or asked."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: the fake libnvidia-ml is written in C")
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("nvidia-ml-py is not installed here")
    library = build.build(CHECKOUT / ".build" / "cache")
    scenario = directory / "scenario"
    monkeypatch.setenv("FAKE_NVML_SCENARIO", str(scenario))
    return FakeNvml(library.parent, scenario)
