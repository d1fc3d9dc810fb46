# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources, networks and disks fail while a model comes: nothing is half published, and a re-run goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import Client, Fleet
from host_disk import HostDisk
from model_source import MODELS, NAME, SIZE, Fault, Source, flipped
from open_gate import open_gate
from rollouts import HOSTS
from waiting import wait_for


@pytest.fixture
def out_of_service(fleet: Fleet) -> Iterator[str]:
    """Take a host out of the gateway, so that nobody is cut off with it."""
    name = "gpu3"
    common = f"pool=chat server={name}-chat"
    fleet.ad_hoc("gateway", "local_llm.ops.gateway_backend", f"{common} state=drain wait_idle_seconds=30")
    yield name
    if not fleet.is_on(name):
        fleet.lab_command("boot", name)
    fleet.lab_command("heal", name)
    wait_for(f"the service of {name}", lambda: serves(fleet, name), 60)
    fleet.ad_hoc("gateway", "local_llm.ops.gateway_backend", f"{common} state=ready wait_up_seconds=30")


def serves(fleet: Fleet, host: str) -> bool:
    """Tell whether the instance of a host answers."""
    address = fleet.lab.host(host).address
    ask = f"import urllib.request; print(urllib.request.urlopen('http://{address}:8001/health', timeout=3).status)"
    return fleet.shell(host, f'python3 -c "{ask}" 2>/dev/null || true').strip() == "200"


def unharmed(client: Client) -> None:
    """Check that clients saw nothing of it."""
    traffic = client.finish()
    assert traffic.failed == 0, traffic


# Both sources share what comes after the download: the hub's cases are for a change of that code, on demand (EXTRA=1).
HUB = pytest.param("hf", marks=pytest.mark.extra)


@pytest.mark.parametrize("kind", ["http", HUB])
@pytest.mark.parametrize(
    ("fault", "words", "kept_bytes"),
    [
        # A run asks four times: what has come by then counts.
        pytest.param(lambda data: Fault(cut_after_bytes=1_000_000), "broke off after", 4_000_000, id="cut"),
        pytest.param(lambda data: Fault(send_bytes=flipped(data)), "wanted is", 0, id="flipped byte"),
        pytest.param(lambda data: Fault(send_bytes=data[:-1000]), "wanted (are|is)", 0, id="truncated file"),
        pytest.param(lambda data: Fault(html=True), "web page", 0, id="HTML with status 200"),
        pytest.param(
            lambda data: Fault(html_untyped=True),
            "web page|announces|does not tell the size",
            0,
            id="HTML without a type",
        ),
        pytest.param(lambda data: Fault(send_bytes=os.urandom(SIZE)), "wanted is", 0, id="another file"),
    ],
)
def test_a_source_that_fails_publishes_nothing_and_the_next_run_goes_on(
    fleet: Fleet,
    client: Client,
    source: Source,
    kind: str,
    fault: Callable[[bytes], Fault],
    words: str,
    kept_bytes: int,
) -> None:
    source.kind = kind
    place = "/m/model.gguf" if kind == "http" else "/cdn/lab/faulty/model.gguf"
    source.content.faults[place] = dataclasses.replace(fault(source.data), times=-1)
    code, output = source.bring("gpu1,gpu2")
    assert code != 0
    assert re.search(words, output), output[-3000:]
    assert [source.state_on(host) for host in ("gpu1", "gpu2")] == ["nothing", "nothing"]
    assert not fleet.shell("gpu1", f"ls -A {source.incoming} 2>/dev/null || true").split()
    source.content.faults.clear()
    before = source.sent_bytes()
    code, output = source.bring("gpu1,gpu2")
    assert code == 0, output[-3000:]
    assert [source.state_on(host) for host in ("gpu1", "gpu2")] == ["whole", "whole"]
    assert source.sent_bytes() - before == SIZE - kept_bytes, "once for both hosts, and only what was missing"
    unharmed(client)


def test_a_host_that_is_cut_off_while_it_fetches_goes_on_where_it_was(
    fleet: Fleet, client: Client, source: Source, out_of_service: str
) -> None:
    host = out_of_service
    play = source.start(f"gpu1,{host}", local_llm_model_share_bytes_per_second=3_000_000)
    part = f"{source.incoming}/.parts/{source.digest}.part"
    try:
        wait_for(f"some bytes on {host}", lambda: size_on(fleet, host, part) > 500_000, 60)
        fleet.lab_command("cut", host)
        output, _nothing = play.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(play.pid, signal.SIGKILL)
        fleet.lab_command("heal", host)
    assert play.returncode != 0, output[-3000:]
    assert source.state_on("gpu1") == "whole", "the other host was not held back"
    assert source.state_on(host) == "nothing"
    came, outside = size_on(fleet, host, part), source.sent_bytes()
    assert 0 < came < SIZE
    code, output = source.bring(host)
    assert code == 0, output[-3000:]
    assert source.state_on(host) == "whole"
    # What the network still held may have come between the look and the next run.
    resumed = [int(number) for number in re.findall(r'"resumed_bytes": (\d+)', output)]
    assert came <= max(resumed) < SIZE, f"{came} bytes had come, gone on from {resumed}"
    assert source.sent_bytes() == outside, "the cache of the controller has it"
    unharmed(client)


def size_on(fleet: Fleet, host: str, path: str) -> int:
    """Return the size of a file on a host; 0 when there is none."""
    return int(fleet.shell(host, f"stat -c %s {path} 2>/dev/null || echo 0").strip())


def test_a_disk_that_fills_up_in_the_middle_keeps_what_has_come(
    fleet: Fleet, client: Client, source: Source, tmp_path: Path
) -> None:
    host = "gpu2"
    disk = HostDisk(fleet, host, MODELS, tmp_path / "disk", 64)
    disk.attach(copy=True)
    try:
        play = source.start(host, local_llm_model_share_bytes_per_second=1_500_000)
        part = f"{source.incoming}/.parts/{source.digest}.part"
        wait_for(f"some bytes on {host}", lambda: size_on(fleet, host, part) > 500_000, 60)
        # Somebody else takes the room: the check before the download could not know.
        fleet.shell(host, f"cat /dev/zero > {MODELS}/.filler 2>/dev/null || true")
        output, _nothing = play.communicate(timeout=120)
        assert play.returncode != 0
        assert "is full" in output, output[-3000:]
        assert source.state_on(host) == "nothing"
        came = size_on(fleet, host, part)
        assert came > 0
        # Without room it is refused before anything comes.
        code, output = source.bring(host)
        assert code != 0
        assert "too few" in output, output[-3000:]
        fleet.shell(host, f"rm {MODELS}/.filler")
        code, output = source.bring(host)
        assert code == 0, output[-3000:]
        assert f'"resumed_bytes": {came}' in output
        assert source.state_on(host) == "whole"
        assert source.sent_bytes() == SIZE
        assert serves(fleet, host)
    finally:
        disk.detach()
    unharmed(client)


@pytest.mark.parametrize("kind", ["http", HUB])
@pytest.mark.parametrize(
    ("directory", "name", "expected"),
    [
        pytest.param("{incoming}/.parts", "{digest}.lock", {"nothing"}, id="before the first byte"),
        pytest.param("{incoming}", "model.gguf", {"nothing"}, id="arrived, before it is published"),
        pytest.param("{incoming}", "manifest.json", {"nothing"}, id="while the manifest is written"),
        # The rename has happened, but nobody has been told to write it out.
        pytest.param(MODELS, NAME, {"nothing", "whole"}, id="between rename and its way to the disk"),
        # No gate: the play is told that it is published, so it must be on the disk.
        pytest.param("", "", {"whole"}, id="when it has just been told as published"),
    ],
)
def test_a_power_cut_while_it_is_published_leaves_nothing_half(
    fleet: Fleet,
    client: Client,
    source: Source,
    out_of_service: str,
    tmp_path: Path,
    kind: str,
    directory: str,
    name: str,
    expected: set[str],
) -> None:
    source.kind = kind
    host = out_of_service
    disk = HostDisk(fleet, host, MODELS, tmp_path / "disk", 64)
    disk.attach(copy=True)
    # The directories are there after any earlier try. The gate stands in them.
    fleet.shell(host, f"install -d -m 0755 {source.incoming}; install -d -m 0700 {source.incoming}/.parts")
    words = {"incoming": source.incoming, "digest": source.digest}
    place = disk.path() / directory.format(**words).removeprefix(MODELS).lstrip("/")
    play = source.start(host)
    try:
        with open_gate(place, name.format(**words)) if name else contextlib.nullcontext() as gate:
            if gate is None:
                assert play.wait(timeout=120) == 0
            else:
                gate.wait(60)
            after = disk.as_written(tmp_path / "after")
            fleet.lab_command("power-cut", host)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(play.pid, signal.SIGKILL)
        play.communicate()
    disk.unplug()
    disk.image = after
    fleet.lab_command("boot", host)
    disk.attach()
    try:
        assert source.state_on(host) in expected
        wait_for(f"the service of {host}", lambda: serves(fleet, host), 60)
        outside = source.sent_bytes()
        code, output = source.bring(host)
        assert code == 0, output[-3000:]
        assert source.state_on(host) == "whole"
        assert source.sent_bytes() == outside == SIZE, "fetched from outside once, whatever happened to the host"
    finally:
        disk.detach()
    unharmed(client)


def test_a_rollout_whose_model_is_damaged_on_its_way_touches_no_service_and_goes_through_when_mended(
    fleet: Fleet, client: Client, settled: Callable[[], None], source: Source
) -> None:
    index = json.loads((fleet.work.parents[1] / "artefacts" / "index.json").read_text(encoding="utf-8"))
    tiny = index["models"]["tiny"]
    source.data = (Path(tiny["directory"]) / "model.gguf").read_bytes()
    source.content.files["/m/model.gguf"] = source.data
    source.content.faults["/m/model.gguf"] = Fault(send_bytes=flipped(source.data), times=-1)
    models: dict[str, Any] = {"tiny": {"source": "directory", "path": tiny["directory"], "revision": "r1"}}
    models["tiny"]["files"] = {"model.gguf": tiny["sha256"]}
    models[NAME] = source.definition()
    variables = {"local_llm_models": models, "lab_model": NAME, "local_llm_model_cache": str(source.work / "cache")}
    (source.work / "extra.json").write_text(json.dumps(variables), encoding="utf-8")
    extra = ["-e", f"@{source.work / 'extra.json'}"]
    before = fleet.releases()
    done = fleet.playbook("upgrade", *extra)
    assert done.code != 0
    assert source.digest in done.output, done.output[-3000:]
    after = fleet.releases()
    assert {host: after[host]["current"] for host in HOSTS} == {host: before[host]["current"] for host in HOSTS}
    assert [source.state_on(host) for host in HOSTS] == ["nothing"] * len(HOSTS)
    settled()
    source.content.faults.clear()
    try:
        done = fleet.playbook("upgrade", *extra)
        assert done.code == 0, done.output[-4000:]
        assert done.outcome == "completed"
        settled()
        assert source.sent_bytes() == 2 * len(source.data), "once wrong, once right, for all hosts"
    finally:
        back = fleet.playbook("upgrade")
    assert back.code == 0, back.output[-3000:]
    settled()
    unharmed(client)
