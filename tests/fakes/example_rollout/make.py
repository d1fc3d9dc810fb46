#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write six hand-made rollouts (journal and evidence) into a directory: make.py DIRECTORY.

completed: three hosts, all well. rolled_back: the canary's time to first token breaks its limit.
wrong_answers: the canary answers golden prompts worse than the old release did.
live_errors: the canary passes its probes, and too many requests of clients fail on it.
unreachable: the second host is lost in batch 2 while it switches; the canary goes back, the third is never touched.
on_purpose: a person takes all three back.
Same content on every run.
"""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
OLD, NEW = "4f1c2ab09d3e", "b7e0915cc2d4"
BEGIN = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)
BATCHES = [["gpu1"], ["gpu2"], ["gpu3"]]
ROLLOUTS = ("completed", "rolled_back", "unreachable", "on_purpose", "wrong_answers", "live_errors")


class Rollout:
    """A journal in the making, with a clock of its own."""

    def __init__(self, directory: Path, rollout_id: str) -> None:
        from ansible_collections.local_llm.ops.plugins.module_utils._canonical import CHAIN_START

        self.directory, self.rollout_id = directory, rollout_id
        self.now, self.seq, self.digest = BEGIN, 0, CHAIN_START
        self.lines: list[str] = []
        (directory / "evidence").mkdir(parents=True, exist_ok=True)

    def tell(self, event: str, host: str | None = None, *, after: float = 0.0, **fields: Any) -> None:
        """Append a line, some seconds after the one before."""
        from ansible_collections.local_llm.ops.plugins.module_utils._canonical import chained_line
        from ansible_collections.local_llm.ops.plugins.plugin_utils._journal import store_evidence

        self.now += timedelta(seconds=after)
        self.seq += 1
        evidence = store_evidence(self.directory, self.seq, event, fields.pop("evidence", {}))
        record = {
            "schema": 1,
            "seq": self.seq,
            "at": self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "rollout_id": self.rollout_id,
            "host": host,
            "instance": "chat" if host else None,
            "event": event,
            "state": None,
            "release": NEW if host else None,
            "previous_release": OLD if host else None,
            "seconds": None,
            "detail": "",
            **fields,
            "evidence": evidence,
        }
        line, self.digest = chained_line(self.digest, record)
        self.lines.append(line)

    def write(self) -> None:
        """Write the journal."""
        (self.directory / "journal.jsonl").write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def prepare(self, hosts: list[str]) -> None:
        """Plan, lock, preflight, stage."""
        changes = [
            {"key": "engine_version", "from": "0.6.1", "to": "0.7.0"},
            {"key": "config.parallel", "from": 4, "to": 8},
        ]
        entry = {"from": OLD, "to": NEW, "action": "upgrade", "slo_tier": "lab", "changes": changes}
        plan = {"batches": BATCHES, "canary": "gpu1", "hosts": {host: {"chat": entry} for host in hosts}}
        about = {"hostname": "control1", "pid": 4242}
        versions = {"ansible_core": "2.19.14", "collection": "0.1.0", "python": "3.11.2"}
        self.tell("planned", state="planned", evidence={"plan": plan, "controller": about, "versions": versions})
        for host in hosts:
            self.tell("locked", host, after=0.1)
        for host in hosts:
            self.tell("preflight", host, after=0.4, seconds=0.9)
        for host in hosts:
            self.tell("staged", host, after=4.2, seconds=4.0, state="staged")

    def batch(self, number: int) -> None:
        """Record that a batch may start."""
        state = "canary" if number == 1 else "progressing"
        hosts = BATCHES[number - 1]
        for host in hosts:
            self.tell("lock_renewed", host, after=0.2, instance=None)
        self.tell("batch_started", after=0.6, state=state, evidence={"batch": number, "hosts": hosts})

    def walk(self, host: str, *, slow: float = 1.0, wrong: int = 0) -> dict[str, Any]:
        """Record everything up to the verdict of one host; return the verdict."""
        seed = host + str(slow)
        answers = quality(wrong)
        self.tell("baseline_quality", host, after=2.8, seconds=2.4, evidence=quality())
        self.tell("baseline", host, after=12.6, seconds=12.1, evidence=benchmark(host, 1.0))
        self.tell(
            "drained", host, after=1.4, seconds=1.1, state="drained", evidence={"in_flight": 0, "share_percent": 0}
        )
        stopped = {"stop": 0.42, "start": 0.11, "ready": 4.4}
        self.tell("switched", host, after=5.3, state="warming", evidence={"seconds": stopped})
        self.tell("completion", host, after=0.8, seconds=0.31, evidence={"http_status": 200, "output_tokens": 8})
        self.tell("quality", host, after=2.9, seconds=2.4, evidence=answers)
        self.tell("benchmark", host, after=13.1, seconds=12.4, evidence=benchmark(seed, slow))
        verdict = judge(benchmark(seed, slow), benchmark(host, 1.0), answers)
        if verdict["verdict"] == "pass":
            self.tell("verdict", host, after=0.4, evidence=verdict, detail=verdict["summary"])
        else:
            evidence = {**verdict, "category": "orchestration", "step": "verdict", "reason": "verdict"}
            detail = f"the verdict is {verdict['verdict']}: {verdict['summary']}"
            self.tell("step_failed", host, after=0.4, evidence=evidence, detail=detail)
        return verdict

    def watch(self, host: str, *turns: tuple[int, int]) -> dict[str, Any]:
        """Record the watch of live requests, a turn per (requests, failed) so far; return what the last one found."""
        from ansible_collections.local_llm.ops.plugins.plugin_utils._live_turns import judge_turns

        server, found, seen = f"{host}-chat", {}, []
        self.tell("admitted", host, after=0.5, evidence={"share_percent": 10})
        for requests, failed in turns:
            rows = {server: (10, requests, failed), "gpu9-chat": (100, 9 * requests, 0)}
            servers = [
                {"server": name, "share_percent": row[0], "operational_state": "up"} for name, row in rows.items()
            ]
            deltas = [
                {"server": name, "requests": row[1], "http_5xx": row[2], "errors": 0, "retries": 0}
                for name, row in rows.items()
            ]
            seen.append([{"servers": servers, "deltas": deltas}])
            found = judge_turns(seen, server, 1.0, 10, 5)
            evidence = {**found["verdict"], **found["figures"], "requests_wanted": 10, "category": "waiting"}
            verdict = found["verdict"]
            if verdict["verdict"] == "pass":
                self.tell("watched", host, after=20.4, seconds=20.0, evidence=evidence, detail=found["told"])
            else:
                detail = f"the verdict is {verdict['verdict']}: {verdict['summary']}"
                evidence |= {"step": "watched", "reason": "verdict"}
                self.tell("step_failed", host, after=20.4, seconds=20.0, evidence=evidence, detail=detail)
        return found

    def promote(self, host: str) -> None:
        """Record the way of a host from its verdict to its commit."""
        self.watch(host, *([(431, 0)] if host != "gpu2" else [(41, 1), (120, 0)]))
        self.tell("committed", host, after=0.6, state="verifying")
        self.tell("full_share", host, after=0.5, state="healthy", evidence={"share_percent": 100})

    def revert(self, host: str) -> None:
        """Record a rollback that is verified."""
        self.tell("reverting", host, after=0.6, state="rolling_back")
        self.tell(
            "reverted",
            host,
            after=5.1,
            state="rolling_back",
            evidence={"seconds": {"stop": 0.4, "start": 0.1, "ready": 4.2}},
        )
        self.tell("rollback_quality", host, after=2.7, seconds=2.4, evidence=quality())
        self.tell("rollback_benchmark", host, after=12.9, seconds=12.3, evidence=benchmark(host + "back", 1.02))
        verdict = judge(benchmark(host + "back", 1.02), benchmark(host, 1.0))
        self.tell("rollback_verdict", host, after=0.3, evidence=verdict, detail=verdict["summary"])
        self.tell("rolled_back_verified", host, after=0.8, state="rolled_back_verified")


def statistics(values: list[float]) -> dict[str, Any]:
    """Return percentiles by nearest rank, null below the needed number of samples."""
    ordered, number = sorted(values), len(values)
    needed = {"p50": 11, "p90": 64, "p95": 130, "p99": 662}
    ranks = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    result: dict[str, Any] = {
        name: ordered[min(int(rank * number), number - 1)] if number >= needed[name] else None
        for name, rank in ranks.items()
    }
    return {**result, "mean": round(sum(ordered) / number, 6), "min": ordered[0], "max": ordered[-1], "count": number}


def benchmark(seed: str, slow: float) -> dict[str, Any]:
    """Return a benchmark report with made-up samples."""
    source = random.Random(seed)
    ttft = [round(source.lognormvariate(-2.6, 0.35) * slow, 5) for _request in range(150)]
    tpot = [round(source.lognormvariate(-4.4, 0.15) * (1 + (slow - 1) / 8), 6) for _request in range(150)]
    e2el = [round(first + 31 * each, 5) for first, each in zip(ttft, tpot, strict=True)]
    duration = round(sum(e2el) / 4, 3)
    return {
        "schema": 1,
        "kind": "benchmark",
        "engine_version_tool": "builtin/1",
        "workload": {
            "url_path": "/v1/chat/completions",
            "api": "openai_chat",
            "model": "chat",
            "users": 4,
            "requests": 150,
            "prompt_tokens": 32,
            "output_tokens": 32,
            "seed": 1,
            "warmup_requests": 4,
            "hash": "9c1e",
        },
        "started_at": "2026-01-05T09:15:00Z",
        "duration_seconds": duration,
        "requests": {"issued": 150, "succeeded": 150, "failed": 0, "timeouts": 0, "errors": {}},
        "ttft_seconds": statistics(ttft),
        "itl_seconds": statistics(tpot),
        "tpot_seconds": statistics(tpot),
        "e2el_seconds": statistics(e2el),
        "output_tokens_total": 4800,
        "output_tokens_per_second": round(4800 / duration, 2),
        "requests_per_second": round(150 / duration, 3),
        "output_tokens_per_second_per_request": statistics([round(32 / value, 3) for value in e2el]),
        "token_source": "usage",
        "coalesced_share": 0.0,
        "valid": True,
        "invalid_reasons": [],
        "samples": {"ttft_seconds": ttft, "e2el_seconds": e2el, "tpot_seconds": tpot},
    }


def quality(wrong: int = 0) -> dict[str, Any]:
    """Return a quality report of 24 golden answers, of which so many are not what they were."""
    digest, other, number = "5e" * 32, "c3" * 32, 24
    items = [
        {
            "id": f"golden-{index + 1}" if index else "the-shortest-way-to-close-a-ticket-of-the-second-line",
            "status": "fail" if index < wrong else "pass",
            "check": "recorded",
            "critical": index == 0,
            "match": "none" if index < wrong else "exact",
            "similarity": round(0.31 + 0.02 * index, 2) if index < wrong else 1.0,
            "sha256": other if index < wrong else digest,
            "expected_sha256": digest,
            "reference_status": "pass",
        }
        for index in range(number)
    ]
    share = round((number - wrong) / number, 4)
    chance = round(0.5**wrong, 6)
    reasons = [
        f"{wrong} of {number} items did not pass, share {share}, needed 1.0",
        f"critical: {items[0]['id']}",
        f"worse than the recorded answers on {wrong} of {number} items, better on 0 (McNemar p = {chance:.2g})",
    ]
    return {
        "schema": 1,
        "kind": "quality",
        "suite_sha256": "ab" * 32,
        "items": items,
        "passed": number - wrong,
        "failed": wrong,
        "errors": 0,
        "pass_share": share,
        "min_pass_share": 1.0,
        "compared": {
            "mode": "exact",
            "reference": {"engine": "llamacpp", "engine_version": "0.6.1", "model": "chat-8b-instruct-q8",
                          "model_revision": "0123456789abcdef0123456789abcdef01234567"},
            "pairs": number,
            "worse": wrong,
            "better": 0,
            "p_value": min(1.0, 2 * chance),
            "worse_p_value": chance,
            "alpha": 0.05,
            "verdict": "regression" if wrong >= 5 else "no_proof",
            "smallest_provable": 5,
        },
        "reasons": reasons if wrong else [],
        "ok": not wrong,
    }  # fmt: skip


def judge(new: dict[str, Any], baseline: dict[str, Any], answers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a verdict against made-up limits of a tier."""
    answers = answers or quality()
    reasons = []
    for measure, key, limit in (
        ("time to first token p95", "ttft_seconds", 0.3),
        ("total latency p95", "e2el_seconds", 2.0),
    ):
        observed = new[key]["p95"]
        reasons.append(
            {
                "measure": measure,
                "observed": observed,
                "threshold": limit,
                "rule": f"<= {limit} (tier lab)",
                "status": "pass" if observed <= limit else "fail",
            }
        )
    before, now = baseline["ttft_seconds"]["p50"], new["ttft_seconds"]["p50"]
    most = round(max(before * 1.5, before + 0.1), 6)
    reasons.append(
        {
            "measure": "time to first token p50",
            "observed": now,
            "threshold": most,
            "rule": f"against the baseline's {before}: at most 1.5 times, or 0.1 s more",
            "status": "pass" if now <= most else "fail",
        }
    )
    reasons.append(
        {
            "measure": "error rate in percent",
            "observed": 0.0,
            "threshold": 1.0,
            "rule": "<= 1.0 (tier lab)",
            "status": "pass",
        }
    )
    reasons.append(
        {
            "measure": "quality",
            "observed": answers["pass_share"],
            "threshold": 1.0,
            "status": "pass" if answers["ok"] else "fail",
            "rule": "share of golden prompts answered right"
            if answers["ok"]
            else f"{answers['failed']} wrong and 0 without result of {len(answers['items'])} golden prompts",
        }
    )
    broken = [reason["measure"] for reason in reasons if reason["status"] == "fail"]
    text = f"{len(reasons) - len(broken)} of {len(reasons)} measures hold."
    return {"schema": 1, "verdict": "fail" if broken else "pass", "reasons": reasons, "summary": text}


def completed(directory: Path) -> None:
    """Three hosts, all well."""
    rollout = Rollout(directory, "20260105-091500-a1b2")
    rollout.prepare(["gpu1", "gpu2", "gpu3"])
    for number, host in ((1, "gpu1"), (2, "gpu2"), (3, "gpu3")):
        rollout.batch(number)
        rollout.walk(host, slow=0.9)
        rollout.promote(host)
    rollout.tell("completed", after=0.7, state="completed")
    rollout.write()


def rolled_back(directory: Path) -> None:
    """The canary answers four times as late as before and takes itself back."""
    rollout = Rollout(directory, "20260105-091500-c3d4")
    rollout.prepare(["gpu1", "gpu2", "gpu3"])
    rollout.batch(1)
    verdict = rollout.walk("gpu1", slow=4.5)
    reason = f"Journal: verdict, which must be pass: gpu1/chat: step verdict is not proven: {verdict['summary']}"
    rollout.tell("failed", "gpu1", after=0.1, state="rolling_back", evidence={"verdict": "fail"}, detail=reason)
    rollout.tell("rolling_back", after=0.2, state="rolling_back")
    rollout.revert("gpu1")
    for host in ("gpu2", "gpu3"):
        rollout.tell("lock_renewed", host, after=0.8, instance=None)
        rollout.tell("gate_refused", after=0.1, detail="gpu1 went back; no further batch may start")
    rollout.tell("rolled_back_verified", after=0.5, state="rolled_back_verified")
    rollout.write()


def unreachable(directory: Path) -> None:
    """The second host loses power while it switches."""
    rollout = Rollout(directory, "20260105-091500-e5f6")
    rollout.prepare(["gpu1", "gpu2", "gpu3"])
    rollout.batch(1)
    rollout.walk("gpu1", slow=0.9)
    rollout.promote("gpu1")
    rollout.batch(2)
    rollout.tell("baseline", "gpu2", after=12.6, seconds=12.1, evidence=benchmark("gpu2", 1.0))
    rollout.tell("drained", "gpu2", after=1.4, seconds=1.1, state="drained", evidence={"in_flight": 0})
    reason = "no answer over SSH for 30 s"
    rollout.tell(
        "unreachable",
        "gpu2",
        after=32.0,
        state="unknown",
        detail=reason,
        evidence={"step": "switched", "reason": "unreachable"},
    )
    rollout.tell("rolling_back", after=0.4, state="rolling_back")
    rollout.revert("gpu1")
    rollout.tell("halted", after=0.6, state="halted", detail="gpu2 is not accounted for")
    rollout.write()


def on_purpose(directory: Path) -> None:
    """A person takes every host back to the release from before."""
    rollout = Rollout(directory, "20260105-091500-a7b8")
    rollout.prepare(["gpu1", "gpu2", "gpu3"])
    for host in ("gpu1", "gpu2", "gpu3"):
        rollout.revert(host)
    rollout.tell("rolled_back_verified", after=0.5, state="rolled_back_verified")
    rollout.write()


def wrong_answers(directory: Path) -> None:
    """The canary answers seven golden prompts otherwise, one of them critical."""
    rollout = Rollout(directory, "20260105-091500-b9c0")
    rollout.prepare(["gpu1", "gpu2", "gpu3"])
    rollout.batch(1)
    verdict = rollout.walk("gpu1", wrong=7)
    reason = f"Journal: verdict, which must be pass: gpu1/chat: step verdict is not proven: {verdict['summary']}"
    rollout.tell("failed", "gpu1", after=0.1, state="rolling_back", evidence={"verdict": "fail"}, detail=reason)
    rollout.tell("rolling_back", after=0.2, state="rolling_back")
    rollout.revert("gpu1")
    rollout.tell("rolled_back_verified", after=0.5, state="rolled_back_verified")
    rollout.write()


def live_errors(directory: Path) -> None:
    """The canary passes its probes; of the live requests at its small share too many fail, at the second look."""
    rollout = Rollout(directory, "20260105-091500-d1e2")
    rollout.prepare(["gpu1", "gpu2", "gpu3"])
    rollout.batch(1)
    rollout.walk("gpu1")
    found = rollout.watch("gpu1", (38, 1), (44, 6))
    reason = f"gpu1/chat: step watched is not proven: the verdict is fail: {found['verdict']['summary']}"
    rollout.tell("failed", "gpu1", after=0.1, state="rolling_back", evidence={"verdict": "fail"}, detail=reason)
    rollout.tell("rolling_back", after=0.2, state="rolling_back")
    rollout.revert("gpu1")
    rollout.tell("rolled_back_verified", after=0.5, state="rolled_back_verified")
    rollout.write()


def main(directory: Path) -> None:
    """Write all of them."""
    for name in ROLLOUTS:
        globals()[name](directory / name)


if __name__ == "__main__":
    checkout = HERE.parents[3]
    sys.path.insert(0, str(checkout / ".build" / "collections"))
    main(Path(sys.argv[1]))
