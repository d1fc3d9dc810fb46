# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What becomes of the models of a host: the policy, and the plan made from it. Plain data in, plain data out.

A revision on the host, as _model_inventory reads it:
  {"name", "revision", "published": bool, "archived": bool, "bytes", "archive_bytes", "manifest_sha256", "published_at",
   "archived_at", "last_used_at", "releases": [{"instance", "release", "role": current|previous|armed|staged|kept}],
   "problem": str|null}
The inventory: used {instance: model}, listed {model: {"revision", "state": active|standby|archive|null}}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import nearest

VARIABLE = "local_llm_model_retention"
DEFAULTS = {"standby_keep": 1, "archive_keep": 2, "archive_days": 90}
# What a user may want of a listed model; without a word the policy decides.
WANTED_STATES = ("active", "standby", "archive")
STATES = ("active", "standby", "archive", "absent", "unknown")
ACTIONS = ("none", "bring", "restore", "archive", "delete", "tidy")
# Releases with these roles serve now, or are on trial.
_SERVING = ("current", "armed")
_MAX_DAYS = 36500


def retention_problems(value: Any) -> list[tuple[str, Any, str, str]]:
    """Return what is wrong with the policy: (key path, value, what is expected, fix)."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        fix = f"Write {VARIABLE} as a mapping with the keys {', '.join(DEFAULTS)}."
        return [(VARIABLE, value, "a mapping", fix)]
    problems: list[tuple[str, Any, str, str]] = []
    for key, number in value.items():
        if key not in DEFAULTS:
            near = nearest(str(key), DEFAULTS)
            hint = f"Did you mean {near}?" if near else f"Known keys: {', '.join(DEFAULTS)}."
            problems.append((f"{VARIABLE}.{key}", number, "a known key", f"Unknown key {key}. {hint}"))
        elif isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_DAYS:
            quoted = isinstance(number, str) and number.strip().isdigit()
            fix = (
                "Write the number without quotes."
                if quoted
                else f"Write a whole number; the default is {DEFAULTS[key]}."
            )
            problems.append((f"{VARIABLE}.{key}", number, f"a whole number from 0 to {_MAX_DAYS}", fix))
    return problems


def listed_problems(listed: Any) -> list[tuple[str, Any, str, str]]:
    """Return what is wrong with the models of the inventory as far as the plan needs them, in the same form."""
    if not isinstance(listed, Mapping):
        return [("local_llm_models", listed, "a mapping", "Write a mapping of model name to its description.")]
    problems: list[tuple[str, Any, str, str]] = []
    for name, entry in listed.items():
        path = f"local_llm_models.{name}"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("revision"), str):
            problems.append((path, entry, "a mapping with a revision", f"Add revision to {path}, as a text."))
        elif entry.get("state") not in (None, *WANTED_STATES):
            near = nearest(str(entry["state"]), WANTED_STATES)
            fix = f"Did you mean {near}?" if near else "Leave it out, and the policy decides."
            problems.append((f"{path}.state", entry["state"], f"one of {', '.join(WANTED_STATES)}", fix))
    return problems


def plan_models(
    revisions: Iterable[Mapping[str, Any]],
    *,
    used: Mapping[str, str],
    listed: Mapping[str, Mapping[str, Any]],
    retention: Mapping[str, int],
    now: datetime,
    blocked: str = "",
) -> list[dict[str, Any]]:
    """Return one row per revision, with state, needed_by, wanted, action and reason added, in the order of the table.

    blocked: why no revision may leave this host, such as a release that cannot be read; an empty text: nothing does.
    """
    policy = {**DEFAULTS, **retention}
    rows = [_row(revision, used, listed) for revision in revisions]
    rows += _absent(rows, used, listed)
    for name in sorted({row["name"] for row in rows}):
        # Whoever wants the listed revision in the archive does not want an older one kept ready in its place.
        let_go = (listed.get(name) or {}).get("state") == "archive"
        keep = 0 if let_go else policy["standby_keep"]
        _plan_name([row for row in rows if row["name"] == name], {**policy, "standby_keep": keep}, now, blocked)
    return sorted(rows, key=lambda row: (row["name"], STATES.index(row["state"]), -_stamp(row), row["revision"]))


def _row(
    revision: Mapping[str, Any], used: Mapping[str, str], listed: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    name = revision["name"]
    entry = listed.get(name) or {}
    is_listed = entry.get("revision") == revision["revision"]
    users = sorted(instance for instance, model in used.items() if model == name) if is_listed else []
    roles = {release["role"] for release in revision["releases"]}
    wanted = entry.get("state") if is_listed else None
    needed = [f"{item['role']} {item['release']} of {item['instance']}" for item in revision["releases"]]
    needed += [f"inventory for {instance}" for instance in users]
    if revision["published"] and revision.get("problem"):
        state = "unknown"
    elif revision["published"]:
        serving = bool(roles.intersection(_SERVING)) or bool(users) or wanted == "active"
        state = "active" if serving else "standby"
    else:
        state = "archive" if not revision.get("problem") else "unknown"
    return {
        **revision,
        "state": state,
        "needed_by": needed,
        "listed": is_listed,
        "wanted": wanted,
        "action": "none",
        "reason": "",
    }


def _absent(
    rows: list[dict[str, Any]], used: Mapping[str, str], listed: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return rows for what the inventory wants here and the host has not."""
    there = {(row["name"], row["revision"]) for row in rows}
    result = []
    for name, entry in listed.items():
        revision = entry["revision"]
        wants = name in used.values() or entry.get("state") in ("active", "standby")
        if (name, revision) not in there and wants:
            empty = dict.fromkeys(("manifest_sha256", "published_at", "archived_at", "last_used_at", "problem"))
            nothing = {"name": name, "revision": revision, "published": False, "archived": False, "bytes": 0}
            row = _row({**nothing, **empty, "archive_bytes": 0, "releases": []}, used, listed)
            result.append({**row, "state": "absent"})
    return result


def _plan_name(rows: list[dict[str, Any]], policy: Mapping[str, int], now: datetime, blocked: str) -> None:
    """Decide about all revisions of one name."""
    surplus, going = [], []
    kept_anyway = 0
    for row in rows:
        action, reason = _sure(row, blocked)
        if action is not None:
            row["action"], row["reason"] = action, reason
            kept_anyway += row["state"] == "standby" and action in ("none", "tidy")
        elif row["state"] == "standby":
            surplus.append(row)
        else:
            going.append(row)
    ready = max(0, policy["standby_keep"] - kept_anyway)
    surplus.sort(key=_stamp, reverse=True)
    for row in surplus[:ready]:
        row["reason"] = f"kept ready: standby_keep is {policy['standby_keep']}"
        _tidy_copy(row)
    for row in surplus[ready:]:
        row["action"] = "archive"
        row["reason"] = f"no release needs it, and standby_keep is {policy['standby_keep']}"
    _plan_archive([*surplus[ready:], *going], policy, now)


def _sure(row: dict[str, Any], blocked: str) -> tuple[str | None, str]:
    """Return (action, reason) where neither counts nor days matter; (None, "") where they do."""
    needed, wanted = "; ".join(row["needed_by"]), row["wanted"]
    if row["state"] == "unknown":
        return "none", str(row["problem"])
    if row["state"] == "absent":
        if row["needed_by"]:
            return "none", f"{needed}: site or upgrade brings it"
        return "bring", f"local_llm_models.{row['name']}.state is {wanted}"
    wanted_here = f"local_llm_models.{row['name']}.state is {wanted}" if wanted in ("active", "standby") else ""
    if row["published"]:
        if row["needed_by"] or wanted_here:
            _tidy_copy(row)
            against = "; wanted in the archive, but needed" if wanted == "archive" else ""
            return row["action"], f"{needed or wanted_here}{against}"
        if blocked:
            return "none", blocked
        if wanted == "archive":
            return "archive", f"local_llm_models.{row['name']}.state is archive"
        if row["listed"]:
            _tidy_copy(row)
            return row["action"], "listed in local_llm_models; to let it go there: state: archive"
        return None, ""
    if row["needed_by"] or wanted_here:
        return "restore", f"in the archive, but wanted: {needed or wanted_here}"
    if blocked:
        return "none", blocked
    if wanted == "archive" or row["listed"]:
        return "none", "listed in local_llm_models: stays in the archive"
    return None, ""


def _tidy_copy(row: dict[str, Any]) -> None:
    """A revision that stays published needs no second copy in the archive."""
    row["action"] = "tidy" if row["archived"] else "none"


def _plan_archive(rows: list[dict[str, Any]], policy: Mapping[str, int], now: datetime) -> None:
    """Decide what stays in the archive; what comes into it now is its youngest part."""
    rows.sort(key=lambda row: (row["action"] == "archive", _moment(row["archived_at"]), _stamp(row)), reverse=True)
    for place, row in enumerate(rows):
        beyond = place >= policy["archive_keep"]
        if row["action"] == "archive":
            if beyond:
                row["reason"] += f"; then deleted, since archive_keep is {policy['archive_keep']}"
            continue
        since = _time(row["archived_at"]) or now
        end = since + timedelta(days=policy["archive_days"])
        if beyond:
            row["action"], row["reason"] = (
                "delete",
                f"beyond the newest in the archive that are kept: archive_keep is {policy['archive_keep']}",
            )
        elif end <= now:
            row["action"] = "delete"
            row["reason"] = f"{(now - since).days} days in the archive, archive_days is {policy['archive_days']}"
        else:
            row["reason"] = f"in the archive until {end.date().isoformat()}"


def _time(text: Any) -> datetime | None:
    """Return a moment, None when it is not known."""
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _moment(text: Any) -> float:
    moment = _time(text)
    return moment.timestamp() if moment else 0.0


def _stamp(row: Mapping[str, Any]) -> float:
    """Return when a revision was last used, or published."""
    return max(_moment(row.get("last_used_at")), _moment(row.get("published_at")))
