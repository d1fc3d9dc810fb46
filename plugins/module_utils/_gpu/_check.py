# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a GPU check is: a small function from a snapshot to findings, with its source, thresholds and runbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding, nearest

# What brings a host back, mildest first; "configure" needs a person and no rung of the ladder.
REMEDIES = ("none", "configure", "restart_app", "reset_gpu", "reboot", "hardware")

Snapshot = Mapping[str, Any]
Findings = list[dict[str, Any]]


class OptionError(ValueError):
    """An option of a check is wrong; the message names the option, the value and the fix."""


@dataclass(frozen=True)
class Threshold:
    """A number that a site may change: its default, the range that makes sense, and its reason."""

    default: float
    minimum: float
    maximum: float
    reason: str


@dataclass(frozen=True)
class Context:
    """What a check may look at besides the snapshot.

    thresholds: {check: {threshold: number}}, the site's own over the defaults. expected: the state that the site wants
    (keys: gpu_health's option expected). policies: {"xid": {...}, "sxid": {...}, "nvlink5": {...}}.
    since_seconds: only events after this Unix time count; None: those that nothing has cleared.
    """

    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cleared_at_seconds: Mapping[str, float] = field(default_factory=dict)
    since_seconds: float | None = None


@dataclass(frozen=True)
class Check:
    """One check of the registry.

    name: as findings carry it. looks_at: one line for people. source: the call or file that the signal comes from.
    reference: who describes it or acts on it. group: the file in docs/runbooks/ that has a section of the check's name.
    """

    name: str
    looks_at: str
    source: str
    reference: str
    group: str
    run: Callable[[Check, Snapshot, Context], Findings]
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)

    @property
    def runbook(self) -> str:
        """Return where the runbook of this check is."""
        return f"docs/runbooks/{self.group}.md#{self.name}"

    def threshold(self, context: Context, name: str) -> float:
        """Return a threshold: the site's own, or the default."""
        return float(context.thresholds.get(self.name, {}).get(name, self.thresholds[name].default))

    def ok(self, subject: str, observed: Any = None, expected: Any = None) -> Findings:
        """Return the one finding that says that all is well."""
        return [self._finding("ok", subject, observed, expected, "", "none", None, None)]

    def skip(self, subject: str, why: str) -> Findings:
        """Return the one finding that says why the check does not apply here."""
        return [self._finding("skip", subject, why, None, "", "none", None, None)]

    def warn(
        self, subject: str, observed: Any, expected: Any, action: str, remedy: str = "none", gpu: Snapshot | None = None
    ) -> dict[str, Any]:
        """Return a finding to look at in working hours; the host may go on serving."""
        return self._finding("warn", subject, observed, expected, action, remedy, gpu, None)

    def fail(
        self, subject: str, observed: Any, expected: Any, action: str, remedy: str, gpu: Snapshot | None = None
    ) -> dict[str, Any]:
        """Return a finding with which the host, or this GPU of it, must leave service."""
        return self._finding("fail", subject, observed, expected, action, remedy, gpu, None)

    def _finding(
        self,
        status: str,
        subject: str,
        observed: Any,
        expected: Any,
        action: str,
        remedy: str,
        gpu: Snapshot | None,
        severity: str | None,
    ) -> dict[str, Any]:
        if remedy not in REMEDIES:
            raise ValueError(f"check {self.name}: the remedy {remedy!r} is none of {', '.join(REMEDIES)}")
        result = finding(
            self.name,
            status,
            subject,
            observed=observed,
            expected=expected,
            action=action,
            source=self.source,
            severity=severity,
        )
        return {**result, "remedy": remedy, "runbook": self.runbook, "gpu": gpu_of(gpu) if gpu else None}


def gpu_of(gpu: Snapshot) -> dict[str, Any]:
    """Return what identifies a GPU: index, uuid, pci_address."""
    return {"index": gpu["index"], "uuid": gpu["uuid"], "pci_address": gpu["pci"]["address"]}


def gpu_subject(gpu: Snapshot) -> str:
    """Return how findings name a GPU."""
    return f"GPU {gpu['index']} ({gpu['pci']['address']}, {gpu['name']})"


def gpus_subject(gpus: Sequence[Snapshot]) -> str:
    """Return how findings name all GPUs of a host."""
    return "1 GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"


def worst_remedy(findings: Sequence[Mapping[str, Any]]) -> str:
    """Return the strongest remedy among the findings that must leave service; none when there is no such finding."""
    remedies = [str(item["remedy"]) for item in findings if item["status"] == "fail"]
    return max(remedies, key=REMEDIES.index, default="none")


def check_thresholds(checks: Sequence[Check], given: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the site's thresholds as numbers. Raises OptionError for an unknown name and for a value out of range."""
    by_name = {check.name: check for check in checks}
    result: dict[str, dict[str, float]] = {}
    for name, values in given.items():
        check = by_name.get(name)
        if check is None:
            raise OptionError(f"thresholds: {name}: no check has this name.{_hint(str(name), by_name)}")
        if not isinstance(values, Mapping):
            raise OptionError(f"thresholds.{name}: {values!r} is not a dictionary of thresholds.{_known(check)}")
        result[name] = {str(key): _number(check, str(key), value) for key, value in values.items()}
    return result


def check_names(checks: Sequence[Check], names: Sequence[str], option: str) -> None:
    """Raise OptionError when a name in an option is no check."""
    known = [check.name for check in checks]
    for name in names:
        if name not in known:
            raise OptionError(f"{option}: {name}: no check has this name.{_hint(name, known)}")


def _number(check: Check, key: str, value: Any) -> float:
    threshold = check.thresholds.get(key)
    if threshold is None:
        raise OptionError(f"thresholds.{check.name}.{key}: the check has no such threshold.{_known(check)}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OptionError(f"thresholds.{check.name}.{key}: {value!r} is not a number.") from None
    if not threshold.minimum <= number <= threshold.maximum:
        raise OptionError(
            f"thresholds.{check.name}.{key}: {value} is out of range. "
            f"Use {threshold.minimum:g} to {threshold.maximum:g}; the default is {threshold.default:g}."
        )
    return number


def _known(check: Check) -> str:
    names = ", ".join(sorted(check.thresholds)) or "none"
    return f" Thresholds of {check.name}: {names}."


def _hint(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    near = nearest(name, known)
    return f" Did you mean {near}?" if near else f" Checks: {', '.join(sorted(known))}."
