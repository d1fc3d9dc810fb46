#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See it work: a fleet from nothing, one good upgrade and three bad ones, under a client that never stops asking.

Real systemd hosts, real llama-server, real HAProxy, on this one machine. The bad releases are made for this (see
tests/fakes). The lab stays up afterwards; end it with: make lab-down
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fleet import CLIENT_KEY, GATEWAY_PORT, Client, Fleet, PlaybookRun, Traffic, made_since

RELEASES = (
    ("good", "completed", "more room for parallel requests"),
    ("exits", "rolled_back_verified", "the engine exits at start"),
    ("slow", "rolled_back_verified", "first token over the SLO"),
    ("wrong_answers", "rolled_back_verified", "another model's answers"),
)


@dataclass(frozen=True)
class Row:
    """One line of the table at the end."""

    release: str
    what: str
    expected: str
    outcome: str
    code: int
    traffic: Traffic
    seconds: float
    report: Path | None
    least_sent: float

    @property
    def as_expected(self) -> bool:
        """Outcome, exit code and traffic are what they must be; few requests prove nothing."""
        return (
            self.outcome == self.expected
            and (self.code == 0) == (self.outcome == "completed")
            and self.traffic.failed == 0
            and self.traffic.sent >= self.least_sent
        )


def say(text: str) -> None:
    """Print a progress line with the time since the start."""
    print(f"demo: {time.monotonic() - STARTED:5.0f} s  {text}", flush=True)


def follow(fleet: Fleet, playbook: str, *extra: str) -> PlaybookRun:
    """Run a playbook, show the name of each step, and keep its whole output in a file."""
    before, started = fleet.rollout_directories(), time.monotonic()
    process = fleet.start_playbook(playbook, *extra)
    lines: list[str] = []
    task = ""
    for line in process.stdout or ():
        lines.append(line)
        name = line.partition("[")[2].rpartition("]")[0]
        if line.startswith("PLAY ["):
            say(f"  {name}")
        elif line.startswith("TASK ["):
            task = name.rpartition("Journal: ")[2] if "Journal: " in name else ""
        elif task and line.startswith(("changed: ", "fatal: ")):
            # A task name alone says nothing: it may be skipped, or fail.
            host = line.partition("[")[2].partition("]")[0]
            say(f"    {host}: {task}{'' if line.startswith('changed') else ': NOT PROVEN'}")
    code = process.wait()
    output = "".join(lines)
    (fleet.work / f"{playbook}.log").write_text(output, encoding="utf-8")
    return PlaybookRun(code, output, time.monotonic() - started, made_since(before, fleet.rollout_directories()))


def other_room(fleet: Fleet) -> str:
    """Return the argument that makes the good release differ from what serves now, also in a second demo."""
    place = "/var/lib/local_llm/instances/chat/current/release.json"
    now = json.loads(fleet.shell("gpu1", f"cat {place}"))["description"]["config"]["parallel_requests"]
    return f"lab_parallel_requests={4 if now != 4 else 3}"


def roll(fleet: Fleet, release: str, what: str, expected: str, client: Client, room: str) -> Row:
    """Upgrade to one release and see how it ended."""
    say(f"upgrade to release '{release}': {what}; expected: {expected}")
    began = time.time()
    path = f"@{Path(__file__).resolve().parents[2] / 'inventories/lab/releases' / release}.yml"
    run = follow(fleet, "upgrade", "-e", path, "-e", room)
    outcome = run.outcome if run.rollout else "refused"
    if run.rollout is None:
        print(run.output[-4000:])
    say(f"  ended: {outcome} after {run.seconds:.0f} s (exit code {run.code})")
    if run.rollout and run.code != 0:
        conclusion = (run.rollout / "journal.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        say(f"  {json.loads(conclusion)['detail']}")
    report = run.rollout / "report.html" if run.rollout else None
    traffic, least_sent = client.traffic(began), client.rate * run.seconds / 2
    return Row(release, what, expected, outcome, run.code, traffic, run.seconds, report, least_sent)


def table(rows: list[Row]) -> str:
    """Return the results as a table."""
    head = f"{'release':<15} {'outcome':<22} {'code':>4} {'sent':>7} {'failed':>7} {'seconds':>8}  what it is"
    lines = [head, "-" * len(head)]
    for row in rows:
        counts = f"{row.traffic.sent:>7} {row.traffic.failed:>7} {row.seconds:>8.0f}"
        note = "" if row.as_expected else "  <- NOT as expected"
        lines.append(f"{row.release:<15} {row.outcome:<22} {row.code:>4} {counts}  {row.what}{note}")
    return "\n".join(lines)


def look_around(fleet: Fleet) -> str:
    """Return what to type to see more."""
    lab, body = fleet.lab, '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}'
    gateway = next(host for host in lab.hosts.values() if host.group == "gateway")
    lines = [
        f"The lab '{lab.name}' stays up; its model has random weights, so its answers are noise. Look around:",
        f"  tests/lab/lab.py enter --lab {lab.name} gpu1        # then: systemctl status local-llm@chat",
        f"  curl -s http://{gateway.address}:{GATEWAY_PORT}/v1/chat/completions -H 'Content-Type: application/json' \\",
        f"       -H 'Authorization: Bearer {CLIENT_KEY}' -d '{body}'",
        f"  its inventory: {lab.directory / 'inventory.yml'}; all of this: tests/lab/README.md",
        f"End it: make lab-down LAB={lab.name}. Reports and outputs stay in {fleet.work}.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the demo; exit code 0 only if every outcome is the expected one and no request failed or was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="demo")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second of the steady client")
    options = parser.parse_args()
    fleet = Fleet(options.lab)
    say("bring up one gateway and three GPU hosts")
    fleet.up()
    fleet.work.mkdir(parents=True, exist_ok=True)
    say("provision them with site.yml")
    site = follow(fleet, "site")
    if site.code != 0:
        print(site.output[-4000:])
        say("site.yml failed; the end of its output is above. Mend it and run make demo again.")
        return 1
    rows = []
    room = other_room(fleet)
    with fleet.client(options.rate) as client:
        client.wait_answered(50)
        say(f"a client now sends {options.rate:.0f} streaming requests per second to the gateway, without a pause")
        for release, expected, what in RELEASES:
            rows.append(roll(fleet, release, what, expected, client, room))
        whole = client.finish()
    print("\n" + table(rows) + "\n\nReports:")
    for row in rows:
        print(f"  {row.release:<15} {row.report or 'none: it was refused'}")
    print(f"\nAll requests, also those between the upgrades: {whole.sent} sent, {whole.failed} failed")
    print("\n" + look_around(fleet) + "\n")
    good = whole.failed == 0 and all(row.as_expected for row in rows)
    say("everything went as expected" if good else "NOT everything went as expected; see the table")
    return 0 if good else 1


STARTED = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
