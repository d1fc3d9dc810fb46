# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of plans start from: releases as the inventory wants them and as a host runs them."""

from __future__ import annotations

from typing import Any

OLD = "a" * 12
NEW = "b" * 12


def description(**values: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "engine": "llamacpp",
        "engine_version": "0.7.0",
        "model": "tiny",
        "model_revision": "r1",
        "model_manifest_sha256": "1" * 64,
        "model_entry": "model.gguf",
        "served_name": "chat",
        "port": 8001,
        "gpus": "all",
        "config": {"threads": 4},
        **values,
    }


def wanted(pool: str = "chat", release: str = NEW, **values: Any) -> dict[str, Any]:
    return {"description": description(**values), "release_id": release, "pool": pool, "slo_tier": "standard"}


def running(release: str | None = OLD, **values: Any) -> dict[str, Any]:
    return {
        "instance": "chat",
        "current": release,
        "previous": None,
        "armed": None,
        "instance_state": {"state": "healthy"},
        "active_state": "active",
        "current_description": description(engine_version="0.6.0") if release else None,
        **values,
    }
