# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook plan: a fleet without a gateway is told what to run first, and the plans are where it says."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.unit.plugins.action.playbook_runs import run_playbook, run_plays

DIGEST = hashlib.sha256(b"hello").hexdigest()


def inventory(directory: Path) -> dict[str, Any]:
    (directory / "model").mkdir()
    (directory / "model" / "m.gguf").write_bytes(b"hello")
    model = {"source": "directory", "path": str(directory / "model"), "revision": "r1", "files": {"m.gguf": DIGEST}}
    instance = {"name": "chat", "engine": "llamacpp", "engine_version": "0.7.0", "model": "tiny", "served_name": "chat",
                "port": 8001, "pool": "chat"}  # fmt: skip
    archive = {"method": "archive", "src": "https://example.org/llama.tar.gz", "sha256": {"x86_64": DIGEST}}
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "local_llm_instances": [instance],
        "local_llm_models": {"tiny": model},
        "local_llm_compat": "ignore",
        "llamacpp_artifacts": {"0.7.0": archive},
    }
    return {"all": {"vars": variables, "children": {"gpu_hosts": {"hosts": {"gpu1": None}},
                                                    "gateway": {"hosts": {"gw1": None}}}}}  # fmt: skip


@pytest.mark.skipif(os.path.exists("/etc/haproxy/local_llm"), reason="this machine is a gateway itself")
def test_a_plan_before_the_gateway_is_set_up_names_the_host_and_the_playbook(tmp_path: Path) -> None:
    code, output = run_playbook(tmp_path, "plan", inventory(tmp_path))
    assert code != 0
    told = (
        "FAIL gateway gw1: found: no HAProxy that is set up; expected: its servers. Run site first: it installs HAProxy"
    )
    assert told in " ".join(output.split()), output[-3000:]
    assert "Traceback" not in output


@pytest.mark.parametrize("check", [False, True])
def test_the_playbook_says_where_the_plans_are(tmp_path: Path, check: bool) -> None:
    plan = {"markdown": "# Deployment plan", "rollback_markdown": "# Rollback plan"}
    role = {"name": "local_llm.ops._release", "tasks_from": "write_plans"}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"_release_planned": plan},
            "tasks": [{"ansible.builtin.include_role": role}]}  # fmt: skip
    code, output = run_plays(tmp_path, [play], *(["--check"] if check else []))
    files = [tmp_path / name for name in ("deployment-plan.md", "rollback-plan.md")]
    word = "nothing was written. The plans would be" if check else "Written:"
    assert code == 0 and f"{word} {files[0]} and {files[1]}" in output, output
    assert [file.exists() for file in files] == [not check, not check]
