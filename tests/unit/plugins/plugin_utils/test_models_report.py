# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table and the document of the playbook models, and the policy in the check of the inventory."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_collect import Collector
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_sources import check_models
from ansible_collections.local_llm.ops.plugins.plugin_utils._desired_state import check_desired
from ansible_collections.local_llm.ops.plugins.plugin_utils._knowledge import collection_knowledge
from ansible_collections.local_llm.ops.plugins.plugin_utils._models_report import (
    build_models_report,
    next_steps,
    silent_hosts,
    table_text,
)


def answer(**changed: Any) -> dict[str, Any]:
    """Return what model_store tells of a host with one revision that serves and one that goes."""
    row = {
        "name": "chat-8b", "revision": "r2", "state": "active", "published": True, "archived": False,
        "bytes": 8_500_000_000, "archive_bytes": 0, "manifest_sha256": "0" * 64, "archived_at": None,
        "published_at": "2026-11-01T00:00:00Z", "last_used_at": "2026-11-21T00:00:00Z",
        "releases": [], "needed_by": ["current 9a of chat"], "listed": True,
        "wanted": None, "action": "none", "reason": "current 9a of chat", "problem": None,
    }  # fmt: skip
    old = {
        **row,
        "revision": "r1",
        "state": "standby",
        "needed_by": [],
        "action": "archive",
        "reason": "standby_keep is 1",
    }
    gone = {**row, "revision": "r0", "state": "archive", "bytes": 0, "archive_bytes": 6_000_000_000, "needed_by": [],
            "action": "delete", "reason": "100 days in the archive"}  # fmt: skip
    return {"models": [row, old, gone], "leftovers": [], "engines": [], "ollama_models": [], "free_bytes": 10**12,
            "zstd": True, **changed}  # fmt: skip


def report(*answers: dict[str, Any]) -> dict[str, Any]:
    return build_models_report({f"gpu{n}": item for n, item in enumerate(answers, 1)}, made_at="2026-11-21T00:00:00Z")


def test_the_table_tells_per_host_what_is_there_what_would_be_done_and_why() -> None:
    text = table_text(report(answer()))
    assert "gpu1: models have 23.0 GB, 1.0 TB are free" in text
    assert "chat-8b  r2        active   8.5 GB   2026-11-21  current 9a of chat" in text
    assert "ARCHIVE: standby_keep is 1" in text
    assert "DELETE: 100 days in the archive" in text
    assert "1 host: 1 active, 1 standby, 1 archive. 17.0 GB published, 6.0 GB in the archive." in text
    assert "To do: archive 1, delete 1." in text


def test_a_host_that_did_not_answer_is_told_and_counted() -> None:
    made = report(answer(), {"unreachable": True, "msg": "timed out"}, {"failed": True, "msg": "no\n room"})
    assert silent_hosts(made) == ["gpu2", "gpu3"]
    text = table_text(made)
    assert "gpu2: It cannot be reached: timed out" in text
    assert "gpu3: It could not be listed: no room" in text
    assert "Not known: gpu2, gpu3." in text


@pytest.mark.parametrize(
    ("applied", "delete", "check", "told"),
    [
        (False, False, False, "To delete it: -e local_llm_models_apply=true -e local_llm_models_delete=true."),
        (False, True, False, "To delete it: -e local_llm_models_apply=true."),
        (True, False, False, "To delete it: -e local_llm_models_delete=true."),
        (True, True, True, "Check mode: nothing is changed."),
        (True, True, True, "Without --check it is deleted."),
        (True, True, False, ""),
    ],
)
def test_the_next_step_names_the_consent_that_is_missing(applied: bool, delete: bool, check: bool, told: str) -> None:
    steps = next_steps(report(answer()), applied=applied, delete=delete, check_mode=check)
    assert told in steps if told else steps == ""


@pytest.mark.parametrize(
    ("applied", "delete", "check"), [(False, False, False), (True, False, False), (True, True, True)]
)
def test_what_would_be_deleted_is_named_at_the_end(applied: bool, delete: bool, check: bool) -> None:
    steps = next_steps(report(answer(), answer()), applied=applied, delete=delete, check_mode=check)
    lines = steps.splitlines()
    assert lines[-2:] == ["  gpu1: chat-8b r0 (6.0 GB)", "  gpu2: chat-8b r0 (6.0 GB)"]
    assert "Would be deleted for good (12.0 GB)." in lines[-3]
    calm = {**answer(), "models": answer()["models"][:2]}
    assert "delete" not in next_steps(report(calm), applied=False, delete=False, check_mode=False)


def test_what_lies_beside_the_models_is_told_with_what_can_be_done_about_it() -> None:
    leftover = {
        "path": "/m/.incoming/a@r1",
        "name": "a",
        "revision": "r1",
        "bytes": 5,
        "action": "tidy",
        "reason": "cut",
    }
    engine = {"engine": "vllm", "version": "0.32.0", "bytes": 7, "needed_by": []}
    ollama = {"store": "/s", "name": "llama3.2:prev-01", "bytes": 9, "kept_for_rollback": True}
    text = table_text(report(answer(leftovers=[leftover], engines=[engine], ollama_models=[ollama], zstd=False)))
    assert "TIDY /m/.incoming/a@r1 (5 B): cut" in text
    assert 'vllm_absent_versions: ["0.32.0"]' in text
    assert "kept for a way back" in text and "ollama_model" in text
    assert "zstd is missing" in text


def test_a_wrong_policy_stops_site_and_upgrade_too() -> None:
    class NoFiles:
        def is_dir(self, path: str) -> bool:
            return False

        def size_bytes(self, path: str) -> int | None:
            return None

        def sha256(self, path: str) -> str:
            return ""

        def text(self, path: str) -> str:
            return ""

    hosts = {"gpu1": {"local_llm_model_retention": {"archive_day": 3}}}
    (line,) = [finding_line(item) for item in check_desired(hosts, {}, collection_knowledge(), NoFiles())]
    assert "local_llm_model_retention.archive_day on gpu1" in line
    assert "Did you mean archive_days?" in line


@pytest.mark.parametrize(
    ("state", "fix"), [("active", ""), ("archived", "Did you mean archive?"), ("gone", "Choose one")]
)
def test_the_wanted_state_of_a_model_is_one_of_three(state: str, fix: str) -> None:
    out = Collector()
    entry = {"source": "directory", "path": "/m", "revision": "r1", "files": {"a.gguf": "0" * 64}, "state": state}
    check_models({"tiny": entry}, out)
    lines = [finding_line(item) for item in out.findings()]
    assert (not lines) if not fix else (fix in lines[0] and "local_llm_models.tiny.state" in lines[0])
