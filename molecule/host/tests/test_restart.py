# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that ends is started again, whatever its exit status; with vLLM's drop-in all but a wrong argument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host
from waiting import wait_for

testinfra_hosts = ["ansible://gpu_hosts"]

NAME = "restart"
UNIT = f"local-llm@{NAME}"
DIRECTORY = f"/var/lib/local_llm/instances/{NAME}"
DROP_IN = Path(__file__).resolve().parents[3] / "roles/vllm/templates/60-vllm.conf.j2"
DROP_IN_DIRECTORY = "/run/systemd/system/local-llm@.service.d"


def shown(host: Host, name: str) -> str:
    return host.check_output(f"systemctl show --property={name} --value {UNIT}")


@pytest.fixture
def ends_with(host: Host) -> Iterator[Host]:
    """An instance whose engine ends at once, with the status that start() is given."""
    host.run_expect([0], f"mkdir -p {DIRECTORY}/releases/r && touch {DIRECTORY}/releases/r/environment")
    host.run_expect([0], f"ln -sfn releases/r {DIRECTORY}/current")
    yield host
    host.run(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}")
    host.run(f"rm -rf {DIRECTORY} /var/cache/local-llm/{NAME} {DROP_IN_DIRECTORY}; systemctl daemon-reload")


def start(host: Host, status: int) -> None:
    run = f"{DIRECTORY}/releases/r/run"
    host.run_expect([0], f"printf '#!/bin/sh\\nexit {status}\\n' >{run} && chmod 755 {run}")
    host.run_expect([0], f"systemctl start {UNIT}")


def test_the_unit_of_every_instance_starts_its_engine_again(host: Host) -> None:
    assert host.check_output("systemctl show --property=Restart --value local-llm@any") == "always"


@pytest.mark.parametrize("status", [0, 1])
def test_an_engine_that_ended_is_started_again(ends_with: Host, status: int) -> None:
    start(ends_with, status)
    wait_for("the second start", lambda: int(shown(ends_with, "NRestarts")) > 0)


def test_with_the_drop_in_of_vllm_a_wrong_argument_is_not_tried_again_and_a_dead_engine_is(ends_with: Host) -> None:
    text = "\n".join(line for line in DROP_IN.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    ends_with.run_expect([0], f"mkdir -p {DROP_IN_DIRECTORY}")
    ends_with.run_expect([0], f"printf '%s\\n' '{text}' >{DROP_IN_DIRECTORY}/60-vllm.conf && systemctl daemon-reload")
    assert (shown(ends_with, "Restart"), shown(ends_with, "RestartPreventExitStatus")) == ("always", "2")
    start(ends_with, 2)
    wait_for("the end for good", lambda: shown(ends_with, "ActiveState") == "failed")
    assert (shown(ends_with, "ExecMainStatus"), shown(ends_with, "NRestarts")) == ("2", "0")
    # vLLM ends with 0 when its engine has died.
    start(ends_with, 0)
    wait_for("the second start", lambda: int(shown(ends_with, "NRestarts")) > 0)
