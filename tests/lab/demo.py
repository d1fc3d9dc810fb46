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
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fleet import Client, Fleet, PlaybookRun, Traffic, made_since

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
    for line in process.stdout or ():
        lines.append(line)
        if line.startswith("PLAY [") or (line.startswith("TASK [") and "Journal: " in line):
            say(f"    {line.split('[', 1)[1].rsplit(']', 1)[0].removeprefix('local_llm.ops._release : ')}")
    code = process.wait()
    output = "".join(lines)
    (fleet.work / f"{playbook}.log").write_text(output, encoding="utf-8")
    return PlaybookRun(code, output, time.monotonic() - started, made_since(before, fleet.rollout_directories()))


def roll(fleet: Fleet, release: str, what: str, expected: str, client: Client) -> Row:
    """Upgrade to one release and see how it ended."""
    say(f"upgrade to release '{release}': {what}; expected: {expected}")
    began = time.time()
    path = f"@{Path(__file__).resolve().parents[2] / 'inventories/lab/releases' / release}.yml"
    run = follow(fleet, "upgrade", "-e", path)
    outcome = run.outcome if run.rollout else "refused"
    if run.rollout is None:
        print(run.output[-4000:])
    say(f"  ended: {outcome} after {run.seconds:.0f} s (exit code {run.code})")
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
    with fleet.client(options.rate) as client:
        client.wait_answered(50)
        say(f"a client now sends {options.rate:.0f} streaming requests per second to the gateway, without a pause")
        for release, expected, what in RELEASES:
            rows.append(roll(fleet, release, what, expected, client))
        whole = client.finish()
    print("\n" + table(rows) + "\n\nReports:")
    for row in rows:
        print(f"  {row.release:<15} {row.report or 'none: it was refused'}")
    print(f"\nAll requests, also those between the upgrades: {whole.sent} sent, {whole.failed} failed")
    print(f"\nThe lab '{options.lab}' stays up. Look around: tests/lab/lab.py list. End it: make lab-down\n")
    good = whole.failed == 0 and all(row.as_expected for row in rows)
    say("everything went as expected" if good else "NOT everything went as expected; see the table")
    return 0 if good else 1


STARTED = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
