# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whether a host runs the driver that it shall run, with every GPU, and as fast as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_verify import benchmark_findings, driver_findings
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain


class ActionModule(ControllerAction):
    """Runs on the controller and changes nothing."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "facts": {"type": "dict", "required": True},
        "version": {"type": "str"},
        "gpu_count": {"type": "int"},
        "before": {"type": "dict"},
        "baseline": {"type": "path"},
        "benchmark": {"type": "dict"},
        "fail": {"type": "bool", "default": True},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the findings and whether all is well."""
        version = plain(arguments["version"]) or None
        before = plain(arguments["before"] or {})
        findings = driver_findings(plain(arguments["facts"]), version, arguments["gpu_count"], before)
        # A host that shall have no driver has nothing to measure.
        if arguments["baseline"] and version:
            findings += benchmark_findings(_baseline(arguments["baseline"]), plain(arguments["benchmark"]))
        bad = failures(findings)
        message = " ".join(finding_line(item) for item in bad) or f"driver {version or 'gone'}, verified"
        return {
            "changed": False,
            "failed": bool(bad) and arguments["fail"],
            "ok": not bad,
            "findings": findings,
            "msg": message,
        }


def _baseline(path: str) -> dict[str, Any] | None:
    """Return what gpu_benchmark_verdict wrote about the host before; None when there is no such file."""
    try:
        content = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AnsibleActionFail(f"gpu_driver_verdict: {path} cannot be read ({error}). Measure again.") from error
    return content if isinstance(content, dict) else None
