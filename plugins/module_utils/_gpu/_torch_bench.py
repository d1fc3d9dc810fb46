# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The program that measures GPUs: written to an interpreter's standard input, behind _torch_cards.py.

It does the jobs of the request one after the other and writes one JSON object per line: {"calling", "gpu"} before each
step that could hang, {"torch"}, {"card"}, then {"measured"}, {"skipped"} or {"failed"} with the number of the job,
{"unusable"} when nothing can be measured, {"done"} at the end. The last line that it is given is run({...}).
Times and samples stay raw; _benchmark_gpu.py makes figures of them.
"""

from __future__ import annotations

# What both files share is known at run time only.
# pylint: disable=used-before-assignment
import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time both files are one program
    from ansible_collections.local_llm.ops.plugins.module_utils._gpu._torch_cards import MIB, TROUBLE, Cpu, Cuda, Watch

MIN_SAMPLES = 5
MAX_SAMPLES = 2000
MAX_ITERATIONS = 20000
# torch's type, the first compute capability that has it in hardware, bytes of the two factors and of the product.
DTYPES: dict[str, tuple[str, tuple[int, int], int, int]] = {
    "bf16": ("bfloat16", (8, 0), 2, 2),
    "fp16": ("float16", (7, 0), 2, 2),
    "tf32": ("float32", (8, 0), 4, 4),
    "fp8": ("float8_e4m3fn", (8, 9), 1, 2),
    "fp32": ("float32", (0, 0), 4, 4),
}


class SkipJobError(Exception):
    """This card or this torch does not have what the job needs; the text says what."""


class Bench:
    """Does one job after the other."""

    def __init__(self, request: dict[str, Any], out: int) -> None:
        self.request = request
        self.out = out
        self.max_bytes = int(request["max_memory_bytes"])
        self.torch: Any = None
        self.backend: Any = None
        self.cards: list[dict[str, Any]] = []
        self.watch: Any = None

    def say(self, **record: Any) -> None:
        """Write one line."""
        data = json.dumps(record).encode() + b"\n"
        while data:
            data = data[os.write(self.out, data) :]

    def calling(self, step: str, position: int | None = None) -> None:
        """Say what comes next, so that the parent knows it when it never comes back."""
        self.say(calling=step, gpu=None if position is None else self.request["gpus"][position]["index"])

    def start(self) -> bool:
        """Load torch and look at the cards. False after having said why that cannot be."""
        self.calling("import torch")
        warnings.simplefilter("ignore")
        try:
            torch = self.torch = importlib.import_module("torch")
        except TROUBLE as error:
            self.say(unusable="no_torch", error=f"{type(error).__name__}: {error}"[:500])
            return False
        cpu = self.request["device"] == "cpu"
        version = getattr(torch, "version", None)
        cuda = getattr(version, "cuda", None)
        if not cpu and cuda is None:
            self.say(unusable="no_cuda", error=f"torch {torch.__version__} is built without CUDA")
            return False
        self.backend = Cpu(torch) if cpu else Cuda(torch)
        try:
            if not cpu:
                self.calling("torch.cuda.init")
                torch.cuda.init()
                count, wanted = torch.cuda.device_count(), len(self.request["gpus"])
                if count != wanted:
                    raise RuntimeError(f"torch sees {count} of the {wanted} GPUs")
            for position, _gpu in enumerate(self.request["gpus"]):
                self.calling("the properties of the card", position)
                self.cards.append(self.backend.card(position))
                self.backend.limit(position, self.max_bytes)
        except TROUBLE as error:
            self.say(unusable="cuda", error=f"{type(error).__name__}: {error}"[:500])
            return False
        self.calling("pynvml")
        self.watch = Watch(self.request)
        self.say(
            torch=torch.__version__, cuda=cuda, nccl=None if cpu else _nccl_version(torch), threads=_threads(torch)
        )
        for position, card in enumerate(self.cards):
            self.say(card=position, **card)
        return True

    def do(self, number: int, job: dict[str, Any]) -> None:
        """Do one job and say how it ended."""
        positions = job["gpus"]
        self.calling(" ".join(word for word in (job["measure"], job["dtype"]) if word), positions[0])
        try:
            self.backend.fresh(positions)
            facts = getattr(self, f"_{job['measure']}")(job, positions)
            self.say(measured=number, timer=self.backend.timer, **facts)
        except SkipJobError as reason:
            self.say(skipped=number, why=str(reason))
        except TROUBLE as error:
            self.say(failed=number, error=f"{type(error).__name__}: {error}"[:500])

    def _sample(self, work: Callable[[], Any], positions: list[int], job: dict[str, Any]) -> dict[str, Any]:
        """Warm up, find how often a sample must do the work, take samples while the card is watched."""
        backend, count, turns = self.backend, 1, 0
        backend.seconds(work, 1, positions)  # libraries are loaded, plans are made
        begin = time.monotonic()
        while turns < 2 or time.monotonic() - begin < job["warm_up_seconds"]:
            each = backend.seconds(work, count, positions) / count
            count = max(1, min(MAX_ITERATIONS, round(job["sample_seconds"] / max(each, 1e-9))))
            turns += 1
        times: list[float] = []
        with self.watch.over(positions) as samples:
            begin = time.monotonic()
            while len(times) < MIN_SAMPLES or (time.monotonic() - begin < job["seconds"] and len(times) < MAX_SAMPLES):
                times.append(backend.seconds(work, count, positions))
        return {
            "seconds": times,
            "iterations": count,
            "watched": list(samples),
            "watched_by": self.watch.source,
            "unwatched": None if samples else (self.watch.why or "no sample in time"),
            "memory_peak_bytes": backend.peak_bytes(positions),
        }

    def _buffer(self, size: int, position: int) -> Any:
        return self.torch.ones(size // 4, dtype=self.torch.float32, device=self.backend.place(position))

    def _memory_bandwidth(self, job: dict[str, Any], positions: list[int]) -> dict[str, Any]:
        cache = self.cards[positions[0]]["l2_bytes"]
        enough = 4 * cache if cache else job["bytes"]
        size = min(max(job["bytes"], -(-enough // MIB) * MIB), job["max_bytes"], self.max_bytes // 2 // MIB * MIB)
        source, target = self._buffer(size, positions[0]), self._buffer(size, positions[0])
        notes = [] if size >= enough else [f"the buffer is smaller than 4 times the L2 cache ({cache} bytes)"]
        facts = self._sample(lambda: target.copy_(source), positions, job)
        return {**facts, "amount": 2 * size, "bytes": size, "notes": notes}

    def _gemm(self, job: dict[str, Any], positions: list[int]) -> dict[str, Any]:
        torch, position, size, name = self.torch, positions[0], job["matrix_size"], job["dtype"]
        kind, capability, factor_bytes, product_bytes = DTYPES[name]
        on_cpu = self.request["device"] == "cpu"
        if not on_cpu and tuple(self.cards[position]["capability"]) < capability:
            mine = ".".join(str(part) for part in self.cards[position]["capability"])
            raise SkipJobError(f"{name} needs compute capability {capability[0]}.{capability[1]}; this card has {mine}")
        if not hasattr(torch, kind) or (name == "fp8" and not hasattr(torch, "_scaled_mm")):
            raise SkipJobError(f"torch {torch.__version__} has no {name} product")
        need = size * size * (2 * factor_bytes + product_bytes)
        if need > self.max_bytes:
            raise SkipJobError(
                f"the matrices need {need // MIB} MiB; max_memory_bytes allows {self.max_bytes // MIB} MiB"
            )
        place = self.backend.place(position)
        torch.manual_seed(1)
        # Random numbers, as zeros would draw less power than real work and so run faster.
        if name == "fp8":
            left, right = (
                torch.randn(size, size, dtype=torch.bfloat16, device=place).to(getattr(torch, kind)) for _side in "ab"
            )
            one = torch.ones((), dtype=torch.float32, device=place)
            right = right.t()  # the library takes the second factor by columns

            def work() -> None:
                torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)
        else:
            left, right = (torch.randn(size, size, dtype=getattr(torch, kind), device=place) for _side in "ab")
            product = torch.empty(size, size, dtype=getattr(torch, kind), device=place)
            torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")

            def work() -> None:
                torch.mm(left, right, out=product)

        facts = self._sample(work, positions, job)
        return {**facts, "amount": 2 * size**3, "bytes": need, "matrix_size": size, "notes": []}

    def _host_to_device(self, job: dict[str, Any], positions: list[int]) -> dict[str, Any]:
        return self._transfer(job, positions, to_device=True)

    def _device_to_host(self, job: dict[str, Any], positions: list[int]) -> dict[str, Any]:
        return self._transfer(job, positions, to_device=False)

    def _transfer(self, job: dict[str, Any], positions: list[int], to_device: bool) -> dict[str, Any]:
        self._needs_cuda()
        size = min(job["bytes"], self.max_bytes)
        cpus, notes = self.request["gpus"][positions[0]].get("cpus"), []
        before = os.sched_getaffinity(0)
        try:
            if cpus:
                try:
                    os.sched_setaffinity(0, cpus)  # so that the pinned memory lies on the card's own NUMA node
                except OSError as error:
                    notes.append(f"not bound to the NUMA node of the card: {error.strerror}")
            host = self.torch.ones(size // 4, dtype=self.torch.float32, pin_memory=True)
            card = self._buffer(size, positions[0])
            target, source = (card, host) if to_device else (host, card)
            facts = self._sample(lambda: target.copy_(source, non_blocking=True), positions, job)
        finally:
            os.sched_setaffinity(0, before)
        return {**facts, "amount": size, "bytes": size, "notes": notes}

    def _peer(self, job: dict[str, Any], positions: list[int]) -> dict[str, Any]:
        self._needs_cuda()
        size = min(job["bytes"], self.max_bytes)
        direct = self.torch.cuda.can_device_access_peer(positions[0], positions[1])
        source, target = self._buffer(size, positions[0]), self._buffer(size, positions[1])
        facts = self._sample(lambda: target.copy_(source, non_blocking=True), positions, job)
        return {**facts, "amount": size, "bytes": size, "path": "p2p" if direct else "staged", "notes": []}

    def _all_reduce(self, job: dict[str, Any], positions: list[int]) -> dict[str, Any]:
        self._needs_cuda()
        nccl, many = self.torch.cuda.nccl, len(positions)
        size = min(job["bytes"], self.max_bytes)
        shares = [self._buffer(size, position) for position in positions]
        if not nccl.is_available(shares):
            raise SkipJobError(f"torch {self.torch.__version__} is built without NCCL")
        nccl.all_reduce(shares)
        seen = [float(share[-1].item()) for share in shares]
        if seen != [float(many)] * many:
            raise RuntimeError(f"the sum over {many} GPUs must be {many} on each, but is {seen}")
        for share in shares:
            share.zero_()
        facts = self._sample(lambda: nccl.all_reduce(shares), positions, job)
        return {**facts, "amount": size * 2 * (many - 1) / many, "bytes": size, "notes": []}

    def _needs_cuda(self) -> None:
        if self.request["device"] == "cpu":
            raise SkipJobError("it needs a GPU")


def _nccl_version(torch: Any) -> str | None:
    try:
        return ".".join(str(part) for part in torch.cuda.nccl.version())
    except TROUBLE:
        return None


def _threads(torch: Any) -> int | None:
    return torch.get_num_threads() if hasattr(torch, "get_num_threads") else None


def run(request: dict[str, Any]) -> None:
    """Do the jobs. request: device, gpus, jobs, max_memory_bytes, pynvml_file; see child_request()."""
    sys.path[:] = [path for path in sys.path if path]  # never import from the current directory
    out = os.dup(1)
    os.dup2(2, 1)  # what torch and NCCL print must not come between the lines
    bench = Bench(request, out)
    if bench.start():
        for number, job in enumerate(request["jobs"]):
            bench.do(number, job)
        bench.say(done=True)
    os._exit(0)  # the kernel tidies up; nothing of torch or of the driver may hold the answer back
