# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What the collectors share: small files that may be missing, programs and their time limit, calls that may hang."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

# module.run_command, or a stand-in for tests: (arguments) -> (exit status, stdout, stderr).
RunCommand = Callable[[Sequence[str]], tuple[int, str, str]]

Answer = TypeVar("Answer")

# How long one program may take: the first look into a large journal on a slow disk needs some of it.
PROGRAM_SECONDS = 60
KILL_AFTER_SECONDS = 5
# Exit statuses of timeout(1): the program was ended; it had to be killed.
TIMED_OUT = (124, 137)

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def read_text(*parts: str, limit_bytes: int = 65536) -> str | None:
    """Return a file as text without white space around it; None when it is missing or cannot be read."""
    data = read_bytes(*parts, limit_bytes=limit_bytes)
    return None if data is None else data.decode("utf-8", "replace").strip()


def read_bytes(*parts: str, limit_bytes: int = 65536) -> bytes | None:
    """Return at most the first bytes of a file; None when it is missing or cannot be read.

    One read call: the kernel makes the rest of a long file in /proc only when it is asked for it.
    """
    try:
        handle = os.open(os.path.join(*parts), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(handle, limit_bytes)
    except OSError:
        return None
    finally:
        os.close(handle)


def read_int(*parts: str) -> int | None:
    """Return a file that holds one number, None when it does not."""
    return to_int(read_text(*parts))


def to_int(text: str | None) -> int | None:
    """Return a text as a number, None when it is none."""
    try:
        return int(text) if text else None
    except ValueError:
        return None


def list_directory(*parts: str) -> list[str]:
    """Return the names in a directory in order, none when there is no such directory."""
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []


def find_program(name: str) -> str | None:
    """Return the path of a program, also from the directories that a login without root does not search."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def with_time_limit(run_command: RunCommand, seconds: float = PROGRAM_SECONDS) -> RunCommand:
    """Return run_command with a limit for each program, by timeout(1); without it where a host has no such program."""

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        timeout = find_program("timeout")
        limit = [timeout, "-k", str(KILL_AFTER_SECONDS), str(seconds)] if timeout else []
        return run_command([*limit, *command])

    return run


def answers_within(seconds: float, calls: Sequence[Callable[[], Answer]]) -> list[Answer | None]:
    """Return what calls return that may hang for ever, all at once; None for one that hangs or raises OSError.

    A call that hangs is left alone: its thread ends with the process.
    """
    answers: list[Answer | None] = [None] * len(calls)

    def work(number: int) -> None:
        try:
            answers[number] = calls[number]()
        except OSError:
            return

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(answers)
