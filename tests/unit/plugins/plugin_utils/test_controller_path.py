# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A path on the command line means what the shell would mean by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import controller_path


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataLoader:
    for place in ("typed", "playbooks"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "typed")
    it = DataLoader()
    it.set_basedir(str(tmp_path / "playbooks"))
    return it


def test_a_file_beside_the_user_comes_before_one_beside_the_playbook(loader: DataLoader, tmp_path: Path) -> None:
    (tmp_path / "playbooks/a.json").touch()
    assert controller_path(loader, "a.json") == tmp_path / "playbooks/a.json"
    (tmp_path / "typed/a.json").touch()
    assert controller_path(loader, "a.json") == tmp_path / "typed/a.json"
    assert controller_path(loader, "/etc/x.json") == Path("/etc/x.json")
