# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead-man on a real host, without any module: units, script, links and journal."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from testinfra.host import Host
from waiting import wait_for

testinfra_hosts = ["ansible://gpu_hosts"]

NAME = "deadman"
DIRECTORY = f"/var/lib/local_llm/instances/{NAME}"
OLD, NEW = "0" * 12, "1" * 12


def armed(host: Host, boot_id: str, seconds_left: int, revert_to: str | None = OLD) -> str:
    uptime = int(float(host.check_output("cat /proc/uptime").split()[0]))
    record = {
        "boot_id": boot_id, "deadline_at": "soon", "deadline_uptime_seconds": uptime + seconds_left,
        "previous_before": None, "release": NEW, "revert_to": revert_to, "rollout_id": "r1", "schema": 1,
    }  # fmt: skip
    return json.dumps(record, separators=(",", ":"))


@pytest.fixture
def instance(host: Host) -> Iterator[Host]:
    """An instance that serves NEW and served OLD before, with nothing armed."""
    for release in (OLD, NEW):
        directory = f"{DIRECTORY}/releases/{release}"
        host.run_expect([0], f"mkdir -p {directory} && touch {directory}/environment")
        host.run_expect([0], f"printf '#!/bin/sh\\nexec sleep 1000\\n' >{DIRECTORY}/releases/{release}/run")
        host.run_expect([0], f"chmod 755 {DIRECTORY}/releases/{release}/run")
    host.run_expect([0], f"ln -sfn releases/{NEW} {DIRECTORY}/current; ln -sfn releases/{OLD} {DIRECTORY}/previous")
    host.run_expect([0], f"systemctl start local-llm@{NAME}")
    yield host
    host.run(f"systemctl stop local-llm-revert@{NAME}.timer local-llm@{NAME}; systemctl reset-failed local-llm@{NAME}")
    host.run(f"rm -rf {DIRECTORY} /var/lib/local_llm/locks/{NAME}.lock /var/cache/local-llm/{NAME}")


def arm(host: Host, record: str) -> None:
    host.run_expect([0], f"printf '%s\\n' '{record}' >{DIRECTORY}/armed.json")


def current(host: Host) -> str:
    return host.run(f"basename $(readlink {DIRECTORY}/current)").stdout.strip()


def boot_id(host: Host) -> str:
    return host.check_output("cat /proc/sys/kernel/random/boot_id")


def test_deadline_takes_the_instance_back_and_ends_the_polling(instance: Host) -> None:
    before = instance.check_output(f"systemctl show -p InvocationID local-llm@{NAME}")
    arm(instance, armed(instance, boot_id(instance), 4))
    instance.run_expect([0], f"systemctl start local-llm-revert@{NAME}.timer")
    assert current(instance) == NEW
    wait_for("current goes back", lambda: current(instance) == OLD)
    wait_for("armed.json goes", lambda: not instance.file(f"{DIRECTORY}/armed.json").exists)
    timer = f"systemctl is-active local-llm-revert@{NAME}.timer"
    wait_for("the polling ends", lambda: instance.run(timer).rc != 0)
    unit = f"systemctl show -p InvocationID local-llm@{NAME}"
    wait_for("the engine starts again", lambda: instance.check_output(unit) != before)
    wait_for("the engine runs", lambda: instance.run(f"systemctl is-active local-llm@{NAME}").rc == 0)
    assert json.loads(instance.file(f"{DIRECTORY}/state.json").content_string)["state"] == "rolling_back"
    assert "dead_man_reverted" in instance.file(f"{DIRECTORY}/journal.jsonl").content_string


def test_start_after_a_reboot_in_mid_change_starts_the_old_release_only(instance: Host) -> None:
    instance.run_expect([0], f"systemctl stop local-llm@{NAME}")
    for release in (OLD, NEW):
        script = f"#!/bin/sh\\ntouch {release}\\nexec sleep 1000\\n"  # in its working directory, the cache
        instance.run_expect([0], f"printf '{script}' >{DIRECTORY}/releases/{release}/run")
    arm(instance, armed(instance, "another-boot", 600))
    instance.run_expect([0], f"systemctl start local-llm@{NAME}")
    wait_for("the old release runs", lambda: instance.file(f"/var/cache/local-llm/{NAME}/{OLD}").exists)
    assert current(instance) == OLD
    assert not instance.file(f"/var/cache/local-llm/{NAME}/{NEW}").exists


def test_first_release_is_stopped_and_not_started_again(instance: Host) -> None:
    instance.run_expect([0], f"rm {DIRECTORY}/previous")
    arm(instance, armed(instance, boot_id(instance), 0, revert_to=None))
    instance.run_expect([0], f"systemctl start local-llm-revert@{NAME}.timer")
    wait_for("the engine stops", lambda: instance.run(f"systemctl is-active local-llm@{NAME}").rc != 0)
    assert not instance.file(f"{DIRECTORY}/current").exists


def test_a_change_with_time_left_is_left_alone(instance: Host) -> None:
    arm(instance, armed(instance, boot_id(instance), 600))
    instance.run_expect([0], f"systemctl start local-llm-revert@{NAME}.service")
    assert current(instance) == NEW
    assert instance.file(f"{DIRECTORY}/armed.json").exists
