# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The policies for XID, SXid and NVLink codes: read, checked, with the site's own decisions. Controller only.

A policy is the whole document of its file. load_policies() gives all of it, with numbers as the keys of codes.
merge_overrides() gives what the module on the host needs of it, ready for JSON: codes keyed by strings ("79"), without
the sources, reasons and disagreements, which only people read. Look-ups (module_utils/_gpu/_xid_policy.py) take either.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import REMEDIES

POLICIES = ("xid", "sxid", "nvlink5")
# severity: the status that goes with it.
SEVERITIES = {"info": "ok", "warning": "warn", "critical": "fail"}
# Numbers from here on are SXids of an NVSwitch; XIDs have at most three digits.
FIRST_SXID = 10000
_FOR_THE_HOST = ("meaning", "status", "remedy", "then", "joins", "solo", "defers_to", "advice", "overridden", "codes")
_ENTRY = {
    "meaning": True,
    "severity": True,
    "status": True,
    "remedy": True,
    "nvidia": True,
    "source": True,
    "disagreements": True,
    "reason": True,
    "then": False,
    "joins": False,
    "solo": False,
    "defers_to": False,
    "advice": False,
}
_GROUP = {**_ENTRY, "codes": True}
_RULE = {
    "unit": True,
    "sub_code": True,
    "error_status": True,
    "severity": True,
    "status": True,
    "remedy": True,
    "nvidia": True,
    "source": True,
    "advice": False,
    "follows_154": False,
    "only_when_clear": False,
}
_TEXTS = ("meaning", "nvidia", "reason", "advice", "defers_to")
_NUMBERS = ("burst_seconds", "join_seconds")

Document = dict[str, Any]


class PolicyError(ValueError):
    """A policy or an override is malformed; one line per problem, each with code, key, value and fix."""


def load_policies(directory: Path | None = None) -> dict[str, Document]:
    """Return {"xid": ..., "sxid": ..., "nvlink5": ...}, as the files say. Raises PolicyError for a malformed file."""
    return copy.deepcopy(_read(directory or Path(__file__).parent))


def merge_overrides(policies: Mapping[str, Document], overrides: Any) -> dict[str, Document]:
    """Return the policies with the site's own decisions in them, as the module takes them.

    overrides: {code: {severity, action}}. severity: info, warning or critical; action (or remedy): one of REMEDIES;
    either may be left out. A code that no table knows is allowed. With a severity of its own a code no longer escalates
    by itself. An NVLink code that is overridden is no longer decoded. Raises PolicyError.
    """
    problems = override_problems(overrides)
    if problems:
        raise PolicyError("\n".join(problems))
    merged = {name: _lean(document) for name, document in policies.items()}
    for key, wanted in (overrides or {}).items():
        code = int(key)
        document = merged["sxid" if code >= FIRST_SXID else "xid"]
        document["codes"][str(code)] = _overridden(_entry_of(document, code), wanted)
    return merged


def override_problems(overrides: Any) -> list[str]:
    """Return what is wrong with xid_overrides, one text per problem."""
    where = "xid_overrides"
    if overrides is None:
        return []
    if not isinstance(overrides, Mapping):
        return [f"{where}: {overrides!r} is no dictionary. Write {{79: {{severity: critical, action: reboot}}}}."]
    found = []
    for key, wanted in overrides.items():
        if not _is_code(key):
            found.append(f"{where}.{key}: the code must be a whole number from 1 on, such as 79.")
            continue
        if not isinstance(wanted, Mapping) or not wanted:
            found.append(f"{where}.{key}: {wanted!r} says nothing. Write {{severity: critical, action: reboot}}.")
            continue
        found += _override_problems(f"{where}.{key}", wanted)
    return found


def policy_problems(name: str, document: Any) -> list[str]:
    """Return what is wrong with a policy (xid, sxid or nvlink5): one text per problem, with code, key and value."""
    where = f"{name}_policy"
    if not isinstance(document, Mapping):
        return [f"{where}: {document!r} is no dictionary. Take plugins/plugin_utils/{where}.yml as the pattern."]
    found = []
    if document.get("schema") != 1:
        found.append(f"{where}: schema: {document.get('schema')!r} is not known. This version reads schema 1.")
    sources = document.get("sources")
    if not isinstance(sources, Mapping) or not sources:
        found.append(f"{where}: sources: it is missing. Name every source: {{nvidia_catalog: what it is and of when}}.")
        sources = {}
    found += (
        _nvlink5_problems(where, document, sources) if name == "nvlink5" else _code_problems(where, document, sources)
    )
    return found


@functools.lru_cache(maxsize=4)
def _read(directory: Path) -> dict[str, Document]:
    policies: dict[str, Document] = {}
    problems: list[str] = []
    for name in POLICIES:
        path = directory / f"{name}_policy.yml"
        try:
            document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path}: it cannot be read: {error}. Install the collection again.")
            continue
        problems += policy_problems(name, document)
        policies[name] = document
    if problems:
        raise PolicyError("\n".join(problems))
    return policies


# The loader in C reads the same language, ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _code_problems(where: str, document: Mapping[str, Any], sources: Mapping[str, Any]) -> Iterator[str]:
    codes = document.get("codes")
    if not isinstance(codes, Mapping) or not codes:
        yield f"{where}: codes: it is missing. Write {{79: {{meaning: ..., severity: critical, ...}}}}."
        codes = {}
    seen: set[int] = set()
    for code, values in codes.items():
        if not _is_code(code):
            yield f"{where}: code {code!r}: it is no whole number from 1 on."
            continue
        seen.add(int(code))
        yield from _entry_problems(f"{where}: code {code}", values, _ENTRY, sources)
    for place, group in enumerate(document.get("groups") or ()):
        name = f"{where}: groups[{place}]"
        yield from _entry_problems(name, group, _GROUP, sources)
        members = group.get("codes") if isinstance(group, Mapping) else None
        if not isinstance(members, list):
            yield f"{name}: codes: {members!r} is no list of numbers."
            continue
        for code in members:
            if not _is_code(code):
                yield f"{name}: codes: {code!r} is no whole number from 1 on."
            elif int(code) in seen:
                yield f"{name}: codes: {code} is there twice. Leave it in one place."
            else:
                seen.add(int(code))
    yield from _word_problems(f"{where}: unknown", document.get("unknown") or {})
    for value, action in (document.get("recovery_actions") or {}).items():
        yield from _word_problems(f"{where}: recovery_actions.{value}", action)
    for name in _NUMBERS:
        number = (document.get("rules") or {}).get(name, 1)
        if not _is_number(number):
            yield f"{where}: rules.{name}: {number!r} is no number above 0. Give seconds, such as 180."


def _nvlink5_problems(where: str, document: Mapping[str, Any], sources: Mapping[str, Any]) -> Iterator[str]:
    units = document.get("units")
    if not isinstance(units, Mapping) or not units:
        yield f"{where}: units: it is missing. Write {{SAW_MVB: {{xid: 144, names: [...], ...}}}}."
        units = {}
    for name, unit in units.items():
        for key in ("xid", "layout_1", "layout_2"):
            if not isinstance(unit.get(key), int):
                yield f"{where}: units.{name}.{key}: {unit.get(key)!r} is no number."
        if not isinstance(unit.get("names"), list):
            yield f"{where}: units.{name}.names: {unit.get('names')!r} is no list of words."
    for place, rule in enumerate(document.get("rules") or ()):
        name = f"{where}: rules[{place}]"
        yield from _entry_problems(name, rule, _RULE, sources)
        if not isinstance(rule, Mapping):
            continue
        if rule.get("unit") not in units:
            yield f"{name}: unit: {rule.get('unit')!r} is not among the units.{_hint(str(rule.get('unit')), units)}"
        if not isinstance(rule.get("sub_code"), int):
            yield f"{name}: sub_code: {rule.get('sub_code')!r} is no number from 0 to 63."
        status = rule.get("error_status")
        if not isinstance(status, list) or not all(isinstance(item, int) for item in status):
            yield f"{name}: error_status: {status!r} is no list of numbers, such as [0x1, 0x8]."


def _entry_problems(where: str, values: Any, keys: Mapping[str, bool], sources: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"{where}: {values!r} is no dictionary with {', '.join(key for key, needed in keys.items() if needed)}."
        return
    for key in values:
        if key not in keys:
            yield f"{where}: {key}: no such key.{_hint(str(key), keys)}"
    for key, needed in keys.items():
        if needed and key not in values:
            yield f"{where}: {key}: it is missing."
    for key in _TEXTS:
        if key in values and (not isinstance(values[key], str) or not values[key].strip()):
            yield f"{where}: {key}: {values[key]!r} is no text."
    yield from _word_problems(where, values)
    if "source" in values and values["source"] not in sources:
        yield f"{where}: source: {values['source']!r} is not among the sources.{_hint(str(values['source']), sources)}"
    for item in values.get("disagreements") or ():
        if not isinstance(item, Mapping) or set(item) != {"who", "says"}:
            yield f"{where}: disagreements: {item!r} is not {{who: ..., says: ...}}."
        elif item["who"] not in sources:
            yield f"{where}: disagreements: who: {item['who']!r} is not among the sources.{_hint(item['who'], sources)}"
    yield from _then_problems(where, values.get("then"))


def _then_problems(where: str, then: Any) -> Iterator[str]:
    if then is None:
        return
    if not isinstance(then, Mapping):
        yield f"{where}: then: {then!r} is no dictionary with remedy, count, within_seconds."
        return
    yield from _word_problems(f"{where}: then", then)
    for key in ("count", "within_seconds"):
        if not _is_number(then.get(key)):
            yield f"{where}: then.{key}: {then.get(key)!r} is no number above 0."
    if then.get("scope", "gpu") not in ("gpu", "gpc_tpc"):
        yield f"{where}: then.scope: {then['scope']!r} is neither gpu nor gpc_tpc."


def _word_problems(where: str, values: Any) -> Iterator[str]:
    """Yield what is wrong with severity, status and remedy, wherever they stand."""
    if not isinstance(values, Mapping):
        yield f"{where}: {values!r} is no dictionary."
        return
    severity, status = values.get("severity"), values.get("status")
    for key, known in (("severity", SEVERITIES), ("status", tuple(SEVERITIES.values())), ("remedy", REMEDIES)):
        if key in values and values[key] not in known:
            yield f"{where}: {key}: {values[key]!r} is none of {', '.join(known)}.{_hint(str(values[key]), known)}"
    if severity in SEVERITIES and status in SEVERITIES.values() and SEVERITIES[str(severity)] != status:
        yield f"{where}: severity {severity} goes with status {SEVERITIES[str(severity)]}, not {status}."


def _override_problems(where: str, wanted: Mapping[str, Any]) -> Iterator[str]:
    known = ("severity", "action", "remedy")
    for key in wanted:
        if key not in known:
            yield f"{where}: {key}: no such key.{_hint(str(key), known)}"
    if "action" in wanted and "remedy" in wanted and wanted["action"] != wanted["remedy"]:
        yield f"{where}: action {wanted['action']} and remedy {wanted['remedy']} mean the same thing. Give one of them."
    for key, words in (("severity", SEVERITIES), ("action", REMEDIES), ("remedy", REMEDIES)):
        if key in wanted and wanted[key] not in words:
            yield f"{where}.{key}: {wanted[key]!r} is none of {', '.join(words)}.{_hint(str(wanted[key]), words)}"


def _overridden(entry: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in entry.items() if key in _FOR_THE_HOST and key != "codes"}
    if "severity" in wanted:
        result["status"] = SEVERITIES[wanted["severity"]]
        result.pop("then", None)
    result["remedy"] = wanted.get("action", wanted.get("remedy", result["remedy"]))
    return {**result, "overridden": True, "advice": "The site decided so (xid_overrides)."}


def _entry_of(document: Mapping[str, Any], code: int) -> Mapping[str, Any]:
    own = document["codes"].get(str(code))
    if own:
        return dict(own)
    for group in document.get("groups") or ():
        if code in group["codes"]:
            return dict(group)
    return dict(document["unknown"])


def _lean(document: Document) -> Document:
    """Return what the host needs of a policy, ready for JSON."""
    result: Document = {key: copy.deepcopy(document[key]) for key in ("schema", "units", "unknown") if key in document}
    rules = document.get("rules")
    if isinstance(rules, list):
        keys = [key for key in _RULE if key not in ("severity", "nvidia", "source")]
        result["rules"] = [{key: rule[key] for key in keys if key in rule} for rule in rules]
        return result
    result["rules"] = copy.deepcopy(rules or {})
    result["codes"] = {str(code): _kept(entry) for code, entry in document["codes"].items()}
    result["groups"] = [_kept(group) for group in document.get("groups") or ()]
    if "recovery_actions" in document:
        result["recovery_actions"] = {str(key): dict(value) for key, value in document["recovery_actions"].items()}
    return result


def _kept(entry: Mapping[str, Any]) -> Document:
    return {key: copy.deepcopy(entry[key]) for key in _FOR_THE_HOST if key in entry}


def _is_code(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return False
    text = str(value)
    return text.isascii() and text.isdigit() and int(text) > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _hint(word: str, known: Any) -> str:
    near = nearest(word, [str(item) for item in known])
    return f" Did you mean {near}?" if near else ""
