# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What every engine offers, and how a table of options is checked and completed."""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass
from typing import Any, Protocol


class EngineError(ValueError):
    """An engine, an option or a description that cannot be used. The text names the thing, the value and the fix."""


@dataclass(frozen=True)
class Option:
    """One key that a user may set under config of an instance.

    kind is "int", "bool", "str", "list" (of texts), "int_or_choice" or "share" (a number between 0 and 1).
    A later version of the collection that adds an option sets always_listed=False: the key then stays out of the
    completed configuration while it has its default, so that ids of releases made before do not change.
    """

    kind: str
    default: Any
    reason: str
    flag: str = ""
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    always_listed: bool = True


class Engine(Protocol):
    """The surface of an engine. All functions are pure."""

    name: str
    options: dict[str, Option]
    entry: str
    health_path: str
    version_arguments: tuple[str, ...]
    help_arguments: tuple[str, ...]
    required_flags: tuple[str, ...]

    def validate_config(self, config: Any) -> list[str]:
        """Return what is wrong with the configuration a user wrote; an empty list when it is right."""

    def complete_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with every default filled in; raise EngineError when it is wrong."""

    def render(self, description: dict[str, Any], paths: dict[str, str]) -> dict[str, str]:
        """Return {"run": shell script, "environment": KEY=value lines} of a release.

        paths has engine_directory, model_directory and instance_directory.
        """


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _range_text(option: Option) -> str:
    if option.minimum is not None and option.maximum is not None:
        return f"a whole number from {option.minimum} to {option.maximum}"
    return "a whole number" if option.minimum is None else f"a whole number of at least {option.minimum}"


def _in_range(value: int, option: Option) -> bool:
    return (option.minimum is None or value >= option.minimum) and (option.maximum is None or value <= option.maximum)


def _expected(option: Option, value: Any) -> str:
    """Return what the option takes when the value is not that, else an empty text."""
    choices = ", ".join(option.choices)
    if option.kind == "bool":
        return "" if isinstance(value, bool) else "true or false, without quotes"
    if option.kind == "int":
        return "" if _is_int(value) and _in_range(value, option) else _range_text(option) + ", without quotes"
    if option.kind == "share":
        right = isinstance(value, float) and 0.0 < value < 1.0
        return "" if right else "a number between 0 and 1, such as 0.9, without quotes"
    if option.kind == "int_or_choice":
        right = (_is_int(value) and _in_range(value, option)) or (isinstance(value, str) and value in option.choices)
        return "" if right else f"{_range_text(option)}, or one of: {choices}"
    if option.kind == "list":
        right = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if right else "a list of texts; put numbers in quotes"
    if not isinstance(value, str):
        return f"one of: {choices} (in quotes when YAML reads it as something else)" if choices else "a text, in quotes"
    if option.choices and value not in option.choices:
        near = difflib.get_close_matches(value, option.choices, n=1)
        return f"one of: {choices}" + (f"; did you mean '{near[0]}'?" if near else "")
    if option.pattern and not re.fullmatch(option.pattern, value):
        return f"a text that matches {option.pattern}"
    return ""


def check_options(options: dict[str, Option], config: Any) -> list[str]:
    """Return one message per key that is unknown or has a value that its option does not take."""
    if not isinstance(config, dict):
        return [f"config = {config!r}: must be a mapping of options. Write 'config: {{}}' to take every default."]
    messages = []
    for key in sorted(config, key=str):
        value = config[key]
        if key not in options:
            near = difflib.get_close_matches(str(key), list(options), n=1, cutoff=0.5)
            fix = f"Did you mean '{near[0]}'?" if near else f"Use one of: {', '.join(sorted(options))}."
            messages.append(f"config.{key} = {value!r}: unknown option. {fix}")
            continue
        expected = _expected(options[key], value)
        if expected:
            messages.append(f"config.{key} = {value!r}: must be {expected}.")
    return messages


def fill_defaults(options: dict[str, Option], config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with defaults filled in, in the order of the table."""
    completed = {}
    for key, option in options.items():
        value = config.get(key, option.default)
        if option.always_listed or value != option.default:
            completed[key] = list(value) if isinstance(value, list) else value
    return completed


def environment_text(variables: dict[str, str]) -> str:
    """Return lines for systemd's EnvironmentFile=; raise EngineError on a value that one line cannot carry."""
    lines = []
    for name in sorted(variables):
        value = variables[name]
        if not re.fullmatch(r"[A-Za-z0-9_./:,@+=-]*", value):
            raise EngineError(
                f"environment {name} = {value!r}: has letters that the file cannot carry. Use plain letters."
            )
        lines.append(f"{name}={value}\n")
    return "".join(lines)


def visible_gpus(gpus: Any) -> str | None:
    """Return the value of CUDA_VISIBLE_DEVICES for the gpus of an instance; None leaves all of them visible."""
    if gpus == "all":
        return None
    if gpus == "none" or gpus == []:
        return ""
    if isinstance(gpus, str) and re.fullmatch(r"\d+(,\d+)*", gpus):
        return gpus
    if isinstance(gpus, list) and all(
        re.fullmatch(r"\d+|GPU-[0-9a-fA-F-]+|MIG-[0-9a-fA-F-]+", str(gpu)) for gpu in gpus
    ):
        return ",".join(str(gpu) for gpu in gpus)
    raise EngineError(f"gpus = {gpus!r}: must be 'all', 'none' or a list of indexes or UUIDs, such as [0, 1].")


def shell_lines(words: list[str]) -> str:
    """Return words as one shell command, one argument with its values per line, every word quoted where it must be."""
    text = ""
    for word in words:
        text += (" \\\n  " if word.startswith("-") else " ") + shlex.quote(word)
    return text.lstrip()
