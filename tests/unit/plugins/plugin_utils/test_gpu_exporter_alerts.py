# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert about GPUs that nobody sees comes for a driver that hangs, also for one that never answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import as_yaml, compile_rules
from ansible_collections.local_llm.ops.tests.unit.plugins.plugin_utils.slo_fleets import an_instance, promtool

# Times of promtool's tests begin at 0, one sample a minute.
TIMES = "local_llm_gpu_scrape_success_timestamp_seconds"
CASES = {
    # 30 minutes of answers every minute, then none.
    "hangs after half an hour": ("0+60x30 1800+0x60", (20, 31, 33), (36, 60)),
    "never answered": ("0+0x90", (2,), (6, 60)),
    "comes back": ("0+60x30 1800+0x10 2520+60x40", (20, 45, 60), (38, 40)),
    "answers": ("0+60x90", (10, 40, 80), ()),
}


@pytest.mark.parametrize("case", CASES)
def test_alert_follows_the_time_of_the_last_answer(case: str, tmp_path: Path) -> None:
    values, quiet, fires = CASES[case]
    made = compile_rules({"gpu1": [an_instance("llamacpp")]})
    (rule,) = [
        rule
        for group in made["rules"]["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "LocalLlmGpuNotSeen"
    ]
    labels = {"host": "gpu1", "job": "local_llm_gpu", "why": "driver", **rule["labels"]}
    notes = {name: text.replace("{{ $labels.host }}", "gpu1") for name, text in rule["annotations"].items()}
    alert = {"exp_labels": labels, "exp_annotations": notes}
    checks = [{"eval_time": f"{at}m", "alertname": rule["alert"]} for at in quiet]
    checks += [{"eval_time": f"{at}m", "alertname": rule["alert"], "exp_alerts": [alert]} for at in fires]
    place = '{job="local_llm_gpu",host="gpu1"}'
    series = [{"series": f"{TIMES}{place}", "values": values}, {"series": f"up{place}", "values": "1+0x90"}]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": checks}],
    }
    (tmp_path / "rules.yml").write_text(as_yaml({"groups": [{"name": "only", "rules": [rule]}]}), encoding="utf-8")
    (tmp_path / "test.yml").write_text(as_yaml(test), encoding="utf-8")
    tried = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert tried.returncode == 0, (tried.stdout + tried.stderr)[:4000]
