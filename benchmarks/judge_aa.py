#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A/A rollouts on the lab: the same content under another release id, again and again. None may be taken back.

    benchmarks/judge_aa.py --rollouts 10 --lab aa    builds the lab where there is none; about a minute per rollout

Each one must be completed, or halt as inconclusive. Exit code 1 when a good release was taken back.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests" / "lab"))

from fleet import Fleet, PlaybookRun
from rollouts import HOSTS, journal

PLACE = "/var/lib/local_llm/instances/chat/current/release.json"


def other_release(fleet: Fleet) -> list[str]:
    """Return arguments for a release that differs from all that serve now by a number of slots, and by nothing else."""
    now = {
        json.loads(fleet.shell(host, f"cat {PLACE}"))["description"]["config"]["parallel_requests"] for host in HOSTS
    }
    return ["-e", f"lab_parallel_requests={next(number for number in (6, 7, 8, 9) if number not in now)}"]


def verdicts(run: PlaybookRun) -> list[str]:
    """Return the word, the rounds and the worse pairs of each verdict of a rollout."""
    found = []
    for line in journal(run.made_rollout):
        if line["event"] != "verdict" and line["evidence"].get("step") != "verdict":
            continue
        evidence = line["evidence"]
        if "report" in evidence:
            evidence = json.loads((run.made_rollout / evidence["report"]).read_text(encoding="utf-8"))
        numbers = evidence.get("statistics") or {}
        told = f"{numbers.get('worse')} of {numbers.get('pairs')} pairs worse in {numbers.get('rounds')} rounds"
        found.append(f"{line['host']}: {evidence.get('verdict')} ({told})")
    return found


def main() -> int:
    """Run the rollouts and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=10, help="how many, default 10")
    parser.add_argument("--lab", default="aa", help="name of the lab, default aa")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    options = parser.parse_args()
    fleet = Fleet(options.lab)
    fleet.up()
    site = fleet.playbook("site")
    if site.code != 0:
        sys.stderr.write(site.output[-3000:])
        return 2
    outcomes: dict[str, int] = {}
    for number in range(1, options.rollouts + 1):
        run = fleet.playbook("upgrade", *other_release(fleet))
        outcomes[run.outcome] = outcomes.get(run.outcome, 0) + 1
        sys.stdout.write(f"{number}: {run.outcome} in {run.seconds:.0f} s; {'; '.join(verdicts(run))}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{options.rollouts} rollouts of good releases: {outcomes}\n")
    if not options.keep:
        fleet.lab_command("down")
    return 0 if set(outcomes) <= {"completed", "halted"} else 1


if __name__ == "__main__":
    sys.exit(main())
