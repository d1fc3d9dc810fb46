# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load clients for client_accuracy.py: how each is started, and where its result stands. To add one, add a class.

A peer takes part when the environment names its virtual environment; the model directory is for clients that cannot
make a prompt without a tokenizer (any small Hugging Face model will do: the server is a fake).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).resolve().parent
MODEL_VARIABLE = "LOCAL_LLM_PEER_MODEL"


@dataclass(frozen=True)
class Work:
    """What every client is asked to do; results go to `directory`."""

    url: str
    users: int
    requests: int
    tokens: int
    directory: Path


@dataclass(frozen=True)
class Result:
    """What a client says that it found. None: it does not say."""

    succeeded: int
    ttft_mean_seconds: float | None
    requests_per_second: float | None
    output_tokens: int | None


class Peer(Protocol):
    """A load client. `warmup_requests` are sent before, in addition to those asked for."""

    name: str

    def command(self, work: Work) -> list[str]: ...

    def result(self, work: Work, output: str) -> Result: ...


def _from_line(output: str) -> Result:
    found = json.loads(output.strip().splitlines()[-1])
    return Result(found["succeeded"], found["ttft_mean_seconds"], found["requests_per_second"], found["output_tokens"])


class Builtin:
    """The client of llm_benchmark."""

    name = "builtin"

    def command(self, work: Work) -> list[str]:
        script = str(HERE / "client_accuracy.py")
        return [sys.executable, script, "--client", work.url, str(work.users), str(work.requests), str(work.tokens)]

    def result(self, work: Work, output: str) -> Result:
        return _from_line(output)


class Floor:
    """A thread per user with http.client: the shortest honest client."""

    name = "http.client threads"

    def command(self, work: Work) -> list[str]:
        script = str(HERE / "client_floor.py")
        return [sys.executable, script, work.url, str(work.users), str(work.requests), str(work.tokens)]

    def result(self, work: Work, output: str) -> Result:
        return _from_line(output)


class VllmBench:
    """vllm bench serve."""

    variable = "LOCAL_LLM_PEER_VLLM"

    def __init__(self, venv: Path, model: str) -> None:
        self._program, self._model = venv / "bin" / "vllm", model
        self.name = f"vllm bench {_version(venv, 'vllm')}"

    def command(self, work: Work) -> list[str]:
        return [
            str(self._program), "bench", "serve", "--backend", "openai", "--base-url", work.url, "--model", "fake",
            "--tokenizer", self._model, "--dataset-name", "random", "--random-input-len", "32",
            "--random-output-len", str(work.tokens), "--num-prompts", str(work.requests),
            "--max-concurrency", str(work.users), "--ignore-eos", "--temperature", "0", "--disable-tqdm",
            "--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result", "--result-dir", str(work.directory),
            "--result-filename", "vllm.json",
        ]  # fmt: skip

    def result(self, work: Work, output: str) -> Result:
        found = _read(work.directory / "vllm.json")
        ttft = found["mean_ttft_ms"] / 1000
        return Result(found["completed"], ttft, found["request_throughput"], found["total_output_tokens"])


class GuideLlm:
    """guidellm run (its command line since 0.7)."""

    variable = "LOCAL_LLM_PEER_GUIDELLM"

    def __init__(self, venv: Path, model: str) -> None:
        self._program, self._model = venv / "bin" / "guidellm", model
        self.name = f"guidellm {_version(venv, 'guidellm')}"

    def command(self, work: Work) -> list[str]:
        return [
            str(self._program), "run",
            "--backend", f"kind=openai_http,target={work.url},model=fake,request_format=/v1/completions",
            "--tokenizer", f"kind=huggingface_auto,model={self._model}",
            "--data", f"kind=synthetic_text,prompt_tokens=32,output_tokens={work.tokens}",
            "--profile", f"kind=concurrent,streams={work.users}",
            "--constraint", f"kind=max_requests,count={work.requests}",
            "--output", f"kind=json,path={work.directory / 'guidellm.json'}", "--disable-console-interactive",
        ]  # fmt: skip

    def result(self, work: Work, output: str) -> Result:
        run = _read(work.directory / "guidellm.json")["benchmarks"][0]
        metrics = run["metrics"]
        good = {name: metrics[name]["successful"] for name in metrics if "successful" in (metrics[name] or {})}
        tokens = good["output_token_count"]
        return Result(
            metrics["request_totals"]["successful"],
            good["time_to_first_token_ms"]["mean"] / 1000,
            good["requests_per_second"]["mean"],
            round(tokens["mean"] * tokens["count"]),
        )


class AiPerf:
    """aiperf profile."""

    variable = "LOCAL_LLM_PEER_AIPERF"

    def __init__(self, venv: Path, model: str) -> None:
        self._program, self._model = venv / "bin" / "aiperf", model
        self.name = f"aiperf {_version(venv, 'aiperf')}"

    def command(self, work: Work) -> list[str]:
        return [
            str(self._program), "profile", "-m", "fake", "-u", work.url, "--endpoint-type", "completions",
            "--streaming",
            "--tokenizer", self._model, "--isl", "32", "--isl-stddev", "0", "--osl", str(work.tokens),
            "--osl-stddev", "0", "--extra-inputs", "ignore_eos:true", "--extra-inputs", "temperature:0",
            "--concurrency", str(work.users), "--request-count", str(work.requests), "--use-server-token-count",
            "--ui", "none", "--no-gpu-telemetry", "--artifact-dir", str(work.directory / "aiperf"),
        ]  # fmt: skip

    def result(self, work: Work, output: str) -> Result:
        found = _read(next((work.directory / "aiperf").rglob("profile_export_aiperf.json")))
        tokens = found.get("total_output_tokens") or found.get("output_token_count") or {}
        return Result(
            round(found["request_count"]["avg"]),
            found["time_to_first_token"]["avg"] / 1000,
            found["request_throughput"]["avg"],
            round(tokens["avg"]) if "avg" in tokens else None,
        )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _version(venv: Path, package: str) -> str:
    """Return the version that the virtual environment holds."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([str(venv / "bin" / "python"), "-c", code], capture_output=True, text=True, check=False)
    found = re.search(r"\d[\w.+]*", done.stdout)
    return found.group() if found else "of unknown version"


def clients() -> list[Peer]:
    """Return our client, the floor, and the peers that the environment names."""
    found: list[Peer] = [Builtin(), Floor()]
    model = os.environ.get(MODEL_VARIABLE, "")
    for kind in (VllmBench, GuideLlm, AiPerf):
        venv = os.environ.get(kind.variable)
        if venv:
            if not model:
                raise SystemExit(f"{MODEL_VARIABLE} is not set; give the directory of a model with a tokenizer")
            found.append(kind(Path(venv), model))
    return found
