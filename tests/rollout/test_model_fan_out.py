# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way from one download to all hosts: below the limit, nothing wrong published, nothing left open."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from fleet import CHECKOUT, Fleet
from model_source import MODELS, NAME, SIZE, Source, flipped
from rollouts import HOSTS
from waiting import wait_for

from ansible_collections.local_llm.ops.plugins.module_utils import _artifact_bring
from ansible_collections.local_llm.ops.plugins.plugin_utils._lock_holder import process_start_ticks

ALL = ",".join(HOSTS)
# To all hosts of a play together.
RATE = 3_000_000
# The line that begins a task may be read late. A task that took less did not keep to the limit.
TIMING_SHARE = 0.9
MIRROR_UNIT = "lab-model-mirror"
MIRROR_PORT = 8099


def bring_timed(source: Source, limit: str, **variables: Any) -> tuple[int, str, dict[str, float]]:
    """Bring the model; return exit code, output, and how long each task took for all hosts together."""
    play = source.start(limit, **variables)
    lines: list[str] = []
    seconds: dict[str, float] = {}
    name, since = "", time.monotonic()
    for line in play.stdout or ():
        lines.append(line)
        if line.startswith(("TASK [", "PLAY RECAP")):
            now = time.monotonic()
            seconds[name] = now - since
            name, since = line.partition(" : ")[2].partition("]")[0], now
    return play.wait(), "".join(lines), seconds


def changed_hosts(output: str) -> list[str]:
    """Return the hosts that the recap counts changes for."""
    return re.findall(r"^(\w+) +: .*changed=[1-9]", output, re.MULTILINE)


def rot(source: Source) -> None:
    """Flip a bit of the file in the controller's cache as a bad disk does: nothing tells of it, no time changes."""
    blobs = source.work / "cache" / "blobs"
    path, mark = blobs / source.digest, blobs / _artifact_bring.PARTS / f"{source.digest}.ok"
    path.write_bytes(flipped(path.read_bytes()))
    mark.write_text(_artifact_bring._stamp(str(path)), encoding="ascii")
    assert _artifact_bring.is_marked(str(blobs), source.digest)


def shares(source: Source) -> list[dict[str, Any]]:
    """Return what the plays so far have noted of the servers that they started."""
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (source.work / "cache" / "blobs" / ".share").glob("*.json")
    ]


def get(url: str, **headers: str) -> bool:
    """Tell whether somebody gives out what lies there; nobody's proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(urllib.request.Request(url, headers=headers), timeout=5):
        return True
    return False


def is_closed(share: dict[str, Any], digest: str) -> bool:
    """Tell whether a server neither runs nor gives out its file any more."""
    runs = process_start_ticks(share["pid"]) == share["ticks"]
    return not runs and not get(f"{share['url']}/{digest}", Authorization=f"Bearer {share['token']}")


def closed(source: Source, way: str) -> None:
    """Check that the server of the play is gone, and that there was one where there should be one only."""
    known = shares(source)
    assert len(known) == (1 if way == "controller" else 0), known
    for share in known:
        wait_for("the end of the server", partial(is_closed, share, source.digest), 10)


@pytest.mark.parametrize(
    ("way", "task"),
    [
        ("controller", "Fetch the files from the controller"),
        ("copy", "Copy the files to the host, no faster than allowed"),
    ],
)
def test_the_controller_fetches_once_for_all_hosts_and_a_file_that_rots_in_its_cache_is_never_published(
    source: Source, way: str, task: str
) -> None:
    wanted = {"local_llm_model_fan_out": way}
    code, output, seconds = bring_timed(source, "gpu1,gpu2", **wanted, local_llm_model_share_bytes_per_second=RATE)
    assert code == 0, output[-3000:]
    assert [source.state_on(host) for host in HOSTS] == ["whole", "whole", "nothing"]
    assert source.sent_bytes() == SIZE, "once for both hosts"
    assert seconds[task] >= TIMING_SHARE * 2 * SIZE / RATE, seconds
    closed(source, way)

    asked = len(source.content.requests)
    rot(source)
    code, output = source.bring("gpu3", **wanted)
    assert code != 0
    told = next(line for line in output.splitlines() if line.startswith("fatal: [gpu3]"))
    assert "model.gguf" in told and source.digest in told, told
    assert f"from the cache of the controller, {source.work / 'cache' / 'blobs'}" in told, told
    assert source.state_on("gpu3") == "nothing"
    assert len(source.content.requests) == asked, "the cache had it, so nobody was asked"
    closed(source, way)

    code, output = source.bring(ALL, **wanted)
    assert code == 0, output[-3000:]
    assert [source.state_on(host) for host in HOSTS] == ["whole"] * len(HOSTS)
    assert changed_hosts(output) == ["gpu3"], "where it was already, nothing changes"
    assert source.sent_bytes() == 2 * SIZE, "the rotten file came anew, once"


class HostMirror:
    """A web server over the published models of a host. It counts what it sends."""

    def __init__(self, fleet: Fleet, host: str) -> None:
        self.fleet, self.host = fleet, host
        self.url = f"http://{fleet.lab.host(host).address}:{MIRROR_PORT}"
        self.log = f"/run/{MIRROR_UNIT}.jsonl"

    def __enter__(self) -> HostMirror:
        program = f"/run/{MIRROR_UNIT}.py"
        fake = CHECKOUT / "tests/fakes/http_mirror/fake_mirror.py"
        self.fleet.ad_hoc(self.host, "ansible.builtin.copy", f"src={fake} dest={program}")
        address = self.fleet.lab.host(self.host).address
        # Not as root: what it gives out must be readable to any web server.
        self.fleet.shell(
            self.host,
            f"install -o nobody /dev/null {self.log}; systemd-run --quiet --unit={MIRROR_UNIT} --property=User=nobody "
            f"python3 {program} --directory {MODELS} --address {address} --port {MIRROR_PORT} --log {self.log}",
        )
        wait_for(f"the mirror on {self.host}", self._answers, 30)
        return self

    def __exit__(self, *_error: object) -> None:
        self.fleet.shell(self.host, f"systemctl stop {MIRROR_UNIT}; rm -f /run/{MIRROR_UNIT}.*")

    def _answers(self) -> bool:
        get(f"{self.url}/")
        return bool(self.requests())

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests so far; the newest may be missing for a moment."""
        return [json.loads(line) for line in self.fleet.shell(self.host, f"cat {self.log}").splitlines()]

    def sent_bytes(self) -> int:
        """Return how many bytes of models it has sent. The byte with which a size is asked counts for none."""
        asked = [one for one in self.requests() if one["path"].endswith("model.gguf") and one["range"] != "bytes=0-0"]
        return sum(int(one["sent_bytes"]) for one in asked)


@pytest.fixture
def host_mirror(fleet: Fleet) -> Iterator[HostMirror]:
    """A host that has what the others want."""
    with HostMirror(fleet, "gpu1") as mirror:
        yield mirror


def test_a_host_of_the_fleet_is_the_mirror_for_the_others_and_what_it_gives_wrong_is_never_published(
    source: Source, host_mirror: HostMirror
) -> None:
    code, output = source.bring("gpu1", local_llm_model_fan_out="copy")
    assert code == 0, output[-3000:]
    assert source.sent_bytes() == SIZE
    asked_outside = len(source.content.requests)
    wanted = {"local_llm_model_fan_out": "mirror", "local_llm_model_mirror_url": host_mirror.url}
    file = f"{source.published}/model.gguf"

    damage = f"p='{file}'; d=bytearray(open(p, 'rb').read()); d[{SIZE // 2}]^=1; open(p, 'r+b').write(d)"
    source.fleet.shell("gpu1", f'python3 -c "{damage}"')
    code, output = source.bring("gpu2", **wanted)
    assert code != 0
    told = next(line for line in output.splitlines() if line.startswith("fatal: [gpu2]"))
    assert f"{host_mirror.url}/{NAME}/{source.revision}/model.gguf" in told, told
    assert source.digest in told, told
    assert source.state_on("gpu2") == "nothing"
    source.fleet.shell("gpu1", f'python3 -c "{damage}"')
    wait_for("the mirror's count", lambda: host_mirror.sent_bytes() == SIZE, 10)

    code, output, seconds = bring_timed(source, ALL, **wanted, local_llm_model_share_bytes_per_second=RATE)
    assert code == 0, output[-3000:]
    assert [source.state_on(host) for host in HOSTS] == ["whole"] * len(HOSTS)
    wait_for("the mirror's count", lambda: host_mirror.sent_bytes() == 3 * SIZE, 10)
    assert seconds["Fetch the files from the mirror"] >= TIMING_SHARE * SIZE / (RATE / len(HOSTS)), seconds
    assert len(source.content.requests) == asked_outside, "outside nobody was asked again"
    assert not (source.work / "cache" / "blobs" / ".share").exists(), "the controller served nothing"

    asked = len(host_mirror.requests())
    code, output = source.bring(ALL, **wanted)
    assert code == 0, output[-3000:]
    assert not changed_hosts(output), output[-3000:]
    assert len(host_mirror.requests()) == asked
