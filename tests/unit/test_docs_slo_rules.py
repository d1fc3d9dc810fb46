# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of docs/slo_rules.md does what the page says, also from a template."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.local_llm.ops.plugins.filter.slo_rules import _OPTIONS, DOCUMENTATION, rules_filter

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "slo_rules.md").read_text(encoding="utf-8")


def block(kind: str, number: int = 0) -> str:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[number]


def serving() -> dict[str, Any]:
    return {"gpu1": yaml.safe_load(block("yaml"))["local_llm_instances"]}


def test_the_task_of_the_page_writes_the_files_and_the_alerts_that_it_names(tmp_path: Path) -> None:
    (task,) = yaml.safe_load(block("yaml", 1))
    task["vars"]["directory"] = str(tmp_path)
    (tmp_path / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]), encoding="utf-8"
    )
    inventory = {"gpu_hosts": {"hosts": {"gpu1": {"local_llm_instances": serving()["gpu1"]}}}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    collections = next(place for place in sys.path if (Path(place) / "ansible_collections" / "local_llm").is_dir())
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [
            str(program),
            "-i",
            "inventory.yml",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-c",
            "local",
            "play.yml",
        ],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = rules_filter(serving())
    assert (tmp_path / "local_llm_rules_test.yml").read_text(encoding="utf-8") == made["tests_yaml"]
    written = yaml.safe_load((tmp_path / "local_llm_rules.yml").read_text(encoding="utf-8"))
    assert written == made["rules"]
    alerts = [rule for group in written["groups"] for rule in group["rules"] if "alert" in rule]
    promised = re.findall(r"(\w+) \((\w+)\)", block("text"))
    assert len(promised) == 3
    for name, severity in promised:
        assert severity in {alert["labels"]["severity"] for alert in alerts if alert["alert"] == name}


def test_the_page_names_every_group() -> None:
    words = {name.strip("`.") for name in re.findall(r"`[\w.<>]+`", PAGE)}
    for group in rules_filter(serving())["rules"]["groups"]:
        name = group["name"].replace("_chat", "_<pool>")
        assert name in words or name.removeprefix("local_llm") in words, name


def test_what_the_page_says_is_refused_is_refused_in_these_words() -> None:
    group = {"name": "site", "rules": [{"alert": "KvCache", "expr": "vllm:gpu_cache_usage_perc > 0.9"}]}
    pools = {"chat": {"slo": {"ttft_p95_max_seconds": 0.6, "availability_min_percent": 90}}}
    with pytest.raises(AnsibleFilterError) as caught:
        rules_filter(serving(), pools=pools, extra_groups=[group])
    said = set(str(caught.value).removeprefix("slo_rules: ").splitlines())
    assert said == set(block("text", 1).splitlines())


def test_every_option_is_documented_and_an_unknown_one_is_refused() -> None:
    assert set(yaml.safe_load(DOCUMENTATION)["options"]) == {"_input", *_OPTIONS}
    with pytest.raises(AnsibleFilterError, match="did you mean settings"):
        rules_filter(serving(), setting={})
    with pytest.raises(AnsibleFilterError, match="min_bad_requests is -1"):
        rules_filter(serving(), min_bad_requests=-1)
