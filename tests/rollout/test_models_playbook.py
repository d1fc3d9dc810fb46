# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook models on hosts that serve: it lists, it moves only what nobody needs, and a power cut loses nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import Fleet, PlaybookRun
from rollouts import HOSTS
from waiting import wait_for

MODELS = "/var/lib/local_llm/models"
APPLY = ("-e", "local_llm_models_apply=true")
DELETE = ("-e", "local_llm_models_delete=true")
# Slow enough to pull the plug in the middle.
BIG_BYTES, BIG_RATE = 96_000_000, 12_000_000


def models(fleet: Fleet, *extra: str) -> PlaybookRun:
    return fleet.playbook("models", "-e", f"local_llm_models_root={fleet.work / 'models'}", *extra)


def document(fleet: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((fleet.work / "models" / "models.json").read_text(encoding="utf-8"))
    return found


def states(fleet: Fleet, host: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (model, revision) -> (state, action) of one host, as the document tells."""
    one = next(item for item in document(fleet)["hosts"] if item["host"] == host)
    assert one["error"] is None, one["error"]
    return {(row["name"], row["revision"]): (row["state"], row["action"]) for row in one["models"]}


def publish(fleet: Fleet, host: str, name: str, revision: str, day: str, make: str) -> str:
    """Publish a revision as if it had come long ago; make writes the file $f. Return its SHA-256."""
    incoming = f"{MODELS}/.incoming/{name}@{revision}"
    text = fleet.shell(host, f"mkdir -p {incoming}; f={incoming}/model.gguf; {make}; sha256sum $f; stat -c %s $f")
    digest, size = text.split()[0], int(text.split()[-1])
    arguments = {"name": name, "revision": revision, "files": {"model.gguf": digest}, "sizes": {"model.gguf": size}}
    fleet.ad_hoc(host, "local_llm.ops.model_directory", json.dumps({**arguments, "state": "present"}))
    fleet.shell(host, f"touch -d {day} {MODELS}/{name}/{revision}")
    return digest


def everything(fleet: Fleet, host: str) -> str:
    """Return every path below the models with its size and inode."""
    return fleet.shell(host, f"find {MODELS} -printf '%P %s %i\\n' | sort")


@pytest.fixture(autouse=True)
def only_what_serves(fleet: Fleet) -> Iterator[None]:
    """Take away what a test brought."""
    yield
    for host in HOSTS:
        if not fleet.is_on(host):
            fleet.lab_command("boot", host)
        fleet.shell(host, f"rm -rf {MODELS}/.archive {MODELS}/.incoming {MODELS}/old {MODELS}/big {MODELS}/tiny/r0*")


def test_surplus_models_go_to_the_archive_with_consent_only_and_what_serves_is_never_touched(fleet: Fleet) -> None:
    tiny = "cp /var/lib/local_llm/models/tiny/r1/model.gguf $f"
    publish(fleet, "gpu1", "tiny", "r0", "2026-05-01", tiny)
    publish(fleet, "gpu1", "tiny", "r00", "2026-03-01", tiny)
    before = everything(fleet, "gpu1")

    listing = models(fleet)
    assert listing.code == 0, listing.output[-3000:]
    assert listing.changed == 0
    assert "ARCHIVE: no release needs it, and standby_keep is 1" in listing.output
    assert "-e local_llm_models_apply=true" in listing.output
    found = states(fleet, "gpu1")
    assert found[("tiny", "r1")] == ("active", "none")
    assert found[("tiny", "r0")] == ("standby", "none")
    assert found[("tiny", "r00")] == ("standby", "archive")
    assert states(fleet, "gpu2")[("tiny", "r1")] == ("active", "none")

    checked = models(fleet, "--check", *APPLY)
    assert checked.code == 0, checked.output[-3000:]
    assert "ARCHIVE: no release needs it" in checked.output
    assert everything(fleet, "gpu1") == before

    serving = fleet.releases()
    done = models(fleet, *APPLY)
    assert done.code == 0, done.output[-3000:]
    assert states(fleet, "gpu1")[("tiny", "r00")] == ("archive", "none")
    assert fleet.shell("gpu1", f"ls {MODELS}/tiny").split() == ["r0", "r1"]
    assert fleet.releases() == serving

    again = models(fleet, *APPLY, *DELETE)
    assert again.code == 0, again.output[-3000:]
    assert again.changed == 0, again.output[-3000:]
    assert states(fleet, "gpu1")[("tiny", "r00")] == ("archive", "none")
    assert document(fleet)["to_do"] == dict.fromkeys(document(fleet)["to_do"], 0)


def test_what_a_release_needs_stays_even_when_the_policy_keeps_nothing(fleet: Fleet) -> None:
    nothing = json.dumps({"local_llm_model_retention": {"standby_keep": 0, "archive_keep": 0, "archive_days": 0}})
    gone = json.dumps({"local_llm_models": {}, "local_llm_instances": []})
    before = fleet.shell("gpu1", f"ls -Ri {MODELS}/tiny/r1")
    done = models(fleet, "-e", nothing, "-e", gone, *APPLY, *DELETE)
    assert done.code == 0, done.output[-3000:]
    assert fleet.shell("gpu1", f"ls -Ri {MODELS}/tiny/r1") == before
    assert states(fleet, "gpu1")[("tiny", "r1")] == ("active", "none")
    with pytest.raises(RuntimeError, match=r"still needed by .*current release"):
        fleet.ad_hoc("gpu1", "local_llm.ops.model_store", "state=archived name=tiny revision=r1")


def test_time_in_the_archive_ends_only_with_the_consent_to_delete(fleet: Fleet) -> None:
    publish(fleet, "gpu1", "old", "r1", "2026-01-01", "head -c 100000 /dev/zero > $f")
    fleet.ad_hoc("gpu1", "local_llm.ops.model_store", "state=archived name=old revision=r1")
    record = f"{MODELS}/.archive/old/r1/archive.json"
    fleet.shell("gpu1", f'sed -i \'s/"archived_at": "[^"]*"/"archived_at": "2020-01-01T00:00:00Z"/\' {record}')
    kept = models(fleet, *APPLY)
    assert kept.code == 0, kept.output[-3000:]
    assert "days in the archive, archive_days is 90" in kept.output
    assert states(fleet, "gpu1")[("old", "r1")] == ("archive", "delete")
    done = models(fleet, *APPLY, *DELETE)
    assert done.code == 0, done.output[-3000:]
    assert ("old", "r1") not in states(fleet, "gpu1")


def test_a_model_that_lies_in_the_archive_is_restored_from_there_and_not_brought_again(fleet: Fleet) -> None:
    digest = publish(fleet, "gpu1", "old", "r1", "2026-01-01", "head -c 3000000 /dev/urandom > $f")
    fleet.ad_hoc("gpu1", "local_llm.ops.model_store", "state=archived name=old revision=r1")
    definition = {"source": "directory", "path": "/nonexistent", "revision": "r1", "files": {"model.gguf": digest}}
    fleet.include_role("gpu1", "local_llm.ops._model", _model_name="old", local_llm_models={"old": definition})
    assert fleet.shell("gpu1", f"sha256sum {MODELS}/old/r1/model.gguf").split()[0] == digest
    assert "gone" in fleet.shell("gpu1", f"test -e {MODELS}/.archive/old || echo gone")


@pytest.mark.parametrize("fault", ["power cut of the host", "kill of the controller"])
def test_a_model_is_whole_after_a_fault_in_the_middle_of_archiving_and_the_next_run_finishes(
    fleet: Fleet, fault: str
) -> None:
    digest = publish(fleet, "gpu2", "big", "r1", "2026-01-01", f"head -c {BIG_BYTES} /dev/urandom > $f")
    keep_nothing = {"local_llm_model_retention": {"standby_keep": 0}}
    slowly = json.dumps({**keep_nothing, "local_llm_model_archive_bytes_per_second": BIG_RATE})
    extra = ("-e", slowly, *APPLY, "--limit", "gpu2", "-e", f"local_llm_models_root={fleet.work / 'models'}")
    process = fleet.start_playbook("models", *extra)
    try:
        part = f"{MODELS}/.archive/.incoming/big@r1/files/model.gguf.zst.part"
        wait_for("a part of the archive", lambda: "part" in fleet.shell("gpu2", f"ls {part} 2>/dev/null || true"), 60)
        if fault.startswith("power"):
            fleet.lab_command("power-cut", "gpu2")
        else:
            os.killpg(process.pid, signal.SIGKILL)
        output, _nothing = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode != 0, output[-3000:]
    if fault.startswith("power"):
        fleet.lab_command("boot", "gpu2")
        assert "none" in fleet.shell("gpu2", f"test -e {MODELS}/.archive/big || echo none"), "half an archive"
        assert fleet.shell("gpu2", f"sha256sum {MODELS}/big/r1/model.gguf").split()[0] == digest

    # The lock of the killed run does not stand in the way; what it began on the host may still go on, and is awaited.
    again = models(fleet, "-e", json.dumps(keep_nothing), *APPLY)
    assert again.code == 0, again.output[-3000:]
    assert states(fleet, "gpu2")[("big", "r1")] == ("archive", "none")
    assert fleet.shell("gpu2", f"ls {MODELS}/.archive/.incoming").split() == []
    answer = fleet.ad_hoc("gpu2", "local_llm.ops.model_store", "state=restored name=big revision=r1")
    assert answer["published"] and not answer["archived"]
    assert fleet.shell("gpu2", f"sha256sum {MODELS}/big/r1/model.gguf").split()[0] == digest


def test_nothing_moves_while_a_rollout_holds_the_fleet_lock(fleet: Fleet) -> None:
    publish(fleet, "gpu1", "old", "r1", "2026-01-01", "head -c 100000 /dev/zero > $f")
    lock = "local_llm.ops.rollout_lock"
    fleet.ad_hoc("gateway", lock, "state=held rollout_id=20260101T000000Z-abcd")
    try:
        before = everything(fleet, "gpu1")
        nothing = json.dumps({"local_llm_model_retention": {"standby_keep": 0}})
        refused = models(fleet, "-e", nothing, *APPLY)
        assert refused.code != 0
        assert "20260101T000000Z-abcd holds the fleet lock" in refused.output
        assert everything(fleet, "gpu1") == before
        assert models(fleet).code == 0, "to list changes nothing, so it may"
    finally:
        fleet.ad_hoc("gateway", lock, "state=released rollout_id=20260101T000000Z-abcd")


def test_nothing_moves_while_a_gateway_is_out_of_reach_since_it_may_hold_a_lock(fleet: Fleet) -> None:
    # The last host: ansible takes the first one out of the play by itself.
    publish(fleet, "gpu3", "old", "r1", "2026-01-01", "head -c 100000 /dev/zero > $f")
    before = everything(fleet, "gpu3")
    gateway = next(host.name for host in fleet.lab.hosts.values() if host.group == "gateway")
    fleet.lab_command("cut", gateway)
    try:
        refused = models(fleet, "-e", json.dumps({"local_llm_model_retention": {"standby_keep": 0}}), *APPLY)
    finally:
        fleet.lab_command("heal", gateway)
    assert refused.code != 0
    assert everything(fleet, "gpu3") == before
    assert "UNREACHABLE" in refused.output, refused.output[-3000:]
    assert "Do what was listed" not in refused.output


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"local_llm_model_retention": {"archive_dais": 30}}, "Did you mean archive_days?"),
        ({"local_llm_model_retention": {"standby_keep": -1}}, "local_llm_model_retention.standby_keep = -1"),
    ],
)
def test_a_wrong_policy_is_refused_with_key_value_and_fix(fleet: Fleet, wrong: dict[str, Any], told: str) -> None:
    refused = models(fleet, "-e", json.dumps(wrong))
    assert refused.code != 0
    assert told in refused.output


def test_the_document_is_not_readable_to_everybody(fleet: Fleet) -> None:
    assert models(fleet).code == 0
    path = Path(fleet.work / "models" / "models.json")
    assert path.stat().st_mode & 0o777 == 0o640
