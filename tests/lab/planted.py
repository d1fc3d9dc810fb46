# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marked secrets and prompts: search for them on hosts and controller, in files, journals and processes.

What is searched for travels on standard input, so that the search itself puts nothing into a command line. Findings
name a mark; its value is never shown.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_lab import hosts as lab_hosts
from local_lab import state

HOST_DIRECTORIES = ("/etc", "/var", "/opt", "/usr/local", "/run", "/tmp", "/root", "/home", "/srv", "/dev/shm")

# Reads {"marks": {name: value}, "directories": [...], "newer": path or null, "journal": bool}; writes the findings.
SEARCH = r"""
import json, os, pwd, stat, subprocess, sys
order = json.loads(sys.stdin.readline())
marks = {name: value.encode() for name, value in order["marks"].items()}
longest = max(map(len, marks.values()))
since = os.stat(order["newer"]).st_mtime if order["newer"] else None
found = []
def look(stream, size=1 << 20):
    seen, tail = set(), b""
    while block := stream.read(size):
        block = tail + block
        seen.update(name for name, value in marks.items() if value in block)
        tail = block[-longest:]
    return sorted(seen)
for top in order["directories"]:
    for directory, names, leaves in os.walk(top):
        if "/systemd/nspawn" in directory:
            names[:] = []
            continue
        for leaf in leaves + names:
            path = os.path.join(directory, leaf)
            try:
                status = os.lstat(path)
                if any(value in path.encode("utf-8", "surrogateescape") for value in marks.values()):
                    found.append({"place": "name of a file", "path": directory, "mark": "?", "mode": "", "owner": ""})
                if not stat.S_ISREG(status.st_mode) or (since is not None and status.st_mtime < since):
                    continue
                with open(path, "rb", buffering=0) as stream:
                    seen = look(stream)
            except OSError:
                continue
            for name in seen:
                found.append({"place": "file", "path": path, "mark": name, "mode": oct(status.st_mode & 0o7777)[2:],
                              "owner": pwd.getpwuid(status.st_uid).pw_name})
if order["journal"]:
    with subprocess.Popen(["journalctl", "-o", "export", "--no-pager"], stdout=subprocess.PIPE) as journal:
        for name in look(journal.stdout):
            found.append({"place": "journal", "path": "journalctl", "mark": name, "mode": "", "owner": ""})
print(json.dumps(found))
"""

# Reads one line {"marks": {name: value}}; looks at every process until standard input ends; writes a list of findings.
WATCH = r"""
import json, os, select, sys, time
marks = {name: value.encode() for name, value in json.loads(sys.stdin.readline())["marks"].items()}
deadline = time.monotonic() + 1800
found, rounds = {}, 0
while time.monotonic() < deadline:
    rounds += 1
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{kind}", "rb") as stream:
                    text = stream.read()
                seen = [name for name, value in marks.items() if value in text]
                if seen:
                    with open(f"/proc/{pid}/comm") as stream:
                        program = stream.read().strip()
                    with open(f"/proc/{pid}/root/etc/hostname") as stream:
                        host = stream.read().strip()
            except OSError:
                continue
            for name in seen:
                found[(host, kind, program, name)] = {"place": kind, "path": f"{program} on {host}", "mark": name,
                                                       "mode": "", "owner": ""}
    if select.select([sys.stdin], [], [], 0.05)[0]:
        break
print(json.dumps({"rounds": rounds, "found": list(found.values())}))
"""


@dataclass(frozen=True)
class Finding:
    """A mark that was found. place: file, name of a file, journal, cmdline, environ or output."""

    where: str
    place: str
    path: str
    mark: str
    mode: str = ""
    owner: str = ""

    def narrow(self) -> bool:
        """Tell whether the file opens to nobody else and is written by its owner only: 0640 or narrower."""
        return self.place == "file" and int(self.mode, 8) & ~0o640 == 0


def _findings(where: str, found: Sequence[Mapping[str, Any]]) -> list[Finding]:
    return [Finding(where, **entry) for entry in found]


def search(
    command: Sequence[str],
    where: str,
    marks: Mapping[str, str],
    directories: Sequence[str],
    newer: Path | None = None,
    journal: bool = False,
) -> list[Finding]:
    """Search one machine. command: a prefix that runs Python there with a program as its argument."""
    order = {
        "marks": dict(marks),
        "directories": list(directories),
        "newer": str(newer) if newer else None,
        "journal": journal,
    }
    done = subprocess.run(command, input=json.dumps(order) + "\n", capture_output=True, text=True, check=True)
    return _findings(where, json.loads(done.stdout))


def search_host(lab: state.Lab, name: str, marks: Mapping[str, str]) -> list[Finding]:
    """Search the files and the journal of a host."""
    command = [*lab_hosts.ssh(lab, lab.host(name)), f"python3 -c {shlex.quote(SEARCH)}"]
    return search(command, name, marks, HOST_DIRECTORIES, journal=True)


def search_controller(marks: Mapping[str, str], directories: Sequence[Path], newer: Path) -> list[Finding]:
    """Search files of this machine that were written after another file."""
    places = [str(place) for place in directories if place.exists()]
    return search([sys.executable, "-c", SEARCH], "controller", marks, places, newer=newer)


def search_text(text: str, what: str, marks: Mapping[str, str]) -> list[Finding]:
    """Search what a program printed."""
    return [Finding("controller", "output", what, name) for name, value in marks.items() if value in text]


class Watch:
    """What processes showed of the marks, once the watch is over."""

    def __init__(self) -> None:
        self.rounds = 0
        self.found: list[Finding] = []


@contextmanager
def watching(marks: Mapping[str, str]) -> Iterator[Watch]:
    """Look at arguments and environment of all processes of this machine; those of lab hosts are among them."""
    watch = Watch()
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    answer: list[str] = []
    reader = threading.Thread(target=lambda: answer.append(process.stdout.read() if process.stdout else ""))
    reader.start()
    try:
        if process.stdin is not None:
            process.stdin.write(json.dumps({"marks": dict(marks)}) + "\n")
            process.stdin.flush()
        yield watch
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(timeout=30)
        reader.join()
    result = json.loads(answer[0])
    watch.rounds = int(result["rounds"])
    watch.found = _findings("process", result["found"])
