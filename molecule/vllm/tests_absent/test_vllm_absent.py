# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the engine is left."""

from __future__ import annotations

from typing import Any


def test_the_engine_its_cache_and_its_drop_in_are_gone(host: Any) -> None:
    for path in (
        "/opt/local_llm/engines/vllm",
        "/etc/systemd/system/local-llm@.service.d/60-vllm.conf",
        "/var/cache/local-llm/chat",
        "/var/lib/local_llm/instances/chat",
    ):
        assert not host.file(path).exists, path


def test_nothing_is_left_half_built(host: Any) -> None:
    assert host.check_output("find /opt/local_llm/engines/.incoming -mindepth 1") == ""
