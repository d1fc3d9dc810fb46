# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one report of what several load generators measured together, on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import RequestLimits
from ansible_collections.local_llm.ops.plugins.module_utils._bench._report import Beside, build_report
from ansible_collections.local_llm.ops.plugins.module_utils._bench._samples import (
    SamplesError,
    heads_problem,
    join_heads,
    join_runs,
    read_samples,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._action import ControllerAction
from ansible_collections.local_llm.ops.plugins.plugin_utils._bench_options import limits_of_tier
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_files import ReportError, write_files
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, get_tier


class ActionModule(ControllerAction):
    """Runs on the controller. Writes the report, except in check mode."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "samples": {"type": "dict", "required": True},
        "clock_ahead_seconds": {"type": "dict", "default": {}},
        "slo": {"type": "dict", "default": {}},
        "slo_tier": {"type": "str"},
        "slo_tiers": {"type": "dict", "default": {}},
        "result_path": {"type": "path"},
    }

    def act(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the report over all requests of all load generators."""
        files: dict[str, Any] = plain(arguments["samples"])
        ahead: dict[str, Any] = plain(arguments["clock_ahead_seconds"])
        if not files:
            raise AnsibleActionFail("samples: it is empty; give the raw samples of each load generator, {name: path}")
        heads, runs = [], []
        for name, path in files.items():
            try:
                head, run = read_samples(str(Path(str(path)).expanduser()))
            except (OSError, SamplesError) as error:
                raise AnsibleActionFail(f"samples.{name}: {error}") from error
            heads.append(head)
            runs.append(run)
        problem = heads_problem(heads)
        if problem:
            raise AnsibleActionFail(f"samples: {problem}")
        try:
            offsets = [float(ahead.get(name, 0.0)) for name in files]
            slo = plain(arguments["slo"])
            if arguments["slo_tier"]:
                slo = limits_of_tier(slo, get_tier(arguments["slo_tier"], plain(arguments["slo_tiers"])))
            limits = RequestLimits(**{key: float(value) for key, value in slo.items()})
        except SloError as error:
            raise AnsibleActionFail(str(error)) from error
        except (TypeError, ValueError) as error:
            raise AnsibleActionFail(f"clock_ahead_seconds or slo: a value is no number ({error})") from error
        workload, load = join_heads(heads)
        run, shared = join_runs(runs, offsets)
        generators = [
            {
                "name": name,
                "requests": len(one.records),
                "started_at": one.started_at,
                "clock_ahead_seconds": offset,
                "cpu_share_of_one_core": round(one.cpu_seconds / one.seconds, 3) if one.seconds else 0.0,
            }
            for name, one, offset in zip(files, runs, offsets, strict=True)
        ]
        beside = Beside(
            load={key: load.get(key) for key in ("scenario", "time_scale")},
            generators=generators,
            overlap_share=shared,
            shares_prefix=workload.get("shape") in ("shared_prefix", "multi_turn", "file"),
            limits=limits,
        )
        report = build_report(workload, load, run, beside, heads[0]["engine_version_tool"])
        if arguments["result_path"] and not self._task.check_mode:
            path = Path(str(arguments["result_path"])).expanduser().absolute()
            try:
                write_files(path.parent, {path.name: json.dumps(report, sort_keys=True) + "\n"}, [path.name])
            except ReportError as error:
                raise AnsibleActionFail(str(error)) from error
        failed = not report["requests"]["succeeded"]
        told = (
            f"{report['requests']['succeeded']} of {report['requests']['issued']} requests of {len(files)} generators"
        )
        return {"changed": False, "failed": failed, "msg": f"{told} were answered", "report": report}
