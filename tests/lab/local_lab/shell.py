# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command; say what failed, and with which output."""

from __future__ import annotations

import subprocess


class LabError(Exception):
    """Something the user must know; the message says what, where and what to do."""


def run(*command: str, check: bool = True, quiet: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. A failure raises LabError with the command and the end of its output."""
    done = subprocess.run(command, capture_output=quiet, text=True, check=False)
    if check and done.returncode != 0:
        tail = "\n".join(((done.stderr or "") + (done.stdout or "")).strip().splitlines()[-15:])
        raise LabError(f"'{' '.join(command)}' ended with exit code {done.returncode}:\n{tail}")
    return done
