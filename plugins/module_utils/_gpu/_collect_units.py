# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""State of the services that belong to the NVIDIA driver, in one call of systemctl."""

from __future__ import annotations

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_read import RunCommand, find_program

UNITS = ("nvidia-fabricmanager.service", "nvidia-persistenced.service")
_PROPERTIES = {"LoadState": "load_state", "ActiveState": "active_state", "SubState": "sub_state", "Result": "result"}
_ABSENT = {"load_state": "not-found", "active_state": "inactive", "sub_state": "dead", "result": "success"}
_UNKNOWN = dict.fromkeys(_PROPERTIES.values(), "unknown")


def collect_units(run_command: RunCommand, ask: bool = True) -> dict[str, dict[str, str]]:
    """Return the part `units` of a snapshot. Without ask (no NVIDIA device) all are taken to be absent."""
    program = find_program("systemctl") if ask else None
    if program is None:
        return {unit: dict(_ABSENT) for unit in UNITS}
    _rc, out, _err = run_command([program, "show", *UNITS, f"--property=Id,{','.join(_PROPERTIES)}"])
    return parse_units(out)


def parse_units(text: str) -> dict[str, dict[str, str]]:
    """Return {unit: its states} from blocks of `systemctl show`; a unit that it does not tell of is unknown."""
    result = {unit: dict(_UNKNOWN) for unit in UNITS}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        unit = values.get("Id", "")
        if unit in result:
            result[unit] = {key: values.get(name, "unknown") for name, key in _PROPERTIES.items()}
    return result
