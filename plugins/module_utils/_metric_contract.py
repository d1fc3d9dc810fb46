# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Does a metrics page have what rules read from it? Text in, findings out, and the verdict on them.

A required series is {"metric", "labels", "label_names", "buckets", "rules", "also_called"}, see required_series() of
the controller's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding, nearest
from ansible_collections.local_llm.ops.plugins.module_utils._metrics_text import Sample, parse_metrics

SOURCE = "metric contract"
CHECK = "metric_contract"
NOT_MEASURED = "not measured by metrics"
_SHOWN = 5
_STATUS = {"fail": "fail", "warn": "inconclusive"}


def contract_findings(
    required: Iterable[Mapping[str, Any]], metrics_text: str, unknown_version: str = ""
) -> list[dict[str, Any]]:
    """Return one finding per required series: ok when the page has name, labels and buckets, fail when it has not.

    unknown_version: the engine with its version when nobody knows which metrics this version has. What is required is
    then taken from the newest version that is known, so that what is missing proves nothing: it is a warn.
    """
    wanted = list(required)
    by_name: dict[str, list[Sample]] = {}
    for sample in parse_metrics(metrics_text):
        by_name.setdefault(sample.name, []).append(sample)
    expected_names = {str(item["metric"]) for item in wanted}
    return [_finding(item, by_name, expected_names, unknown_version) for item in wanted]


def contract_verdict(findings: Iterable[Mapping[str, Any]], unknown_version: str = "") -> dict[str, Any]:
    """Return the verdict on findings: fail when something is missing; no finding is no contract, and passes.

    Inconclusive when it is missing in a version that nobody knows.
    """
    listed = list(findings)
    missing = failures(listed)
    doubtful = [item for item in listed if item["status"] == "warn"]
    skipped = [item for item in listed if item["status"] == "skip"]
    reasons = [
        {
            "measure": f"metric {item['subject']}",
            "observed": item["observed"],
            "threshold": item["expected"],
            "rule": item["action"] or "the rules read it",
            "status": _STATUS.get(str(item["status"]), "pass"),
        }
        for item in listed
    ]
    lacks = "the metrics lack what the rules read"
    if missing:
        summary = f"Fail: {lacks}: {_shown(missing)}. The release must go back."
    elif doubtful:
        summary = f"Inconclusive: {lacks}: {_shown(doubtful)}. {_unknown(unknown_version)} A person decides."
    elif skipped:
        summary = f"Pass: {NOT_MEASURED}: {skipped[0]['observed']}."
    else:
        summary = f"Pass: the metrics have all {len(listed)} series that the rules read."
    word = "fail" if missing else "inconclusive" if doubtful else "pass"
    return {"schema": 1, "verdict": word, "reasons": reasons, "statistics": None, "summary": summary}


def no_page_verdict(url: str, detail: str, answered: bool, unknown_version: str = "") -> dict[str, Any]:
    """Return the verdict when there is no page: fail when the engine says that it has none, error when it is silent.

    Inconclusive when it says so in a version that nobody knows: there the page may have moved.
    """
    rule = "the engine shows its metrics"
    reason = {"measure": "metrics page", "observed": detail, "threshold": "200", "rule": rule}
    if answered and unknown_version:
        summary = (
            f"Inconclusive: {url}/metrics answers {detail}, so no alert could see this release. "
            f"{_unknown(unknown_version)} A person decides."
        )
        return _verdict("inconclusive", {**reason, "status": "inconclusive"}, summary)
    if answered:
        summary = f"Fail: {url}/metrics answers {detail}, so no alert could see this release. The release must go back."
        return _verdict("fail", {**reason, "status": "fail"}, summary)
    summary = f"Error: {url}/metrics cannot be read ({detail}). A person decides."
    return _verdict("error", {**reason, "status": "inconclusive"}, summary)


def not_measured(engine: str) -> dict[str, Any]:
    """Return the finding for an engine without a metrics page."""
    return finding(
        CHECK,
        "skip",
        engine,
        observed=f"{engine} has no /metrics; the gateway's figures stand in",
        source=SOURCE,
    )


def _verdict(word: str, reason: dict[str, Any], summary: str) -> dict[str, Any]:
    return {"schema": 1, "verdict": word, "reasons": [reason], "statistics": None, "summary": summary}


def _unknown(version: str) -> str:
    return (
        f"slo_metrics.yml does not know {version}, and the rules take the names of the newest version that it knows: "
        "look at the page of this version and add it there."
    )


def _shown(findings: list[Mapping[str, Any]]) -> str:
    named = [f"{item['subject']} ({item['observed']})" for item in findings[:_SHOWN]]
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return ", ".join(named) + more


def _finding(
    item: Mapping[str, Any], by_name: Mapping[str, list[Sample]], expected: set[str], unknown_version: str
) -> dict[str, Any]:
    metric = str(item["metric"])
    rules = [str(rule) for rule in item.get("rules") or []]
    problem = _problem(item, by_name, expected)
    subject = _selector(metric, item.get("labels") or {})
    if problem is None:
        return finding(CHECK, "ok", subject, observed="there", source=SOURCE)
    readers = ", ".join(rules[:_SHOWN]) + (f" and {len(rules) - _SHOWN} more" if len(rules) > _SHOWN else "")
    fix = (
        _unknown(unknown_version)
        if unknown_version
        else ("Take a version that has it, or bring slo_metrics.yml up to date.")
    )
    return finding(
        CHECK,
        "warn" if unknown_version else "fail",
        subject,
        observed=problem,
        expected="there, for a rule that reads a series that is not there never fires",
        action=f"These rules go blind: {readers}. {fix}",
        source=SOURCE,
    )


def _problem(item: Mapping[str, Any], by_name: Mapping[str, list[Sample]], expected: set[str]) -> str | None:
    """Return what is missing, None when everything is there."""
    metric = str(item["metric"])
    samples = by_name.get(metric)
    if not samples:
        return _missing_name(metric, item.get("also_called") or [], by_name, expected)
    have = [dict(sample.labels) for sample in samples]
    for label, value in (item.get("labels") or {}).items():
        if not any(label in labels for labels in have):
            return f"its label {label} is missing"
        if not any(labels.get(label) == str(value) for labels in have):
            seen = sorted({labels[label] for labels in have if label in labels})
            return f'no series with {label}="{value}", only {_listed(seen)}'
    for label in item.get("label_names") or []:
        if not any(label in labels for labels in have):
            return f"its label {label} is missing"
    # As text: a rule that asks for le="1.0" does not find le="1".
    bounds = {labels["le"]: bound for labels in have for bound in _bounds(labels.get("le"))}
    for wanted in item.get("buckets") or []:
        if str(wanted) not in bounds:
            near = sorted(bounds, key=lambda text: abs(bounds[text] - float(wanted)))[:2]
            return f'no bucket le="{wanted}"; the nearest are {_listed(sorted(near, key=lambda text: bounds[text]))}'
    return None


def _missing_name(
    metric: str, also_called: Iterable[str], by_name: Mapping[str, list[Sample]], expected: set[str]
) -> str:
    for other in also_called:
        if other in by_name:
            return f"missing; it is called {other} there"
    # Only a name that nobody asks for can be the new one.
    prefix, suffix = metric.partition(":")[0] + ":", _suffix(metric)
    new = [name for name in by_name if name.startswith(prefix) and _suffix(name) == suffix and name not in expected]
    near = nearest(metric, new)
    return f"missing; perhaps it is called {near} now" if near else "missing"


def _suffix(metric: str) -> str:
    """Return what a histogram or a counter adds to its name."""
    return next((ending for ending in ("_bucket", "_sum", "_count", "_total") if metric.endswith(ending)), "")


def _bounds(text: str | None) -> list[float]:
    try:
        return [] if text is None else [float(text)]
    except ValueError:
        return []


def _selector(metric: str, labels: Mapping[str, Any]) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{pairs}}}" if pairs else metric


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    return ", ".join(found[:_SHOWN]) if found else "none"
