# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Files of a report: read a rollout directory as far as it can be read, write report.json and report.html beside it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import (
    EVIDENCE_DIRECTORY,
    JOURNAL_NAME,
    broken_evidence,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._report import build_report
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_html import render_html, report_json
from ansible_collections.local_llm.ops.plugins.plugin_utils._report_journal import read_journal

MAX_EVIDENCE_BYTES = 32 << 20
FILE_MODE = 0o640
PLAN_NAME = "plan.json"


class ReportError(Exception):
    """The report cannot be made; the message names the path and the fix."""


def make_report(directory: Path, tool: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (report, text by file name). Raises ReportError when there is no journal to read."""
    path = directory / JOURNAL_NAME
    try:
        journal = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        raise ReportError(
            f"There is no journal at {path}. "
            f"Set directory to the directory of one rollout, the one that holds {JOURNAL_NAME}."
        ) from None
    except OSError as error:
        raise ReportError(f"The journal {path} cannot be read: {error.strerror}. Run this as its owner.") from None
    files, problems = read_evidence(directory)
    problems += broken_evidence(directory, _with_digests(read_journal(journal)[0]))
    report = build_report(journal, files, tool, sorted(set(problems)), _read_plan(directory))
    return report, {"report.json": report_json(report), "report.html": render_html(report)}


def read_evidence(directory: Path) -> tuple[dict[str, Any], list[str]]:
    """Return (parsed evidence by file name, one sentence per file that cannot be used). Links are not followed."""
    files: dict[str, Any] = {}
    problems: list[str] = []
    folder = directory / EVIDENCE_DIRECTORY
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            info = path.lstat()
            if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_EVIDENCE_BYTES:
                problems.append(
                    f"{EVIDENCE_DIRECTORY}/{path.name} is no plain file of at most {MAX_EVIDENCE_BYTES >> 20} MiB"
                )
                continue
            files[path.name] = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            problems.append(f"{EVIDENCE_DIRECTORY}/{path.name} is not readable JSON")
    return files, problems


def _read_plan(directory: Path) -> dict[str, Any]:
    """Return the plan that the rollout wrote, or nothing."""
    path = directory / PLAN_NAME
    try:
        plan = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size <= MAX_EVIDENCE_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return plan if isinstance(plan, dict) else {}


def changed_files(directory: Path, texts: dict[str, str]) -> list[str]:
    """Return the names of the files that are missing or differ."""
    return [name for name, text in texts.items() if _current(directory / name) != text.encode("utf-8")]


def write_files(directory: Path, texts: dict[str, str], names: list[str]) -> None:
    """Write the named files: whole or not at all, readable to owner and group."""
    for name in names:
        part = directory / f".{name}.{os.getpid()}.part"
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(stream.fileno(), FILE_MODE)
                stream.write(texts[name].encode("utf-8"))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, directory / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ReportError(
                f"{directory / name} cannot be written: {error.strerror}. Make room and allow writing to {directory}."
            ) from None


def _with_digests(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records whose evidence names digests of files inside the evidence directory, in the expected shape."""
    kept = []
    for record in records:
        evidence = record.get("evidence")
        digests = evidence.get("evidence_sha256") if isinstance(evidence, dict) else None
        if isinstance(digests, dict):
            safe = {
                name: digest for name, digest in digests.items() if name == f"{EVIDENCE_DIRECTORY}/{Path(name).name}"
            }
            kept.append({"seq": record["line"], "evidence": {"evidence_sha256": safe}})
    return kept


def _current(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
