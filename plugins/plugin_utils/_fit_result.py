# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What a calculation of memory found: one form for all engines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding
from ansible_collections.local_llm.ops.plugins.plugin_utils._fit_overhead import DRIVER_BYTES, gib

# Less than this share left over is worth a word: the overhead is an estimate.
CLOSE_SHARE = 0.03


@dataclass
class Fit:
    """What is needed and what is there, in bytes of the whole instance; None for not known."""

    place: str
    weights_bytes: int | None = None
    kv_bytes_per_token: int | None = None
    kv_cache_bytes: int | None = None
    overhead_bytes: int | None = None
    needed_bytes: int | None = None
    available_bytes: int | None = None
    concurrent_requests: int | None = None
    fits: bool | None = None
    nearest: dict[str, Any] | None = None
    # What is asked for and what is allowed, where it is no matter of memory.
    refused_by: tuple[str, str] | None = None
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def unknown(self, *reasons: str) -> Fit:
        """Say that there is no answer, and why."""
        self.fits = None
        self.reasons += reasons
        return self

    def result(self, subject: str, more: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        """Return the answer in the form of the contract, with more findings behind its own."""
        status = {True: "fits", False: "does_not_fit", None: "unknown"}[self.fits]
        fix = self.fix()
        found = None if self.needed_bytes is None else f"needs {gib(self.needed_bytes)}"
        wanted = None if self.available_bytes is None else f"at most {gib(self.available_bytes)} of {self.place}"
        check = "memory_fit"
        if self.refused_by and self.fits is False:
            check, (found, wanted) = "setting", self.refused_by
        findings = []
        if self.fits is None:
            findings.append(
                finding("memory_fit", "skip", subject, observed=" ".join(self.reasons), action="Nothing was refused.")
            )
        else:
            state = "ok" if self.fits else "fail"
            findings.append(finding(check, state, subject, observed=found, expected=wanted, action=fix))
        findings += [finding("memory_fit", "warn", subject, observed=text) for text in self.warnings]
        findings += more
        return {
            "status": status,
            "weights_bytes": self.weights_bytes,
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "kv_cache_bytes": self.kv_cache_bytes,
            "overhead_bytes": self.overhead_bytes,
            "needed_bytes": self.needed_bytes,
            "available_bytes": self.available_bytes,
            "concurrent_requests": self.concurrent_requests,
            "nearest": self.nearest,
            "reasons": self.reasons + self.warnings + ([fix] if fix else []),
            "findings": findings,
        }

    def fix(self) -> str:
        """Return what to do about a misfit."""
        if self.fits is not False:
            return ""
        if not self.nearest:
            return "No setting of the cache makes it fit: take a smaller quantisation, a smaller model or more GPUs."
        words = [f"{key} to {value}" for key, value in self.nearest.items()]
        return f"Set {' or '.join(words)}: each alone is enough." if len(words) > 1 else f"Set {words[0]}."

    def note_close(self) -> None:
        """Add a warning when little is left over."""
        if self.fits and self.needed_bytes and self.available_bytes:
            left = self.available_bytes - self.needed_bytes
            if left < self.available_bytes * CLOSE_SHARE:
                self.warnings.append(
                    f"Only {gib(left)} are left over, and the overhead is an estimate: the start may still fail."
                )


def gpu_bytes(gpu: Mapping[str, Any]) -> int:
    """Return what programs of this instance may use of a GPU. `reserved_bytes` (optional): promised to others."""
    return max(0, int(gpu["total_bytes"]) - DRIVER_BYTES - int(gpu.get("reserved_bytes") or 0))


def gpus_problem(gpus: Sequence[Mapping[str, Any]]) -> str:
    """Return what is not known about the GPUs, or an empty text."""
    for number, gpu in enumerate(gpus):
        if not gpu.get("total_bytes"):
            return f"The memory of GPU {number} ({gpu.get('name') or 'no name'}) is not known."
    return ""
