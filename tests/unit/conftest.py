# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as ansible_collections.local_llm.ops, wherever it lies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def _collections_root() -> Path:
    """Return a directory that holds ansible_collections/local_llm/ops; make one in .build for any other checkout."""
    namespace = CHECKOUT / ".build" / "collections" / "ansible_collections" / "local_llm"
    namespace.mkdir(parents=True, exist_ok=True)
    link = namespace / "ops"
    if not link.exists():
        link.symlink_to(CHECKOUT)
    return namespace.parents[1]


sys.path.insert(0, str(_collections_root()))


@pytest.fixture(scope="session", autouse=True)
def _collection_finder() -> None:
    """Let ansible-core find the collection, as it does for a playbook."""
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([str(_collections_root())])
