# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Words and figures of the report: the sentence on top, what to do next, and how values are written."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._report_compare import MEASURES
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_driver_words import (
    DRIVER_STEPS,
    driver_next_steps,
    driver_summary,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import parse_time

MAX_REASON = 180
MAX_NAMED_REASONS = 2
# What tasks and modules write before the reason itself.
_PREFIXES = re.compile(
    r"^(?:Halt without a yes: |Journal: [^:]{1,60}: |Switch: \S+ to release \w+: |\S+/\S+: step \w+ is not proven: "
    r"|instance \S+, release \w+ on \S+ port \d+: |the verdict is \w+: |Fail: )"
)
NONE = "\N{EN DASH}"
_STEP_WORDS = {
    "planned": "plan",
    "locked": "take the fleet lock",
    "preflight": "preflight",
    "staged": "stage the release",
    "baseline": "measure the baseline",
    "baseline_quality": "golden answers before",
    "drained": "drain at the gateway",
    "armed": "arm the dead-man",
    "switched": "switch and wait until ready",
    "completion": "one real completion",
    "quality": "quality suite",
    "benchmark": "benchmark",
    "gpu_health": "GPUs under the new release",
    "gpu_watched": "GPUs after the watch",
    "rollback_gpu_health": "GPUs after the rollback",
    "verdict": "verdict",
    "no_baseline": "no baseline, on a person's word",
    "accepted_without_evidence": "accepted by a person without a pass",
    "evidence_stored": "evidence kept on the host",
    "drift_found": "the machine became slower, not the release",
    "metric_contract": "metrics that the alerts read",
    "metrics_known": "Prometheus knows the server",
    "metrics_watched": "live traffic as Prometheus saw it",
    "accepted_alerts": "begun by a person although alerts fire",
    "admitted": "admit at a small share",
    "watched": "watch live traffic",
    "full_share": "give the full share",
    "committed": "commit",
    "batch_started": "start of a batch",
    "failed": "failure recorded",
    "step_failed": "step not proven",
    "stage_failed": "staging failed",
    "unreachable": "host unreachable",
    "reverting": "start to revert",
    "reverted": "back on the old release",
    "rollback_completion": "one real completion after the rollback",
    "rollback_benchmark": "benchmark after the rollback",
    "rollback_quality": "quality suite after the rollback",
    "rollback_verdict": "verdict after the rollback",
    "rolled_back_verified": "rollback verified",
    "rollback_failed": "rollback failed",
    "lock_renewed": "fleet lock renewed",
    "lease_renewed": "drain renewed at the gateway",
    "gate_refused": "evidence gate stayed shut",
    "drain_incomplete": "went back while requests may have been under way",
    "drain_failed": "drain failed at the gateway",
    "lost": "host lost, its state is unknown",
    "resumed": "put back after an interrupted rollout",
    "awaiting_approval": "waiting for a yes",
    "approved": "a person said yes",
    "no_approval": "nobody said yes",
    "revert_failed": "going back failed",
    **DRIVER_STEPS,
}
_OUTCOME_WORDS = {
    "completed": "Completed",
    "rolled_back_verified": "Rolled back and verified",
    "rollback_failed": "Rollback failed",
    "halted": "Halted",
    "unfinished": "Unfinished",
    "healthy": "Healthy on the new release",
    "unknown": "Unknown",
    "untouched": "Not reached, serves the old release",
}
# Units of the measures that a verdict names in words.
_MEASURE_UNITS = (
    ("time to first token", "seconds"),
    ("time per output token", "seconds"),
    ("total latency", "seconds"),
    ("failed share", "share"),
    ("pairs against", "share"),
    ("quality", "share"),
)
_MEASURE_LABELS = {measure: label for measure, label, *_rest in MEASURES}


def words(name: Any) -> str:
    """Return a name of the journal as words."""
    key = str(name or "")
    return _OUTCOME_WORDS.get(key) or key.replace("_", " ") or NONE


def step_words(name: Any) -> str:
    """Return the name of a step as words."""
    return _STEP_WORDS.get(str(name), words(name))


def step_title(step: dict[str, Any]) -> str:
    """Return the name of a step in a report, and that it failed."""
    name = step_words(step["step"])
    told = "fail" in name or "unreachable" in name or "lost" in name or "not proven" in name
    return f"{name}: failed" if step.get("failed") and not told else name


def plain_reason(text: str) -> str:
    """Return a reason without the known prefixes of tasks and modules."""
    short = text
    while (match := _PREFIXES.match(short)) and short[match.end() :]:
        short = short[match.end() :]
    return short


def measure_words(name: Any) -> str:
    """Return the name of a measure as words."""
    return _MEASURE_LABELS.get(str(name), words(name))


def sentence(text: Any) -> str:
    """Return a text with a capital first letter."""
    line = str(text)
    return line[:1].upper() + line[1:]


def seconds(value: Any) -> str:
    """Write a duration with the unit that reads best."""
    if not isinstance(value, (int, float)):
        return NONE
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 0.9995:
        milliseconds = value * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 or milliseconds == 0 else f"{milliseconds:.1f} ms"
    if value < 59.995:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def share(value: Any) -> str:
    """Write a share (0 to 1) in percent."""
    if not isinstance(value, (int, float)):
        return NONE
    percent = value * 100
    return f"{percent:.0f} %" if percent in (0, 100) or percent >= 10 else f"{percent:.2f} %"


def figure(value: Any, measure: Any = "") -> str:
    """Write a value the way its measure asks for: *_seconds, *_share, *_percent, or a plain number."""
    name = str(measure or "")
    unit_name = next((unit for start, unit in _MEASURE_UNITS if name.startswith(start)), "")
    name = f"{name} {unit_name}"
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (int, float)):
        return str(value)
    if "percent" in name:
        return f"{value:.4g} %"
    if "per_second" in name:
        return f"{value:.1f} /s"
    if "seconds" in name:
        return seconds(value)
    if "share" in name:
        return share(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(value: Any) -> str:
    """Write the time of day (UTC) of an ISO 8601 text."""
    moment = parse_time(value)
    return moment.strftime("%H:%M:%S") if moment else NONE


def day_and_clock(value: Any) -> str:
    """Write day and time (UTC) of an ISO 8601 text."""
    moment = parse_time(value)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else NONE


def summary(report: dict[str, Any]) -> str:
    """Return the outcome in one sentence."""
    outcome, hosts, cause = report["outcome"], report["hosts"], report["cause"]
    number, took = len(hosts), seconds(report["duration_seconds"])
    everything = _plural(number, "instance")
    why = _why(report)
    if report["rollout_kind"] == "driver":
        return driver_summary(report, why, took)
    if outcome == "completed":
        releases = sorted({entry["release"] for entry in hosts if entry["release"]})
        target = f"release {releases[0]}" if len(releases) == 1 else "its new release"
        subject = "1 instance serves" if number == 1 else f"all {number} instances serve"
        return f"Completed: {subject} {target} after {took}."
    if report["on_purpose"]:
        releases = sorted({entry["release"] for entry in hosts if entry["release"]})
        target = f"release {releases[0]}" if len(releases) == 1 else "the release from before"
        subject = "1 instance serves" if number == 1 else f"all {number} instances serve"
        return f"Rolled back on purpose, verified: {subject} {target} again after {took}."
    if outcome == "rolled_back_verified":
        moved = sum(entry["outcome"] == "rolled_back_verified" for entry in hosts)
        return f"Rolled back and verified: {why}; {_plural(moved, 'instance')} went back and proved the old release."
    if outcome == "rollback_failed":
        failed = [_name(entry) for entry in hosts if entry["outcome"] == "rollback_failed"]
        return f"Rollback failed on {_listed(failed) or 'an unnamed host'}: {why}."
    if outcome == "halted":
        return f"Halted: {why}; {_tally(hosts)}."
    state = f", last state {words(report['state'])}" if report["state"] else ""
    trouble = f"; {why}" if cause else ""
    return f"Unfinished: the journal ends without an outcome{state} ({everything}){trouble}."


def next_steps(report: dict[str, Any]) -> str | None:
    """Return what to do next in one or two sentences, or None when the rollout completed."""
    outcome, hosts, cause = report["outcome"], report["hosts"], report["cause"]
    if outcome == "completed" or report["on_purpose"]:
        return None
    if report["rollout_kind"] == "driver":
        return driver_next_steps(report)
    if outcome == "rollback_failed":
        failed = [entry for entry in hosts if entry["outcome"] == "rollback_failed"] or hosts[:1]
        names = ",".join(sorted({entry["host"] for entry in failed}))
        units = _listed(sorted({unit(entry["instance"]) for entry in failed}))
        return (
            f"Act now: keep {names} drained at the gateway and read `journalctl -u {units}` there. "
            f"Then run `ansible-playbook local_llm.ops.rollback --limit {names}`, or restore the old release by hand."
        )
    if cause is not None and cause["verdict"] == "no_approval":
        return (
            "The canary waits for a yes. Go on with `ansible-playbook local_llm.ops.upgrade -e "
            "local_llm_rollout_approved=true`, or go back with `ansible-playbook local_llm.ops.rollback`."
        )
    lost = [entry["host"] for entry in hosts if entry["outcome"] == "unknown"]
    if outcome == "unfinished":
        return (
            "If no rollout runs any more, run `ansible-playbook local_llm.ops.upgrade` again: it resumes from the "
            "state of the hosts. Hosts that did not commit go back by themselves when their dead-man's time is over."
        )
    if outcome == "halted" and lost:
        names = _listed(sorted(set(lost)))
        return (
            f"Bring {names} back (power, network, SSH): the dead-man there goes back to the old release by itself. "
            "Then run `ansible-playbook local_llm.ops.upgrade` again: it resumes from the state of the hosts."
        )
    if outcome == "halted" and all(entry["outcome"] == "untouched" for entry in hosts):
        return (
            "No instance was taken out of service, so nothing is urgent. Mend what the journal below names, then run "
            "`ansible-playbook local_llm.ops.upgrade` again."
        )
    if outcome == "halted":
        return (
            "A person decides: read the verdict below, then run `ansible-playbook local_llm.ops.upgrade` again to "
            "repeat the measurement, or `ansible-playbook local_llm.ops.rollback` to go back."
        )
    kept = any(entry["outcome"] == "healthy" for entry in hosts)
    calm = "Every instance serves a proven release" if kept else "The fleet serves the old release"
    return f"{calm}, so nothing is urgent. {_mend(cause, hosts)}"


def unit(instance: str) -> str:
    """Return the systemd unit of an instance."""
    return f"local-llm@{instance or '<instance>'}"


def _mend(cause: dict[str, Any] | None, hosts: list[dict[str, Any]]) -> str:
    again = "then run `ansible-playbook local_llm.ops.upgrade` again."
    if cause is None:
        return f"Look for the cause in the journal below, mend it in the inventory, {again}"
    host = cause["host"] or "the host"
    broken = [
        str(reason.get("measure"))
        for entry in hosts
        if entry["host"] == cause["host"] and entry["verdict"]
        for reason in entry["verdict"].get("reasons") or []
        if reason.get("status") == "fail"
    ]
    if cause["step"] == "quality" or (broken and all(measure.startswith("quality") for measure in broken)):
        return (
            f"See the verdict table and which golden answers differ on {host} below, check model and engine version in "
            f"the inventory, {again}"
        )
    if broken or cause["step"] == "verdict":
        return (
            f"See the verdict table and the plots of {host} below, change engine, model or options in the inventory, "
            f"{again}"
        )
    log = f"journalctl -u {unit(cause['instance'] or '')}"
    return f"Read `{log}` on {host} around {clock(cause['at'])} UTC, mend the cause in the inventory, {again}"


def _why(report: dict[str, Any]) -> str:
    cause = report["cause"]
    if cause is None:
        return "the journal names no failure"
    if not cause["host"]:
        return _sentence_part(str(cause["reason"]))
    name = _name(cause)
    at_step = f" at the step \u201c{step_words(cause['step'])}\u201d" if cause["step"] else ""
    batch = next((entry["batch"] for entry in report["hosts"] if entry["host"] == cause["host"]), None)
    where = f" in batch {batch}" if batch else ""
    if cause["unreachable"]:
        return f"{name}{where} became unreachable{at_step}"
    broken = _broken(report) if cause["step"] == "verdict" else ""
    return f"{name}{where} failed{at_step} ({broken or _sentence_part(str(cause['reason']))})"


def _sentence_part(text: str) -> str:
    """Return a reason that fits into the sentence on top; the whole of it stands below."""
    sentences = re.split(r"(?<=[.;!?])\s+(?=[A-Z])", text.split("Last lines of its log:")[0].strip())
    short = sentences[0]
    for following in sentences[1:]:
        if len(short) + len(following) >= MAX_REASON:
            break
        short += f" {following}"
    if len(short) > 1.2 * MAX_REASON:
        short = short[: MAX_REASON - 1].rsplit(" ", 1)[0] + "\u2026"
    return short.rstrip(".;: ")


def _broken(report: dict[str, Any]) -> str:
    """Return the first failing reasons of the verdict that is the cause."""
    cause = report["cause"]
    reasons = [
        reason
        for entry in report["hosts"]
        if (entry["host"], entry["instance"]) == (cause["host"], cause["instance"]) and entry["verdict"]
        for reason in entry["verdict"].get("reasons") or []
        if reason.get("status") == "fail"
    ]
    parts = []
    for reason in reasons[:MAX_NAMED_REASONS]:
        name = reason.get("measure")
        parts.append(
            f"{measure_words(name)} is {figure(reason.get('observed'), name)}, "
            f"allowed is {figure(reason.get('threshold'), name)}"
        )
    more = len(reasons) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


def _name(entry: dict[str, Any]) -> str:
    host, instance = entry.get("host") or "a host", entry.get("instance")
    return f"{instance} on {host}" if instance else str(host)


def _tally(hosts: list[dict[str, Any]]) -> str:
    parts = []
    for outcome, phrase in (
        ("healthy", "healthy on the new release"),
        ("rolled_back_verified", "back on the old release and verified"),
        ("rollback_failed", "with a failed rollback"),
        ("untouched", "not reached"),
        ("unknown", "in an unknown state"),
    ):
        number = sum(entry["outcome"] == outcome for entry in hosts)
        if number:
            parts.append(f"{number} {phrase}")
    return _listed(parts) or "no host was touched"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""
