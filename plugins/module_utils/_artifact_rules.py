# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Which files a model may have. Pure: names and the content of small files in, a text that says what is wrong out."""

from __future__ import annotations

import fnmatch
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import path_problem

# Weights that are data and nothing else, and the small files beside them.
SAFE_PATTERNS = (
    "*.safetensors",
    "*.gguf",
    "*.json",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "*.txt",
    "*.md",
    "license*",
    "notice*",
)
# What a hub repository is asked for when nothing is said: all that an engine reads.
DEFAULT_INCLUDE = ("*.safetensors", "*.gguf", "*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt")
_CODE = ("*.py", "*.pyc", "*.so", "*.sh", "*.dll", "*.dylib")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.joblib", "*.dill", "*.npy", "*.npz")
# The name that allows remote code which a configuration file points at.
AUTO_MAP = "auto_map"
# Larger than any configuration file that has a reason to be one.
CONFIG_MAX_BYTES = 16 << 20

_REVISION = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


class ArtifactError(Exception):
    """A model that cannot be had or must not be used. The text names the thing, the value and the fix."""


def _matches(path: str, patterns: Iterable[str]) -> bool:
    name = posixpath.basename(path).lower()
    return any(
        fnmatch.fnmatchcase(name, pattern.lower()) or fnmatch.fnmatchcase(path.lower(), pattern.lower())
        for pattern in patterns
    )


def select_paths(paths: Iterable[str], include: Iterable[str], exclude: Iterable[str]) -> list[str]:
    """Return the paths that a pattern of include has and none of exclude, sorted."""
    wanted, unwanted = tuple(include), tuple(exclude)
    return sorted(path for path in paths if _matches(path, wanted) and not _matches(path, unwanted))


def revision_problem(revision: str) -> str:
    """Return why a revision of a hub repository does not pin its content, or an empty text."""
    if _REVISION.fullmatch(revision):
        return ""
    return (
        f"revision = {revision!r}: must be the 40 hex digits of a commit, in small letters. Branches and tags move. "
        "Take the commit from the page 'Files and versions' of the repository."
    )


def repo_problem(repo: str) -> str:
    """Return why the name of a hub repository cannot be used, or an empty text."""
    return "" if _REPO.fullmatch(repo) else f"repo = {repo!r}: must be owner/name, as the hub shows it."


def allow_problem(allow: Iterable[str]) -> str:
    """Return why a list of allowed names allows too much, or an empty text."""
    for name in allow:
        if not isinstance(name, str) or not re.search(r"[A-Za-z0-9]", name):
            return f"allow has {name!r}: name the files, for example modeling_x.py; a wildcard alone allows everything."
    return ""


def name_problem(path: str, allow: Iterable[str] = ()) -> str:
    """Return why a file must not be part of a model, or an empty text."""
    if _matches(path, allow):
        return ""
    if _matches(path, _CODE):
        return "is program code that an engine might run"
    if _matches(path, _PICKLES):
        return "is a format that can hold a Python pickle; loading it can run code"
    return "" if _matches(path, SAFE_PATTERNS) else "is no safetensors, GGUF, JSON, template or tokenizer file"


def paths_problem(paths: Iterable[str], allow: Iterable[str]) -> str:
    """Return what is wrong with the file names of a model, all of it in one text, or an empty text."""
    allowed = tuple(allow)
    problem = allow_problem(allowed)
    if problem:
        return problem
    problems = []
    for path in sorted(paths):
        why = path_problem(path) or name_problem(path, allowed)
        if why:
            problems.append(f"{path} {why}")
    if not problems:
        return ""
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return (
        f"{'; '.join(problems[:5])}{more}. Leave these files out (exclude), or, when you have read them and trust "
        "them, list their names in allow."
    )


def is_config(path: str) -> bool:
    """Tell whether a file is one of those in which a model can point at code of its own."""
    return posixpath.basename(path).lower().endswith("config.json")


def _has_key(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return any(name == key or _has_key(item, key) for name, item in value.items())
    return isinstance(value, list) and any(_has_key(item, key) for item in value)


def config_problem(path: str, content: bytes, allow: Iterable[str]) -> str:
    """Return why a configuration file must not be used, or an empty text."""
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return f"{path} is not JSON ({error}). Fetch it again, or take a revision in which it is right."
    if AUTO_MAP not in allow and _has_key(value, AUTO_MAP):
        return (
            f"{path} has the key {AUTO_MAP}: it tells the engine to run Python code of the repository. Take a model "
            f"without it, or, when you have read that code and trust it, list {AUTO_MAP} in allow."
        )
    return ""


def config_file_problem(path: str, full: str, allow: Iterable[str]) -> str:
    """Return why a configuration file on the disk must not be used, or an empty text."""
    with open(full, "rb") as stream:
        content = stream.read(CONFIG_MAX_BYTES + 1)
    if len(content) > CONFIG_MAX_BYTES:
        return f"{path} is larger than {CONFIG_MAX_BYTES} bytes, which no configuration file is. Leave it out."
    return config_problem(path, content, allow)


def digest_problem(files: Mapping[str, Any]) -> str:
    """Return the first file without a usable SHA-256, or an empty text."""
    for path, digest in files.items():
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            return f"files[{path!r}] = {digest!r} is no SHA-256. Take it from: sha256sum {path}"
    return ""
