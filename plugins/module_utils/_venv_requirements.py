# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What may be installed into the Python environment of an engine: exact versions, or a lock file with hashes. Pure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9._,-]+\])?==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)")
# Arguments of pip and uv that take the pins away, or run what nobody pinned.
_REFUSED_ARGUMENTS = (
    "--requirement", "-r", "--target", "-t", "--prefix", "--root", "--user", "--editable", "-e", "--upgrade", "-U",
    "--pre", "--no-require-hashes", "--no-verify-hashes", "--python", "-p", "--system", "--trusted-host",
    "--allow-insecure-host", "--break-system-packages", "--dry-run", "--index-url", "-i",
)  # fmt: skip


def plain_name(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements: list[str]) -> dict[str, str]:
    """Return name -> version of the requirements that are pinned exactly."""
    found = [_PINNED.fullmatch(text.strip()) for text in requirements]
    return {plain_name(match[1]): match[3] for match in found if match}


def requirement_problems(path: str, requirements: list[Any], locked: bool) -> list[tuple[str, Any, str]]:
    """Return (key path, value, fix) for each requirement that is not pinned. With a lock file, names are enough."""
    problems: list[tuple[str, Any, str]] = []
    for text in requirements:
        if not isinstance(text, str):
            problems.append((path, text, "Write a text such as 'vllm==0.33.0'."))
            continue
        match = _PINNED.fullmatch(text.strip())
        if match and not match[3].endswith("."):
            continue
        name = _NAME.match(text.strip())
        if locked and name and re.fullmatch(r"(\[[^\]]*\])?([<>=!~]=?.*)?", text.strip()[name.end() :].strip()):
            continue
        example = f"{name[0]}==<version>" if name else "vllm==0.33.0"
        problems.append((path, text, f"Pin it exactly, as in '{example}', or give a lock_file with hashes."))
    if not requirements and not locked:
        problems.append((path, requirements, "List what to install, such as ['vllm==0.33.0'], or give a lock_file."))
    return problems


def argument_problems(path: str, arguments: list[Any]) -> list[tuple[str, Any, str]]:
    """Return (key path, value, fix) for each argument of the installer that breaks a promise."""
    problems: list[tuple[str, Any, str]] = []
    for text in arguments:
        if not isinstance(text, str):
            problems.append((path, text, "Write a list of texts; put numbers in quotes."))
        elif text.split("=", 1)[0] in _REFUSED_ARGUMENTS:
            fix = "set index_url instead" if text.startswith(("--index-url", "-i")) else "take it out"
            problems.append((path, text, f"It would undo the pins or install elsewhere: {fix}."))
        elif _has_secret(text):
            problems.append((path, "(an address with a password)", "Put the password into the host's ~/.netrc."))
    return problems


def index_problem(path: str, index_url: str | None) -> list[tuple[str, Any, str]]:
    """Return what is wrong with the address of an index."""
    if not index_url:
        return []
    if not index_url.startswith(("https://", "http://", "file://")):
        return [(path, index_url, "Write an address that begins with https://, http:// or file://.")]
    if _has_secret(index_url):
        return [(path, "(an address with a password)", "Put the password into the host's ~/.netrc.")]
    return []


def _has_secret(text: str) -> bool:
    try:
        return "://" in text and urlsplit(text.split("=", 1)[-1] if text.startswith("-") else text).password is not None
    except ValueError:
        return False


def lock_entries(text: str) -> list[str]:
    """Return the requirements of a lock file, each with its hashes on one line; comments are gone."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(^|\s)#.*", r"\1", text, flags=re.MULTILINE))
    return [line.strip() for line in joined.splitlines() if line.strip()]


def lock_problems(path: str, text: str, requirements: list[str]) -> list[tuple[str, Any, str]]:
    """Return (key path, value, fix) for what a lock file lacks: hashes, or a package that was asked for."""
    problems: list[tuple[str, Any, str]] = []
    locked: dict[str, str] = {}
    for entry in lock_entries(text):
        if entry.startswith("-"):
            if not entry.startswith(("--only-binary", "--no-binary")):
                fix = "Take it out: index_url and extra_arguments say where packages come from."
                problems.append((path, entry, fix))
            continue
        words = re.split(r"[\s;]", entry, maxsplit=1)
        found = pins([words[0]])
        if not found or not _HASH.search(entry):
            fix = "Give it an exact version and --hash=sha256:..., as 'uv pip compile --generate-hashes' does."
            problems.append((path, words[0], fix))
        locked.update(found)
    if not locked and not problems:
        problems.append((path, "no package", "Write it with 'uv pip compile --generate-hashes'."))
    for text_wanted in requirements:
        match = _NAME.match(text_wanted.strip())
        name = plain_name(match[0]) if match else text_wanted
        wanted = pins([text_wanted]).get(name)
        if name not in locked or wanted not in (None, locked[name]):
            has = f"it has {name}=={locked[name]}" if name in locked else "it is not in it"
            problems.append((path, text_wanted, f"The lock file does not agree ({has}): make it anew."))
    return problems
