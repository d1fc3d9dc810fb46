# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold one benchmark result against another, on the controller: a table, a page, a verdict, an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction, made_now, made_with
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_compare import TOLERANCE, compare, table
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_html import render_benchmark_html
from ansible_collections.local_llm.ops.plugins.plugin_utils._controller_files import controller_path
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import ReportError, write_files

PAGE, DOCUMENT = "comparison.html", "comparison.json"


class ActionModule(ControllerAction):
    """Runs on the controller. Writes comparison.json and comparison.html, except in check mode."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "before": {"type": "raw", "required": True},
        "after": {"type": "raw", "required": True},
        "tolerance": {"type": "float", "default": TOLERANCE},
        "directory": {"type": "path"},
        "fail_on": {
            "type": "list",
            "elements": "str",
            "choices": ["worse", "not_comparable", "same"],
            "default": ["worse", "not_comparable"],
        },
        "show": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the comparison."""
        if not 0 <= arguments["tolerance"] <= 10:
            raise AnsibleActionFail(f"tolerance: {arguments['tolerance']} is outside 0 to 10; 0.05 means 5 %")
        before, after = (self._reports(name, plain(arguments[name])) for name in ("before", "after"))
        comparison = compare(before, after, arguments["tolerance"])
        lines = table(comparison)
        path = None
        if arguments["directory"] and not self._task.check_mode:
            path = self._write(Path(str(arguments["directory"])).expanduser().absolute(), comparison, before, after)
            lines.append(f"Page: {path}")
        if arguments["show"]:
            Display().display("\n".join(lines))
        return {
            "changed": False,
            "failed": comparison["verdict"] in arguments["fail_on"],
            "msg": _told(comparison),
            "verdict": comparison["verdict"],
            "comparison": comparison,
            "table": lines,
            "html_path": path,
        }

    def _reports(self, name: str, value: Any) -> list[dict[str, Any]]:
        """Return the reports of one side: given as such, or as paths of files on the controller."""
        values = value if isinstance(value, list) else [value]
        found = []
        for one in values:
            if isinstance(one, dict):
                found.append(one)
                continue
            path = controller_path(self._loader, str(one))
            try:
                report = json.loads(path.read_bytes())
            except OSError as error:
                raise AnsibleActionFail(
                    f"{name}: {path} cannot be read ({error.strerror}); name a report of llm_benchmark"
                ) from error
            except ValueError as error:
                raise AnsibleActionFail(f"{name}: {path} is no JSON; name a report of llm_benchmark") from error
            # A baseline has its report inside.
            found.append(report["report"] if isinstance(report, dict) and "report" in report else report)
        return found

    @staticmethod
    def _write(
        directory: Path, comparison: dict[str, Any], before: list[dict[str, Any]], after: list[dict[str, Any]]
    ) -> str:
        word = comparison["verdict"]
        document = {
            "title": "Comparison of two results",
            "made_at": made_now(),
            "versions": made_with(),
            "status": word,
            "summary": f"{_told(comparison)}.",
            "comparison": comparison,
            "entries": [
                {
                    "name": name,
                    "status": "ok" if reports[0].get("valid") else "not_measured",
                    "summary": "",
                    "slo": None,
                    "scenario": None,
                    "report": reports[0] if comparison["rows"] else None,
                }
                for name, reports in (("First result", before), ("Second result", after))
            ],
        }
        texts = {
            PAGE: render_benchmark_html(document),
            DOCUMENT: json.dumps(comparison, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        }
        try:
            directory.mkdir(parents=True, exist_ok=True)
            write_files(directory, texts, list(texts))
        except (OSError, ReportError) as error:
            raise AnsibleActionFail(f"{directory} cannot be written: {error}. Name a directory of yours.") from error
        return str(directory / PAGE)


def _told(comparison: dict[str, Any]) -> str:
    """Return verdict and reason as the beginning of a sentence."""
    word, reason = comparison["verdict"].replace("_", " "), comparison["reason"]
    text = reason if reason.startswith(word) else f"{word}: {reason}"
    return text[0].upper() + text[1:]
