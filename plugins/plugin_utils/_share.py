# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Start the server of the controller's model cache, one per play, cache and address, however many workers ask."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.plugin_utils import _share_server
from ansible_collections.local_llm.ops.plugins.plugin_utils._lock_holder import process_start_ticks


class ShareError(Exception):
    """The cache cannot be served. The text names the address and the fix."""


@dataclass(frozen=True)
class Share:
    """Where the cache is served."""

    url: str
    token: str
    pid: int


def own_address(host: str) -> str:
    """Return the address of this machine from which packets to a host leave. Nothing is sent."""
    try:
        family, kind, protocol, _name, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ShareError(
            f"no way from the controller to {host}: {error}. Set local_llm_model_share_address to the controller's "
            "address that hosts reach, or local_llm_model_fan_out: copy."
        ) from error


def shared(cache: str, address: str, bytes_per_second: int, play_pid: int) -> Share:
    """Return the server of a play, started now when it is not there yet.

    Its address and token lie in a file that only this user reads. A file that a dead play left behind counts for
    nothing, and is taken away.
    """
    root = Path(cache)
    directory = root / ".share"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ticks = process_start_ticks(play_pid) or 0
    name = sha256_hex(f"{address}|{bytes_per_second}|{root}")[:12]
    path = directory / f"{play_pid}-{ticks}-{name}.json"
    with open(directory / "lock", "w", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        known = _read(path)
        if known is not None and process_start_ticks(known["pid"]) == known["ticks"]:
            return Share(known["url"], known["token"], known["pid"])
        _forget_the_dead(directory)
        token = secrets.token_hex(24)
        started = _start(root, address, bytes_per_second, play_pid, token)
        host = f"[{address}]" if ":" in address else address
        share = Share(f"http://{host}:{started['port']}", token, started["pid"])
        value = {"url": share.url, "token": token, "pid": share.pid, "ticks": process_start_ticks(share.pid)}
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        return share


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"url", "token", "pid", "ticks"} <= set(value) else None


def _forget_the_dead(directory: Path) -> None:
    for path in directory.glob("*.json"):
        known = _read(path)
        if known is None or process_start_ticks(known["pid"]) != known["ticks"]:
            with contextlib.suppress(OSError):
                path.unlink()


def _start(root: Path, address: str, bytes_per_second: int, play_pid: int, token: str) -> dict[str, Any]:
    settings = {
        "root": str(root),
        "address": address,
        "bytes_per_second": bytes_per_second,
        "play_pid": play_pid,
        "token": token,
    }
    process = subprocess.Popen(
        [sys.executable, str(_share_server.__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        text=True,
    )
    try:
        answer = json.loads(_talk(process, json.dumps(settings) + "\n"))
    except (OSError, ValueError) as error:
        process.kill()
        process.wait()
        raise ShareError(f"the server of the model cache did not start on {address}: {error}.") from error
    if "error" in answer:
        process.wait()
        raise ShareError(
            f"the controller cannot listen on {address}: {answer['error']}. Set local_llm_model_share_address to one "
            "of its own addresses that hosts reach, or local_llm_model_fan_out: copy."
        )
    return dict(answer)


def _talk(process: subprocess.Popen[str], text: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise OSError("no pipes")
    process.stdin.write(text)
    process.stdin.close()
    with process.stdout:
        return process.stdout.readline()
