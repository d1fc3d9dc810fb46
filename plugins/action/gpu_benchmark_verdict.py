# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the GPU benchmarks of the fleet: a table, findings and JSON documents, on the controller."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.local_llm.ops.plugins.plugin_utils._action import (
    ControllerAction,
    answers_by_host,
    made_now,
    made_with,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_benchmark_report import (
    build_document,
    document_text,
    must_leave,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._gpu_reference import (
    ReferenceTableError,
    load_reference,
    merge_reference,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import ReportError, write_files

DOCUMENT = "gpu_benchmark.json"


class ActionModule(ControllerAction):
    """Runs on the controller. Writes gpu_benchmark.json and one file per host, except in check mode."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "str"},
        "results": {"type": "dict"},
        "results_from": {"type": "str"},
        "reference": {"type": "dict", "default": {}},
        "directory": {"type": "path"},
        "fail": {"type": "bool", "default": True},
        "show": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return status, findings, the document's path, and which hosts must leave service."""
        answers = self._answers(arguments, task_vars)
        try:
            reference = merge_reference(load_reference(), plain(arguments["reference"]))
        except ReferenceTableError as error:
            raise AnsibleActionFail(f"gpu_benchmark_verdict: {error}") from error
        made_at = made_now()
        versions = made_with()
        try:
            document = build_document(answers, reference, made_at=made_at, versions=versions)
        except (KeyError, TypeError, StopIteration) as error:
            raise AnsibleActionFail(
                f"gpu_benchmark_verdict: this version's gpu_benchmark gives no such result ({error!r}). Measure again."
            ) from error
        text = document_text(document)
        path = None
        if arguments["directory"] and not self._task.check_mode:
            directory = Path(str(arguments["directory"])).expanduser().absolute()
            self._write(directory, document, answers)
            path = str(directory / DOCUMENT)
            text += f"\n\nFigures: {path}"
        if arguments["show"]:
            Display().display(text)
        leave = must_leave(document)
        result = {
            # The files tell of one run; nothing that is managed has changed.
            "changed": False,
            "failed": bool(leave) and arguments["fail"],
            "msg": document["summary"],
            "status": document["status"],
            # Those that are fine are in the document: a failed task prints its whole result.
            "findings": {
                host["host"]: [item for item in host["findings"] if item["status"] in ("warn", "fail")]
                for host in document["hosts"]
            },
            "must_leave": leave,
            "table": text.splitlines(),
            "json_path": path,
        }
        return result if path else {**result, "document": document}

    @staticmethod
    def _answers(arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if bool(arguments["results_from"]) == bool(arguments["results"]):
            raise AnsibleActionFail(
                "gpu_benchmark_verdict: give either results_from, the name of a variable that every host registered, "
                "or results, {host: result}."
            )
        if arguments["results_from"] and not arguments["hosts"]:
            raise AnsibleActionFail("gpu_benchmark_verdict: results_from needs hosts, the hosts to look at.")
        answers = answers_by_host(arguments, "results", task_vars)
        wrong = [host for host, answer in answers.items() if not isinstance(answer, dict)]
        if wrong:
            raise AnsibleActionFail(f"gpu_benchmark_verdict: results.{wrong[0]}: it is no result of gpu_benchmark.")
        return answers

    @staticmethod
    def _write(directory: Path, document: dict[str, Any], answers: dict[str, Any]) -> None:
        texts = {DOCUMENT: _json(document)}
        for host, answer in answers.items():
            if answer.get("report"):
                name = re.sub(r"[^A-Za-z0-9._-]", "_", host)
                texts[f"{name}-gpu.json"] = _json({"host": host, **answer["report"]})
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            write_files(directory, texts, list(texts))
        except OSError as error:
            raise AnsibleActionFail(
                f"{directory} cannot be made: {error.strerror}. Set local_llm_benchmark_root to a directory of yours."
            ) from error
        except ReportError as error:
            raise AnsibleActionFail(str(error)) from error


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
