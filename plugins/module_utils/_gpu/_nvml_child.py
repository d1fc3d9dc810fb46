# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Ask NVML in a child with a deadline, so that a driver that hangs cannot hang the module.

This is the one place that starts a process without module.run_command. A process that waits inside a broken driver is
in state D: no signal ends it. run_command waits for its child and for the end of its output, and would wait for ever.
Here the child has a session and pipes of its own, is killed at the deadline and then left alone, dead or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_words as words

if TYPE_CHECKING:  # makes ansible-core pack the file; nothing of it runs in this process
    from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_probe  # noqa: F401

PROBE = "_nvml_probe.py"
TOOLS_PYTHON = "/opt/local_llm/tools/bin/python"
LIBRARY = "libnvidia-ml.so.1"
DEADLINE_SECONDS = (1.0, 600.0)
# A child that was killed gets this long to go, so that no zombie stays; then it is left to init.
GRACE_SECONDS = 0.2
END_SECONDS = 1.0
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
MAX_STDERR_BYTES = 8192
# How the calls begin that the driver answers. The probe also names other steps: the import, a directory of /proc.
_NVML = "nvml"


@dataclass(frozen=True)
class Ask:
    """What to ask, and how. python: None for the tools' interpreter where it is, else this one."""

    python: str | None = None
    library_directory: str | None = None
    deadline_seconds: float = 30.0
    procfs_root: str = "/proc"
    sysfs_root: str = "/sys"
    topology: bool = True

    @property
    def interpreter(self) -> str:
        """Return the interpreter that runs the probe."""
        if self.python:
            return self.python
        return TOOLS_PYTHON if os.access(TOOLS_PYTHON, os.X_OK) else sys.executable

    def problems(self) -> list[str]:
        """Return what is wrong with the options: the option, the value and the fix. Empty: all is well."""
        found = []
        low, high = DEADLINE_SECONDS
        if not low <= self.deadline_seconds <= high:
            found.append(f"deadline_seconds: {self.deadline_seconds:g} is out of range. Use {low:g} to {high:g}.")
        if self.python and not (os.path.isfile(self.python) and os.access(self.python, os.X_OK)):
            found.append(f"nvml_python: {self.python} is no program. Name a Python interpreter by its whole path.")
        directories = (("nvml_library_directory", self.library_directory), ("procfs_root", self.procfs_root))
        for option, directory in (*directories, ("sysfs_root", self.sysfs_root)):
            if directory and not os.path.isdir(directory):
                found.append(f"{option}: {directory} is no directory on this host.")
        return found


@dataclass
class Answer:
    """What came back from the child. end: done | exited | deadline | flood | not_started."""

    end: str = "exited"
    records: list[dict[str, Any]] = field(default_factory=list)
    calling: bytes = b""
    stderr: bytes = b""
    return_code: int | None = None


def probe(ask: Ask) -> dict[str, Any]:
    """Return {"nvml", "gpus", "topology"} as the snapshot has them. Never raises for what a host lacks, never hangs."""
    started = time.monotonic()
    if ask.library_directory and not os.path.exists(os.path.join(ask.library_directory, LIBRARY)):
        message = f"nvml_library_directory: {ask.library_directory} holds no {LIBRARY}. {words.FIXES[12]}"
        result = shape(ask, Answer(records=[]), {"status": "missing_library", "code": None, "error": message})
    else:
        result = shape(ask, run(ask))
    complete_addresses(result["gpus"], ask.sysfs_root)
    result["nvml"]["seconds"] = round(time.monotonic() - started, 4)
    return result


def source(ask: Ask) -> bytes:
    """Return the program of the child: the probe's own source, and what it is to do as its last line."""
    # Next to this file, wherever that is: in a directory, or in the archive that ansible-core sends to a host.
    loader: Any = __spec__.loader
    data: bytes = loader.get_data(os.path.join(os.path.dirname(__file__), PROBE))
    request = {
        "procfs_root": ask.procfs_root,
        "topology": ask.topology,
        "identity": words.IDENTITY,
        "values": words.VALUES,
        "fields": words.FIELDS,
    }
    return data + f"\n\nrun({request!r})\n".encode()


def run(ask: Ask) -> Answer:
    """Run the probe and return what it wrote up to its end or the deadline."""
    environment = dict(os.environ)
    if ask.library_directory:
        others = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = ask.library_directory + (f":{others}" if others else "")
    program = source(ask)
    try:
        child = subprocess.Popen(
            [ask.interpreter, "-"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(end="not_started", stderr=str(error).encode())
    answer = Answer()
    try:
        _talk(child, program, time.monotonic() + ask.deadline_seconds, answer)
    finally:
        _part(child, answer)
    return answer


def _talk(child: subprocess.Popen[bytes], program: bytes, end: float, answer: Answer) -> None:
    """Write the program, read the answer; return at its end or at the deadline. Nothing in here blocks."""
    streams = {"stdin": child.stdin, "stdout": child.stdout, "stderr": child.stderr}
    rest = b""
    total = 0
    with selectors.DefaultSelector() as selector:
        for name, stream in streams.items():
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_WRITE if name == "stdin" else selectors.EVENT_READ, name)
        while "stdout" in [key.data for key in selector.get_map().values()]:
            left = end - time.monotonic()
            if left <= 0:
                answer.end = "deadline"
                return
            for key, _events in selector.select(left):
                if key.data == "stdin":
                    program = _feed(key.fd, program)
                    data = program
                else:
                    data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                elif key.data == "stderr":
                    answer.stderr = (answer.stderr + data)[-MAX_STDERR_BYTES:]
                elif key.data == "stdout":
                    total += len(data)
                    *lines, rest = (rest + data).split(b"\n")
                    _take(lines, answer)
            if answer.end == "done":
                return
            if total > MAX_OUTPUT_BYTES:
                answer.end = "flood"
                return


def _feed(descriptor: int, program: bytes) -> bytes:
    try:
        return program[os.write(descriptor, program) :]
    except BlockingIOError:
        return program
    except BrokenPipeError:  # it died before it had read its program; its exit status says more
        return b""


def _take(lines: Sequence[bytes], answer: Answer) -> None:
    """Keep the records among the lines; whatever is no record is passed over."""
    for line in lines:
        if line.startswith(b'{"calling"'):
            answer.calling = line  # most lines; only the last one of them is ever looked at
            continue
        record = _parse(line)
        if record.get("done"):
            answer.end = "done"
        elif record:
            answer.records.append(record)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _part(child: subprocess.Popen[bytes], answer: Answer) -> None:
    """End the child. One that cannot die is left behind: waiting for it would hang as the driver does."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        answer.return_code = child.wait(END_SECONDS if answer.end in ("done", "exited") else 0.0)
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.returncode = -signal.SIGKILL  # so that nothing waits for it later either
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def shape(ask: Ask, answer: Answer, problem: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return {"nvml", "gpus", "topology"} for an answer; problem: status, code and error when that is known already."""
    facts: dict[str, Any] = {}
    gpus: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for record in answer.records:
        if "failed" in record:
            problem = problem or words.failure(record, ask.interpreter)
        elif "gpu" in record:
            gpus.append(words.gpu_record(record["gpu"], record["values"], record["errors"]))
        elif "topology" in record:
            pairs = [words.pair_record(pair) for pair in record["topology"]]
        elif "driver_version" in record:
            facts = record
    hung_call = None
    if answer.end == "deadline":
        hung_call = _hung_call(answer)
        if hung_call.startswith(_NVML):
            problem = {"status": "hung", "code": 0 if facts else None, "error": _hung(ask, hung_call)}
        else:  # a slow disk or a busy machine; that says nothing about the driver and is no reason to reboot
            problem = {"status": "error", "code": None, "error": _slow(ask, hung_call)}
    elif problem is None and answer.end != "done":
        problem = {"status": "error", "code": None, "error": _death(ask, answer)}
    status = problem or {"status": "ok", "code": 0, "error": None}
    for gpu in gpus:
        gpu["pci"]["numa_node"] = _numa_node(ask.sysfs_root, gpu["pci"]["address"])
    return {
        "nvml": {
            **status,
            "seconds": 0.0,
            "hung_call": hung_call,
            "driver_version": facts.get("driver_version"),
            "nvml_version": facts.get("nvml_version"),
            "cuda_version": words.cuda_version(facts.get("cuda_version")),
        },
        "gpus": gpus if status["status"] in ("ok", "hung") else [],
        "topology": pairs if status["status"] == "ok" else [],
    }


def _hung_call(answer: Answer) -> str:
    record = _parse(answer.calling)
    name = str(record.get("calling", "the start of the interpreter"))
    return name if record.get("gpu") is None else f"{name} (GPU {record['gpu']})"


def _hung(ask: Ask, call: str) -> str:
    return (
        f"{call} gave no answer within {ask.deadline_seconds:g} s. "
        "A process that waits in the driver cannot be killed: drain the host and reboot it."
    )


def _slow(ask: Ask, call: str) -> str:
    return (
        f"{call} took longer than {ask.deadline_seconds:g} s. That is not the driver, but the host: "
        "look at its load and its disks, then ask again, or raise deadline_seconds."
    )


def _death(ask: Ask, answer: Answer) -> str:
    """Return how the child ended that did not end well."""
    last = answer.stderr.decode(errors="replace").strip().splitlines()[-1:]
    said = f" It said: {last[0].strip()}" if last else ""
    if answer.end == "not_started":
        return f"{ask.interpreter} cannot be started.{said} Name a Python interpreter in nvml_python."
    if answer.end == "flood":
        return f"{ask.interpreter} wrote more than {MAX_OUTPUT_BYTES} bytes instead of an answer."
    where = _hung_call(answer)
    code = answer.return_code
    if code is not None and code < 0:
        return f"The process that asks NVML died of {_signal_name(-code)} in {where}.{said} See dmesg."
    return f"The process that asks NVML ended with status {code} in {where}.{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def nvidia_addresses(sysfs_root: str = "/sys") -> list[str]:
    """Return where the PCI bus has NVIDIA GPUs, whether a driver runs them or not."""
    devices = os.path.join(sysfs_root, "bus/pci/devices")
    try:
        names = sorted(os.listdir(devices))
    except OSError:
        return []
    return [
        name
        for name in names
        if _text(os.path.join(devices, name, "vendor")) == "0x10de"
        and _text(os.path.join(devices, name, "class"))[:6] in ("0x0300", "0x0302")
    ]


def complete_addresses(gpus: Sequence[dict[str, Any]], sysfs_root: str) -> None:
    """Give GPUs that NVML lost without a trace the addresses on the PCI bus that no other GPU has, in their order."""
    nameless = [gpu for gpu in gpus if gpu["pci"]["address"] is None]
    if not nameless:
        return
    known = {gpu["pci"]["address"] for gpu in gpus}
    free = [address for address in nvidia_addresses(sysfs_root) if address not in known]
    if len(free) == len(nameless):  # else it is anybody's guess
        for gpu, address in zip(nameless, free):
            gpu["pci"]["address"] = address
            gpu["pci"]["bus"] = int(address.split(":")[1], 16)
            gpu["pci"]["numa_node"] = _numa_node(sysfs_root, address)


def _numa_node(sysfs_root: str, address: str | None) -> int | None:
    text = _text(os.path.join(sysfs_root, "bus/pci/devices", address, "numa_node")) if address else ""
    return int(text) if text.isdigit() else None  # -1: the machine has only one


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip().lower()
    except OSError:
        return ""
