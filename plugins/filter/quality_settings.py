# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter quality_settings: which suite one instance is asked, and how strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: quality_settings
short_description: Settings of the quality gate for one instance
version_added: 0.1.0
author: local_llm.ops contributors (@local-llm-ops)
description:
  - Lays C(local_llm_quality) over defaults, then what it says of the model, then what it says of the pool.
  - A suite that is named closer to the instance takes the place of one from further away, whether it is written out
    or in a file.
positional: _input, settings
options:
  _input:
    description: The defaults.
    type: dict
    required: true
  settings:
    description: The value of C(local_llm_quality).
    type: dict
    required: true
  model:
    description: Name of the model in C(local_llm_models).
    type: str
    default: ""
  pool:
    description: Name of the pool.
    type: str
    default: ""
"""

EXAMPLES = r"""
# The suite of pool code, where there is one; else that of all.
quality: "{{ {'suite': [], 'suite_file': ''} | local_llm.ops.quality_settings(local_llm_quality, pool='code') }}"
"""

RETURN = r"""
_value:
  description: The settings. C(suite) is not there when C(suite_file) is set.
  type: dict
"""


def quality_settings(
    defaults: Mapping[str, Any], settings: Mapping[str, Any] | None, model: str = "", pool: str = ""
) -> dict[str, Any]:
    """Return the settings for one instance."""
    given = settings or {}
    layers = [given, (given.get("models") or {}).get(model) or {}, (given.get("pools") or {}).get(pool) or {}]
    result = dict(defaults)
    for layer in layers:
        result.update(layer)
        if layer.get("suite") is not None and not layer.get("suite_file"):
            result["suite_file"] = ""
    if result.get("suite_file"):
        result.pop("suite", None)
    return result


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"quality_settings": quality_settings}
