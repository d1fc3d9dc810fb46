# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Let another load tool do the measuring, and bring what it found into our records and our report.

A tool that is to be added needs a module with command() and parse(), a line in PEERS and one in _peer_options.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._bench import _peer_aiperf, _peer_guidellm, _peer_vllm
from ansible_collections.local_llm.ops.plugins.module_utils._bench._job import Job, Outcome, Surroundings, Tell, measure
from ansible_collections.local_llm.ops.plugins.module_utils._bench._measures import span
from ansible_collections.local_llm.ops.plugins.module_utils._bench._peer_common import (
    Command,
    PeerAsk,
    PeerError,
    PeerRecords,
)
from ansible_collections.local_llm.ops.plugins.module_utils._bench._records import Run
from ansible_collections.local_llm.ops.plugins.module_utils._bench._validity import check
from ansible_collections.local_llm.ops.plugins.module_utils._endpoint import Endpoint

# Importing itself and making prompts, before the first request.
PREPARE_SECONDS = 300.0
VERSION_SECONDS = 120
_TOLD_CHARACTERS = 300

RunCommand = Callable[..., "tuple[int, str, str]"]


@dataclass(frozen=True)
class Peer:
    """A tool: versions it was tried with, how it is started, how its result is read."""

    tested: tuple[str, ...]
    command: Callable[[PeerAsk], Command]
    parse: Callable[[str, PeerAsk], PeerRecords]


PEERS = {
    module.TOOL: Peer(module.TESTED, module.command, module.parse)
    for module in (_peer_vllm, _peer_guidellm, _peer_aiperf)
}


def measure_with(
    job: Job,
    endpoint: Endpoint,
    stop: threading.Event,
    around: Surroundings,
    tell: Tell,
    run_command: RunCommand,
    directory: str,
) -> Outcome:
    """Measure with the tool that the options name, in a directory of its own that goes afterwards. Raises PeerError."""
    params, client = job.params, job.params["client"]
    version = version_of(client, params["client_command"], run_command)
    check_tokenizer(params["client_tokenizer"])
    limit = PREPARE_SECONDS + job.max_seconds + params["request_timeout_seconds"]
    with tempfile.TemporaryDirectory(dir=directory) as own:
        ask = ask_of(params, job.plan, endpoint, own)
        outcome = measure(
            job, endpoint, stop, around, tell, peer=lambda: run_peer(client, ask, run_command, limit, stop)
        )
    return Outcome(as_peer(outcome.report, client, version), outcome.run)


def base_url(endpoint: Endpoint) -> str:
    """Return the base address of an endpoint, without /v1."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{'https' if endpoint.secure else 'http'}://{host}:{endpoint.port}{endpoint.base_path}"


def ask_of(params: Mapping[str, Any], plan: Mapping[str, Any], endpoint: Endpoint, directory: str) -> PeerAsk:
    """Return what the tool is asked for. The plan has one stage: _peer_options refused all others."""
    stage = plan["stages"][0]
    same = ("api", "model", "prompt_tokens", "output_tokens", "seed", "ignore_eos", "extra_body", "api_key")
    return PeerAsk(
        program=params["client_command"],
        tokenizer=params["client_tokenizer"],
        directory=directory,
        url=base_url(endpoint),
        requests=stage["requests"],
        users=stage.get("users"),
        rate_per_second=stage.get("rate_per_second"),
        arrivals=stage.get("arrivals") or "poisson",
        request_timeout_seconds=params["request_timeout_seconds"],
        **{name: params[name] for name in same},
    )


def version_of(client: str, program: str, run_command: RunCommand) -> str:
    """Return the version that the tool tells of itself. Raises PeerError when it cannot be started."""
    if not os.access(program, os.X_OK) or os.path.isdir(program):
        raise PeerError(
            f"client_command: {program} is no program on this host; install {client} there, or name another"
        )
    status, output, errors = run_command(["timeout", "--kill-after=10", str(VERSION_SECONDS), program, "--version"])
    found = re.search(r"\d+\.\d+[\w.+-]*", output)
    if status != 0 or not found:
        raise PeerError(
            f"client_command: {program} --version tells no version (exit status {status}{_told(output, errors)}); "
            f"is it {client}?"
        )
    return found.group()


def check_tokenizer(path: str) -> None:
    """Raise PeerError when there is no tokenizer: a tool would look for it in the network."""
    if not os.path.isfile(os.path.join(path, "tokenizer_config.json")):
        raise PeerError(
            f"client_tokenizer: {path} holds no tokenizer_config.json; give the directory of a Hugging Face model on "
            "the host that sends"
        )


def run_peer(client: str, ask: PeerAsk, run_command: RunCommand, limit_seconds: float, stop: threading.Event) -> Run:
    """Start the tool, wait for it, and return its run. Raises PeerError. It is ended by `stop`, and after its limit."""
    peer = PEERS[client]
    start = peer.command(ask)
    for name, text in start.files.items():
        with open(os.path.join(ask.directory, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    done = threading.Event()
    limit = ["timeout", "--kill-after=10", f"{limit_seconds:.0f}"]
    try:
        status, output, errors = run_command(
            [*limit, *start.argv],
            environ_update=dict(start.environment),
            cwd=ask.directory,
            before_communicate_callback=lambda process: _end_with(process, stop, done),
        )
    finally:
        done.set()
    ended = time.time()
    if stop.is_set():
        return Run((), 0.0, 0.0, interrupted=True)
    if status in (124, 137):
        raise PeerError(
            f"client: {client} was not done after {limit_seconds:.0f} s and was ended; give fewer requests, or a "
            "larger max_seconds"
        )
    try:
        with open(os.path.join(ask.directory, start.result), encoding="utf-8") as stream:
            text = stream.read()
    except OSError as exc:
        raise PeerError(
            f"client: {client} left no result (exit status {status}{_told(output, errors)}); "
            "check client_command and client_tokenizer"
        ) from exc
    return run_of(peer.parse(text, ask), ended)


def _end_with(process: Any, stop: threading.Event, done: threading.Event) -> None:
    def wait() -> None:
        while not done.wait(0.5):
            if stop.is_set():
                process.terminate()  # `timeout` hands it on to all that it started
                return

    threading.Thread(target=wait, daemon=True).start()


def _told(output: str, errors: str) -> str:
    """Return the line that tells most of what a tool wrote, as part of a sentence."""
    lines = [line.strip() for text in (output, errors) for line in text.splitlines() if re.search(r"\w", line)]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    named = [line for line in lines if "ERROR" in line or line.startswith("Error")]
    told = raised[-1:] or named[:1] or lines[-1:]
    return f", {told[0][:_TOLD_CHARACTERS]!r}" if told else ""


def run_of(found: PeerRecords, ended_unix_seconds: float) -> Run:
    """Return the records of a tool as a run. Without a date of its own it counts back from its end."""
    seconds = span(found.records)
    start = found.start_unix_seconds
    start = ended_unix_seconds - seconds if start is None else start
    return Run(
        found.records,
        seconds,
        0.0,
        lateness_seconds=tuple(r.started - r.scheduled for r in found.records if r.scheduled is not None),
        started_at=datetime.fromtimestamp(start, timezone.utc).isoformat(timespec="seconds"),
        clock_offset=start,
        stage_starts=(0.0,),
    )


def as_peer(report: Mapping[str, Any], client: str, version: str) -> dict[str, Any]:
    """Return the report of a tool's run: under its name, and with nothing in it that the tool does not tell.

    Its prompts are its own, so its single requests are no partners of anybody's: samples.requests is empty.
    """
    checks = [_known(entry, client) for entry in report["validity"]["checks"]]
    names = {entry["check"] for entry in checks}
    if report["load"]["mode"] == "open":
        why = f"{client} does not tell when a request was due"
        checks += [_unknown(name, why) for name in ("achieved_rate", "client_lateness") if name not in names]
    sent, wanted = report["requests"]["issued"], report["workload"]["requests"]
    if wanted and sent != wanted:
        why = f"{client} tells of {sent} requests, and {wanted} were asked for"
        checks.append(_public(check("all_sent", "warn", sent, wanted, why)))
    tested = PEERS[client].tested
    plain = re.split(r"[+-]", version)[0]
    if plain in tested:
        checks.append(_public(check("client_version", "ok", version)))
    else:
        why = f"the collection was tried with {client} {', '.join(tested)}; look whether the figures are plausible"
        checks.append(_public(check("client_version", "warn", version, tested[-1], why)))
    return {
        **report,
        "engine_version_tool": f"{client}/{version}",
        "tokens_per_event": None,
        "client": {"cpu_seconds": None, "cpu_share_of_one_core": None},
        "validity": {**report["validity"], "checks": checks},
        "samples": {**report["samples"], "requests": []},
    }


# Checks of our own client that are fine whatever a tool did, because it does not tell.
_NOT_TOLD = {
    "client_cpu": "runs in processes of its own, whose work is not counted",
    "one_piece": "does not tell which events came in one read",
    "tokens_per_event": "does not count events as tokens",
}


def _known(entry: Mapping[str, Any], client: str) -> dict[str, Any]:
    why = _NOT_TOLD.get(entry["check"])
    if why is None or entry["status"] == "fail":
        return dict(entry)
    return _unknown(entry["check"], f"{client} {why}")


def _unknown(name: str, reason: str) -> dict[str, Any]:
    return _public(check(name, "unknown", reason=reason))


def _public(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "code"}
