# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Words of the report of a driver rollout: the sentence on top, and what to do next."""

from __future__ import annotations

from typing import Any

DRIVER_STEPS = {
    "not_begun": "its turn never came",
    "instances_stopped": "stop the instances",
    "driver_stopped": "nothing holds a GPU",
    "driver_installed": "packages in one transaction",
    "driver_loaded": "driver loaded",
    "rebooting": "reboot",
    "driver_read": "read the driver",
    "driver_verified": "verdict on the driver",
    "driver_held": "packages held",
}
RUN = "`ansible-playbook local_llm.ops.driver`"


def driver_summary(report: dict[str, Any], why: str, took: str) -> str:
    """Return the outcome in one sentence. why: what failed, took: how long it was."""
    outcome, hosts = report["outcome"], report["hosts"]
    by_outcome = {word: [entry["host"] for entry in hosts if entry["outcome"] == word] for word in _TOLD}
    versions = sorted({str(entry["release"]) for entry in hosts if entry["release"]})
    if outcome == "completed":
        subject = "1 host runs" if len(hosts) == 1 else f"all {len(hosts)} hosts run"
        return f"Completed: {subject} driver {' or '.join(versions)} after {took}."
    told = ", ".join(f"{len(names)} {_TOLD[word]}" for word, names in by_outcome.items() if names)
    if outcome == "rolled_back_verified":
        return f"Rolled back and verified: {why}; {told}."
    if outcome == "rollback_failed":
        return f"Rollback failed on {', '.join(by_outcome['rollback_failed']) or 'an unnamed host'}: {why}; {told}."
    if outcome == "halted":
        return f"Halted: {why}; {told or 'no host was touched'}."
    return f"Unfinished: the journal ends without an outcome; {told or 'no host was touched'}."


_TOLD = {
    "healthy": "on the new driver",
    "rolled_back_verified": "back on the old driver and verified",
    "rollback_failed": "drained, with a driver that is not proven",
    "untouched": "not reached",
    "unknown": "in an unknown state",
}


def driver_next_steps(report: dict[str, Any]) -> str:
    """Return what to do next in one or two sentences."""
    outcome, hosts = report["outcome"], report["hosts"]
    failed = ",".join(sorted({entry["host"] for entry in hosts if entry["outcome"] == "rollback_failed"}))
    lost = ", ".join(sorted({entry["host"] for entry in hosts if entry["outcome"] == "unknown"}))
    if outcome == "rollback_failed":
        return (
            f"Act now: {failed or 'the host'} stays drained. Read `dkms status` and `journalctl -k -g NVRM` there, "
            f"mend it, then run {RUN} again."
        )
    if outcome == "unfinished":
        return f"If no rollout runs any more, run {RUN} again: every host goes on where it stopped."
    if lost:
        return f"Bring {lost} back (power, network, SSH), then run {RUN} again: the host goes on where it stopped."
    if outcome == "rolled_back_verified":
        return (
            "Every host runs a driver that is proven, so nothing is urgent. Read the failed step below, mend its cause "
            f"or set `nvidia_driver_version` to another version, then run {RUN} again."
        )
    return f"No host was left half done, so nothing is urgent. Mend what the journal below names, then run {RUN} again."
