# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Run the bench on a host: the lock, the interpreter that has torch, the child with its deadline.

The child is talked to and left as _nvml_child.py does it with its own: at the deadline its whole process group is
killed, and one that cannot die is left behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _nvml_child as child_of_nvml
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._nvml_child import Answer

if TYPE_CHECKING:  # makes ansible-core pack the files; nothing of them runs in this process
    from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _torch_bench, _torch_cards  # noqa: F401

LOCK_PATH = "/run/lock/local-llm-gpu-benchmark.lock"
ENGINE_PYTHONS = "/opt/local_llm/engines/vllm/*/bin/python"
TOOLS_PYNVML = "/opt/local_llm/tools/lib/python3*/site-packages/pynvml.py"
PROGRAM = ("_torch_cards.py", "_torch_bench.py")
FUTURE = b"from __future__ import annotations\n"
# A process with a CUDA context needs a moment to give it back.
LEAVE_SECONDS = 15.0
# What a shell may have set that changes figures, or writes between the lines.
UNWANTED = (
    "CUDA_LAUNCH_BLOCKING",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "CUBLAS_WORKSPACE_CONFIG",
    "NCCL_DEBUG",
    "NCCL_DEBUG_FILE",
)


class RefusedError(Exception):
    """The benchmark cannot run now; the message says why and what to do."""


class NoTorchError(Exception):
    """This interpreter cannot measure; the message names it and says why."""


@contextlib.contextmanager
def lock(path: str = LOCK_PATH) -> Iterator[None]:
    """Hold the one lock of a host while the block runs. Raises RefusedError, with the holder, when somebody has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be opened: {error.strerror}. Run the module as root (become: true)."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise RefusedError(f"{path} cannot be locked: {error.strerror}.") from error
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise RefusedError(
                f"Another GPU benchmark runs on this host, process {holder} (it holds {path}). Wait for its end."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # and with it the lock; the file stays, so that two never hold two of them


def engine_pythons(pattern: str = ENGINE_PYTHONS) -> list[str]:
    """Return the interpreters of installed engines that have torch on their disk, newest version first."""
    found = [path for path in glob.glob(pattern) if os.access(path, os.X_OK)]
    found = [
        path for path in found if glob.glob(os.path.join(_venv(path), "lib*/python3*/site-packages/torch/__init__.py"))
    ]
    return sorted(found, key=lambda path: _version(os.path.basename(_venv(path))), reverse=True)


def candidates(python: str | None, pattern: str = ENGINE_PYTHONS) -> list[str]:
    """Return the interpreters to try, best first. Raises RefusedError when there is none."""
    if python:
        if not (os.path.isfile(python) and os.access(python, os.X_OK)):
            raise RefusedError(
                f"python: {python} is no program. Name an interpreter that has torch, by its whole path."
            )
        return [python]
    found = engine_pythons(pattern)
    if not found:
        raise RefusedError(
            f"No interpreter with torch was found; looked for {pattern} with torch in it. "
            "Install the engine vllm, or name an interpreter that has torch with CUDA in the option python."
        )
    return found


def pynvml_file(pattern: str = TOOLS_PYNVML) -> str | None:
    """Return the file of nvidia-ml-py in the tools of the host, for an engine that has none of its own."""
    return next(iter(sorted(glob.glob(pattern), reverse=True)), None)


def near_cpus(numa_node: int | None, sysfs_root: str) -> list[int] | None:
    """Return the processors of a NUMA node; None when it is not known."""
    if numa_node is None:
        return None
    try:
        with open(os.path.join(sysfs_root, f"devices/system/node/node{numa_node}/cpulist"), encoding="ascii") as file:
            return cpu_list(file.read())
    except (OSError, ValueError):
        return None


def cpu_list(text: str) -> list[int] | None:
    """Return the numbers in a list such as 0-3,8; None when there is none."""
    numbers: list[int] = []
    for part in text.strip().split(",") if text.strip() else []:
        first, _dash, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers or None


def program(request: Mapping[str, Any]) -> bytes:
    """Return the source of the child: both files as one program, and what it is to do as its last line."""
    # Next to this file, wherever that is: in a directory, or in the archive that ansible-core sends to a host.
    loader: Any = __spec__.loader
    cards, bench = (loader.get_data(os.path.join(os.path.dirname(__file__), name)) for name in PROGRAM)
    return bytes(cards + b"\n" + bench.replace(FUTURE, b"", 1) + f"\n\nrun({dict(request)!r})\n".encode())


def environment(uuids: Sequence[str], library_directory: str | None, own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the child: the cards in our order, and nothing that changes figures."""
    result = {key: value for key, value in own.items() if key not in UNWANTED}
    result.update(
        CUDA_DEVICE_ORDER="PCI_BUS_ID",
        CUDA_VISIBLE_DEVICES=",".join(uuids),
        # The engine's directory is not ours to write to.
        PYTHONDONTWRITEBYTECODE="1",
    )
    result.setdefault("NCCL_SOCKET_IFNAME", "lo")  # all GPUs are on this host
    if library_directory:
        others = result.get("LD_LIBRARY_PATH")
        result["LD_LIBRARY_PATH"] = library_directory + (f":{others}" if others else "")
    return result


def run_bench(python: str, request: Mapping[str, Any], variables: Mapping[str, str], deadline: float) -> Answer:
    """Run the bench to its end or to the deadline and return what it wrote. Never hangs."""
    try:
        child = subprocess.Popen(
            [python, "-"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=dict(variables),
            start_new_session=True,
        )
    except OSError as error:
        return Answer(end="not_started", stderr=str(error).encode())
    answer = Answer()
    try:
        child_of_nvml._talk(child, program(request), time.monotonic() + deadline, answer)
        if answer.end in ("done", "exited"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(LEAVE_SECONDS)
    finally:
        child_of_nvml._part(child, answer)
    return answer


def stopped(answer: Answer, python: str, deadline: float) -> str | None:
    """Return why the bench did not come to its end, None when it did. Raises NoTorchError when it cannot measure."""
    unusable = next((record for record in answer.records if "unusable" in record), None)
    if unusable:
        raise NoTorchError(f"{python}: {unusable['error']}")
    if answer.end == "done":
        return None
    step = child_of_nvml._hung_call(answer)
    last = answer.stderr.decode(errors="replace").strip().splitlines()[-1:]
    said = f" It said: {last[0].strip()[:300]}" if last else ""
    if answer.end == "deadline":
        return (
            f"{step} did not end within {deadline:g} s of the start, and the bench was killed.{said} "
            "Ask gpu_health; where all is well, give it more time with deadline_seconds."
        )
    if answer.end == "not_started":
        return f"{python} cannot be started.{said} Name another interpreter in the option python."
    if answer.end == "flood":
        return f"{python} wrote far too much instead of figures. Name another interpreter in the option python."
    code = answer.return_code
    how = (
        f"died of {child_of_nvml._signal_name(-code)}" if code is not None and code < 0 else f"ended with status {code}"
    )
    return f"The bench {how} in {step}.{said} See dmesg."


def _venv(python: str) -> str:
    return os.path.dirname(os.path.dirname(python))


def _version(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return what versions are sorted by: numbers as numbers, 1.0rc1 before 1.0, 1.0.post1 after it."""
    ranks = {"post": (0, 1, "")}
    parts = re.findall(r"\d+|[a-z]+", name.lower())
    return (*((1, int(part), "") if part.isdigit() else ranks.get(part, (-1, 0, part)) for part in parts), (0, 0, ""))
