# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what the fleet measured: a table, JSON and one page, against tiers and baselines, on the controller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import (
    ControllerAction,
    made_now,
    made_with,
    results_by_host,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_document import (
    baseline_key,
    document_of,
    entry_of,
    file_name,
    table,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_html import render_benchmark_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import ReportError, write_files
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_verdict import MET, NOT_MEASURED, pool_tier

BASELINES = "baselines"


class ActionModule(ControllerAction):
    """Runs on the controller. Writes benchmark.json, benchmark.html and one report per instance."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str"},
        "results": {"type": "dict"},
        "results_from": {"type": "str"},
        "slo_tiers": {"type": "dict", "default": {}},
        "pools": {"type": "dict", "default": {}},
        "directory": {"type": "path"},
        "rebaseline": {"type": "bool", "default": False},
        "fail": {"type": "bool", "default": True},
        "show": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return status, table, the verdict of each instance, and where the files are."""
        measured = self._measured(arguments, task_vars)
        if self._task.check_mode and not any(one.get("report") for one in measured.values()):
            return _would(measured, arguments["fail"], arguments["show"])
        directory = Path(str(arguments["directory"])).expanduser().absolute() if arguments["directory"] else None
        entries, baselines = [], {}
        for name, one in measured.items():
            key, baseline = self._baseline(directory, one)
            try:
                tier = pool_tier(
                    str(one.get("slo_tier") or "standard"),
                    plain(arguments["slo_tiers"]),
                    one.get("pool"),
                    (plain(arguments["pools"]).get(one.get("pool")) or {}).get("slo"),
                )
            except SloError as error:
                raise AnsibleActionFail(str(error)) from error
            entries.append(entry_of(name, one, str(one.get("slo_tier") or "standard"), tier, baseline))
            valid = bool(one.get("report")) and one["report"]["valid"]
            if key and valid and (baseline is None or arguments["rebaseline"]):
                baselines[f"{key}.json"] = _json(
                    {**{part: one.get(part) for part in ("release", "hardware", "report")}, "name": name, "schema": 1}
                )
        made_at = made_now()
        versions = made_with()
        document = document_of(entries, made_at, versions)
        lines = table(document)
        paths: dict[str, str] = {}
        if directory and not self._task.check_mode:
            paths = self._write(directory, document, baselines)
            lines.append(f"Page: {paths['html_path']}")
        if arguments["show"]:
            Display().display("\n".join(lines))
        bad = [entry["name"] for entry in entries if entry["status"] != MET]
        return {
            "changed": False,
            "failed": bool(bad) and arguments["fail"],
            "msg": document["summary"],
            "status": document["status"],
            "table": lines,
            "instances": {
                entry["name"]: {part: entry[part] for part in ("status", "summary", "slo", "scenario", "comparison")}
                for entry in entries
            },
            "new_baselines": len(baselines),
            "json_path": paths.get("json_path"),
            "html_path": paths.get("html_path"),
        }

    @staticmethod
    def _measured(arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return what was measured by "<host>/<instance>"."""
        if bool(arguments["results_from"]) == bool(arguments["results"]):
            raise AnsibleActionFail(
                "benchmark_report: give either results_from, the name of a variable that every host set, or results, "
                "{host: {instance: result}}."
            )
        if arguments["results_from"] and not arguments["hosts"]:
            raise AnsibleActionFail("benchmark_report: results_from needs hosts, the hosts to look at.")
        by_host = results_by_host(arguments, "results", arguments["hosts"] or [], task_vars)
        found: dict[str, dict[str, Any]] = {}
        for host, instances in by_host.items():
            if instances is None:
                continue
            if not isinstance(instances, Mapping):
                raise AnsibleActionFail(f"benchmark_report: results.{host}: it is no mapping of instances.")
            for instance, one in instances.items():
                found[f"{host}/{instance}"] = dict(one)
        if not found:
            raise AnsibleActionFail("No instance was measured. Look at the pattern of --limit.")
        return found

    @staticmethod
    def _baseline(directory: Path | None, one: Mapping[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
        """Return the name of the baseline of this hardware, release and load, and the baseline when there is one."""
        if not directory or not one.get("report"):
            return None, None
        key = baseline_key(one.get("hardware"), one.get("release"), one["report"])
        path = directory / BASELINES / f"{key}.json"
        try:
            kept: dict[str, Any] = json.loads(path.read_bytes())
            return key, kept if kept.get("report") else None
        except FileNotFoundError:
            return key, None
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(
                f"{path} cannot be read ({error}); remove it, and the next run makes it anew"
            ) from error

    @staticmethod
    def _write(directory: Path, document: dict[str, Any], baselines: dict[str, str]) -> dict[str, str]:
        texts = {"benchmark.json": _json(document), "benchmark.html": render_benchmark_html(document)}
        for entry in document["entries"]:
            if entry["report"]:
                texts[f"{file_name(entry['name'].replace('/', '-'))}.json"] = _json(entry["report"])
        try:
            (directory / BASELINES).mkdir(parents=True, exist_ok=True, mode=0o755)
            write_files(directory, texts, list(texts))
            write_files(directory / BASELINES, baselines, list(baselines))
        except OSError as error:
            raise AnsibleActionFail(
                f"{directory} cannot be made: {error.strerror}. Set local_llm_benchmark_root to a directory of yours."
            ) from error
        except ReportError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"json_path": str(directory / "benchmark.json"), "html_path": str(directory / "benchmark.html")}


def _would(measured: Mapping[str, Mapping[str, Any]], fail: bool, show: bool) -> dict[str, Any]:
    """Return what a real run would measure: in check mode nothing was sent, which is no failure."""
    instances, lines = {}, []
    for name, one in measured.items():
        tier = str(one.get("slo_tier") or "standard")
        load = one.get("would_measure")
        parts = [f"would measure release {one.get('release') or 'unknown'} with {load}", f"held against tier {tier}"]
        summary = f"{'; '.join(parts)}." if load else f"cannot be measured: {one.get('msg') or 'no reason is known'}"
        lines.append(f"{name}: {summary}")
        empty: dict[str, Any] = {"slo": None, "scenario": None, "comparison": None}
        instances[name] = {"status": NOT_MEASURED, "summary": summary, **empty}
    refused = [name for name, one in measured.items() if not one.get("would_measure")]
    last = f"Check mode: nothing was sent and nothing was written. {len(measured) - len(refused)} would be measured."
    if refused:
        last += f" Cannot be measured: {', '.join(refused)}."
    if show:
        Display().display("\n".join([*lines, last]))
    return {
        "changed": False,
        "failed": bool(refused) and fail,
        "msg": last,
        "status": NOT_MEASURED,
        "table": [*lines, last],
        "instances": instances,
        "new_baselines": 0,
        "json_path": None,
        "html_path": None,
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
