# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The report of a rollout as plain data, made from journal lines and evidence. Schema 1.

Keys of the report:
  schema, kind ("rollout_report"), rollout_kind (release | driver), rollout_id, outcome (completed |
  rolled_back_verified | rollback_failed | halted | unfinished), on_purpose (a person asked for the rollback, and it
  went well), state (the last state of the rollout), finished, summary (one sentence), next_steps (null when there is
  nothing to do), started_at, ended_at,
  duration_seconds, cause (host, instance, step, reason, log_lines, verdict, unreachable, at, line; or null),
  plan (batches, scope, moves), hosts, events (the journal, allow-listed), journal (integrity), controller, versions.
Keys of one entry of hosts:
  host, instance, batch, canary, state, outcome, release, previous_release, changes, started_at, ended_at, wall_seconds,
  seconds {engine, measurement, waiting, orchestration}, orchestration_share, steps, verdict, rollback_verdict,
  live (requests, failed, others_requests, others_failed, told, stopped: live requests at the small share, and whether
  they stopped the release; or null), comparison, benchmarks {baseline, new, after_rollback},
  quality {baseline, new, after_rollback}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils import _report_evidence as evidence_list
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_compare import compare
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import parse_time, read_journal
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_times import host_times, is_preparation, step_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_words import (
    next_steps,
    plain_reason,
    summary,
    words,
)

REPORT_SCHEMA = 1
FINAL_STATES = ("completed", "halted", "rolled_back_verified", "rollback_failed")
HOST_FINAL_STATES = ("healthy", "rolled_back_verified", "rollback_failed")
TROUBLE = ("failed", "step_failed", "stage_failed", "unreachable", "lost", "revert_failed", "rollback_failed")
# Which phase the evidence of an event describes. "new": the new release; "after_rollback": the old one again.
PHASE = {
    "baseline": "baseline",
    "baseline_quality": "baseline",
    "completion": "new",
    "quality": "new",
    "benchmark": "new",
    "verdict": "new",
    "metric_contract": "new",
    "watched": "new",
    "metrics_known": "new",
    "metrics_watched": "new",
    "failed": "new",
    "rollback_benchmark": "after_rollback",
    "rollback_quality": "after_rollback",
    "rollback_verdict": "after_rollback",
    "rolled_back_verified": "after_rollback",
    "rollback_failed": "after_rollback",
}
# Verdicts beside that of the judge: shown where they stopped the release.
SIDE_VERDICTS = ("metric_contract", "watched", "metrics_known", "metrics_watched")
_TEXTS = dict.fromkeys(
    (
        "hostname",
        "pid",
        "directory",
        "ansible",
        "ansible_core",
        "ansible_version",
        "python",
        "python_version",
        "collection",
        "collection_version",
    ),
    evidence_list.scalar,
)


def build_report(
    journal_text: str,
    evidence_files: Mapping[str, Any] | None = None,
    tool: Mapping[str, Any] | None = None,
    evidence_problems: Sequence[str] = (),
    plan: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report of a rollout.

    journal_text: the whole journal. evidence_files: parsed JSON files by name. tool: versions of what makes the report.
    evidence_problems: one sentence per evidence file that is missing or was changed. plan: what the rollout set out to
    do, where it lies in a file of its own; a plan in the journal comes before it.
    """
    files = evidence_files or {}
    records, integrity = read_journal(journal_text)
    plans = [*_plan_holders([record for record in records if not record.get("host")], files), plan or {}]
    rollout_lines = [record for record in records if not record.get("host")]
    planned = _planned(plans, files)
    instances: dict[str, list[str]] = {}
    for host, instance in planned:
        instances.setdefault(host, []).append(instance)
    for record in records:
        names = instances.setdefault(str(record.get("host") or ""), [])
        if record.get("instance") and str(record["instance"]) not in names:
            names.append(str(record["instance"]))
    by_host: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in planned}
    for record in records:
        for key in _rows(record, instances):
            by_host.setdefault(key, []).append(record)
    batches = _batches(plans, files)
    hosts = []
    for key, lines in by_host.items():
        siblings = [line for other, found in by_host.items() if other[0] == key[0] and other != key for line in found]
        times = host_times(lines, rollout_lines, files, siblings)
        hosts.append(_host(key, lines, times, batches, files, planned.get(key)))
    hosts.sort(key=lambda entry: (entry["batch"] is None, entry["batch"] or 0))
    state = _rollout_state(rollout_lines)
    cause = _cause(records)
    if cause and not cause["instance"]:
        found = [entry["instance"] for entry in hosts if entry["host"] == cause["host"]]
        cause["instance"] = found[0] if len(found) == 1 else None
    on_purpose = state == "rolled_back_verified" and cause is None
    if on_purpose:
        _turn_round(hosts)
    moments = [moment for record in records if (moment := parse_time(record.get("at")))]
    started, ended = min(moments, default=None), max(moments, default=None)
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "kind": "rollout_report",
        "rollout_kind": "driver" if any(holder.get("kind") == "driver" for holder in plans) else "release",
        "rollout_id": next((str(record["rollout_id"]) for record in records if record.get("rollout_id")), None),
        "outcome": state if state in FINAL_STATES else "unfinished",
        "on_purpose": on_purpose,
        "state": state,
        "finished": state in FINAL_STATES,
        "started_at": started.isoformat() if started else None,
        "ended_at": ended.isoformat() if ended else None,
        "duration_seconds": round((ended - started).total_seconds(), 3) if started and ended else None,
        "cause": cause,
        "plan": _plan(plans, batches, hosts),
        "hosts": hosts,
        "events": [_event(record) for record in records],
        "journal": {**integrity, "evidence_problems": list(evidence_problems)},
        "controller": _described(rollout_lines, "controller"),
        "versions": {**_described(rollout_lines, "versions"), "report": dict(tool or {})},
    }
    report["summary"] = summary(report)
    report["next_steps"] = next_steps(report)
    return report


def _rollout_state(rollout_lines: list[dict[str, Any]]) -> str | None:
    for line in reversed(rollout_lines):
        for word in (line.get("state"), line.get("event")):
            if isinstance(word, str) and word:
                return word
    return None


def _cause(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first failure since the rollout was planned, or planned anew."""
    planned = [index for index, record in enumerate(records) if record.get("event") == "planned"]
    lines = records[planned[-1] if planned else 0 :]
    # A gate that stays shut is the cause only where nothing failed before.
    trouble = [record for record in lines if record.get("event") in TROUBLE]
    trouble += [record for record in lines if record.get("event") == "gate_refused"]
    if not trouble:
        return None
    record = trouble[0]
    facts = evidence_list.facts(record.get("evidence"))
    reason = plain_reason(evidence_list.reason(record.get("detail")) or "")
    evidence = record.get("evidence")
    verdict = evidence.get("verdict") if isinstance(evidence, Mapping) else None
    return {
        "host": evidence_list.text(record.get("host")),
        "instance": evidence_list.text(record.get("instance")),
        "step": facts.get("step"),
        "reason": reason or facts.get("reason") or words(record["event"]),
        "log_lines": evidence_list.log_lines(record.get("detail")),
        "verdict": evidence_list.text(verdict) or None,
        "unreachable": record["event"] in ("unreachable", "lost") or facts.get("reason") == "unreachable",
        "at": evidence_list.text(record.get("at")),
        "line": record["line"],
    }


def _turn_round(hosts: list[dict[str, Any]]) -> None:
    """Name the releases of a rollback on purpose by its own direction: the plan calls the way back "from"."""
    for entry in hosts:
        entry["release"], entry["previous_release"] = entry["previous_release"], entry["release"]
        entry["changes"] = [{**item, "from": item["to"], "to": item["from"]} for item in entry["changes"]]


def _rows(record: Mapping[str, Any], instances: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Return the rows that a line belongs to: one without an instance speaks for every instance of its host."""
    host = record.get("host")
    if not host:
        return []
    if record.get("instance"):
        return [(str(host), str(record["instance"]))]
    return [(str(host), instance) for instance in instances.get(str(host)) or [""]]


def _plan_holders(rollout_lines: list[dict[str, Any]], files: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what may hold the plan: evidence of a line, and its "plan" (inline, or in a file of its own)."""
    for line in rollout_lines:
        evidence = line.get("evidence")
        if isinstance(evidence, Mapping):
            plan = evidence_list.resolve(evidence.get("plan"), files)
            yield from (holder for holder in (plan, evidence) if isinstance(holder, Mapping))


def _planned(plans: list[Mapping[str, Any]], files: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the plan says of each instance that it changes."""
    for holder in plans:
        hosts = evidence_list.resolve(holder.get("hosts"), files)
        if not isinstance(hosts, Mapping):
            continue
        return {
            (str(host), str(instance)): evidence_list.keep(entry, evidence_list.PLANNED)
            for host, entries in hosts.items()
            if isinstance(entries, Mapping)
            for instance, entry in entries.items()
            if isinstance(entry, Mapping) and entry.get("action") != "none"
        }
    return {}


def _batches(plans: list[Mapping[str, Any]], files: Mapping[str, Any]) -> list[list[str]]:
    """Return the hosts of each planned batch, or an empty list when the journal does not tell."""
    for holder in plans:
        batches = evidence_list.resolve(holder.get("batches"), files)
        if isinstance(batches, list) and batches:
            return [_batch_hosts(batch) for batch in batches]
    return []


def _batch_hosts(batch: Any) -> list[str]:
    names = batch.get("hosts") if isinstance(batch, Mapping) else batch
    kept = evidence_list.texts(names)
    return kept if kept is not None else []


def _plan(plans: list[Mapping[str, Any]], batches: list[list[str]], hosts: list[dict[str, Any]]) -> dict[str, Any]:
    scopes = [evidence_list.text(holder.get("scope")) for holder in plans]
    moves = [{key: entry[key] for key in ("host", "instance", "previous_release", "release")} for entry in hosts]
    return {"batches": batches, "scope": next(filter(None, scopes), None), "moves": moves}


def _described(rollout_lines: list[dict[str, Any]], key: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in rollout_lines:
        evidence = line.get("evidence")
        if isinstance(evidence, Mapping) and key in evidence:
            value = evidence[key]
            found.update({"hostname": evidence_list.text(value)} if isinstance(value, str) else {})
            kept = evidence_list.keep(value, _TEXTS) or {}
            found.update({name: item for name, item in kept.items() if item is not None})
    return found


def _host(
    key: tuple[str, str],
    lines: list[dict[str, Any]],
    times: dict[str, Any],
    batches: list[list[str]],
    files: Mapping[str, Any],
    planned: dict[str, Any] | None,
) -> dict[str, Any]:
    host, instance = key
    batch = next((index for index, names in enumerate(batches, start=1) if host in names), None)
    walked = [step for step in times["steps"] if step["category"] != "preparation"]
    found = _evidence(lines, files)
    state = next((line["state"] for line in reversed(lines) if isinstance(line.get("state"), str)), None)
    return {
        "host": host,
        "instance": instance,
        "batch": batch,
        "canary": batch == 1 if batch is not None else None,
        "state": state,
        "outcome": _host_outcome(state, touched=not all(map(is_preparation, lines))),
        "release": (planned or {}).get("to") or _first_text(lines, "release"),
        "previous_release": (planned or {}).get("from") or _first_text(lines, "previous_release"),
        "changes": (planned or {}).get("changes") or [],
        "started_at": walked[0]["started_at"] if walked else None,
        "ended_at": walked[-1]["ended_at"] if walked else None,
        **times,
        **found,
        "comparison": compare(found["benchmarks"]),
    }


def _first_text(lines: list[dict[str, Any]], key: str) -> str | None:
    """Return what a key said first: a later revert swaps release and previous release, the plan did not."""
    return next((evidence_list.text(line[key]) for line in lines if isinstance(line.get(key), str)), None)


def _host_outcome(state: str | None, touched: bool) -> str:
    """Return a final state, "untouched" for a host whose turn never came, or "unknown"."""
    if not touched:
        return "untouched"
    return state if state in HOST_FINAL_STATES else "unknown"


def _evidence(lines: list[dict[str, Any]], files: Mapping[str, Any]) -> dict[str, Any]:
    """Return benchmarks, quality and verdicts of a host by phase; what came last in a phase counts.

    Rounds of a benchmark count together, from the last time that the host was drained for a measurement.
    """
    rounds: dict[str, list[Any]] = {"baseline": [], "new": [], "after_rollback": []}
    quality: dict[str, Any] = dict.fromkeys(rounds)
    verdicts: dict[str, Any] = dict.fromkeys(rounds)
    live: dict[str, Any] | None = None
    went_back = False
    for line in lines:
        if step_of(line) == "watched":
            live = evidence_list.find_live(line) or live
        went_back = went_back or line.get("event") == "reverting"
        phase = PHASE.get(step_of(line))
        if line.get("event") == "step_failed" and phase == "new" and went_back:
            phase = "after_rollback"
        if phase is None or line.get("event") in SIDE_VERDICTS:
            continue
        evidence = line.get("evidence")
        if step_of(line).endswith("quality"):  # golden prompts come first: a measurement begins anew
            rounds[phase] = []
        rounds[phase] += evidence_list.find_rounds(evidence, files)
        quality[phase] = evidence_list.find_quality(evidence, files) or quality[phase]
        verdicts[phase] = evidence_list.find_verdict(evidence, files) or verdicts[phase]
    return {
        "verdict": verdicts["new"],
        "rollback_verdict": verdicts["after_rollback"],
        "live": live,
        "benchmarks": {phase: evidence_list.keep_benchmark(found) for phase, found in rounds.items()},
        "quality": quality,
    }


def _event(record: dict[str, Any]) -> dict[str, Any]:
    """Return what the journal table shows of a line."""
    kept = {
        key: evidence_list.text(record.get(key))
        for key in ("at", "host", "instance", "event", "state", "release", "previous_release")
    }
    kept["detail"] = evidence_list.detail(record.get("detail"))
    seconds = evidence_list.number(record.get("seconds"))
    facts = evidence_list.facts(record.get("evidence"))
    return {"line": record["line"], "intact": record["intact"], **kept, "seconds": seconds, "facts": facts}
