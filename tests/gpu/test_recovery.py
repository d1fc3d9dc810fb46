# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery ladder: each rung drained before and proven after, and a person where no rung helps."""

from __future__ import annotations

import json
import subprocess

import pytest
from fleet import Client
from gpu_fleet import GpuFleet, with_faults
from remediation_journal import assert_held
from rollouts import HOSTS, gateway_servers
from waiting import wait_for

pytestmark = pytest.mark.usefixtures("restored")
MEND = ("-e", "remediate=true")


def servers(fleet: GpuFleet) -> dict[str, str]:
    """Return the state of each server at the gateway."""
    return {server["server"]: server["admin_state"] for server in gateway_servers(fleet)}


ALL_READY = {f"{host}-chat": "ready" for host in HOSTS}


@pytest.fixture(scope="module")
def remediated(fleet: GpuFleet) -> None:
    """Remediation on gpu2, which does nothing but write down who has the host."""
    fleet.include_role("gpu2", "local_llm.ops.remediation", remediation_agent=False)


@pytest.mark.usefixtures("remediated")
def test_reset_mends_what_a_reset_mends_without_a_failed_request(fleet: GpuFleet, client: Client) -> None:
    fleet.give(gpu2=with_faults("ecc_volatile"))
    done, hosts = fleet.health(*MEND)
    assert done.code == 0, done.output[-6000:]
    assert hosts["gpu2"]["status"] == "healthy", "the last table tells how it is now"
    assert servers(fleet) == ALL_READY
    actions = json.loads(fleet.shell("gpu2", "cat /var/lib/local_llm/health/state.json"))["actions"]
    assert {(action["rung"], action["result"]) for action in actions} == {("reset_gpu", "verified")}
    (reset_at,) = {action["at_seconds"] for action in actions}  # one reset, for every cause that it answers
    assert_held(fleet, "gpu2", reset_at)
    assert hosts["gpu2"]["repair"]["outcome"] == "repaired"
    assert {(one["rung"], one["result"]) for one in hosts["gpu2"]["repairs"]} == {("reset_gpu", "verified")}
    assert "gpu2, this run: repaired" in done.output and ": helped" in done.output
    page = (fleet.health_root / "health.html").read_text(encoding="utf-8")
    assert "reset of the GPU" in page and "this run: repaired" in page
    _again, hosts = fleet.health()
    assert hosts["gpu2"]["repair"] is None and hosts["gpu2"]["repairs"], "a later run still knows of it"
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_healthy_fleet_is_left_alone(fleet: GpuFleet) -> None:
    done, _hosts = fleet.health(*MEND)
    assert (done.code, done.changed) == (0, 0), done.output[-3000:]


def test_check_mode_tells_the_rung_and_changes_nothing(fleet: GpuFleet) -> None:
    fleet.give(gpu2=with_faults("ecc_volatile"))
    done, _hosts = fleet.health(*MEND, "--check")
    assert done.code != 0, "the GPU must still leave service"
    assert "reset" in done.output
    assert servers(fleet) == ALL_READY
    assert fleet.shell("gpu2", "ls /var/lib/local_llm/health 2>/dev/null || true").strip() == ""


def test_warning_alone_starts_no_repair(fleet: GpuFleet) -> None:
    fleet.give(gpu2=with_faults("persistence_off"))
    done, _hosts = fleet.health(*MEND)
    assert done.code == 0, done.output[-3000:]
    assert servers(fleet) == ALL_READY


def test_reboot_waits_for_consent_then_mends(fleet: GpuFleet, client: Client) -> None:
    fleet.give(gpu2=with_faults("gpu_lost"))
    done, _hosts = fleet.health(*MEND)
    assert done.code != 0
    assert "waits_for_consent" in done.output, done.output[-5000:]
    assert servers(fleet) == {**ALL_READY, "gpu2-chat": "drain"}

    # A lab host that reboots is off until the lab boots it again.
    process = fleet.start_playbook("health", *MEND, "-e", "local_llm_reboot_consent=yes")
    wait_for("gpu2 to go down", lambda: not fleet.is_on("gpu2"), 120)
    fleet.lab_command("boot", "gpu2")
    output, _nothing = process.communicate(timeout=400)
    assert process.returncode == 0, output[-6000:]
    assert servers(fleet) == ALL_READY
    traffic = client.finish()
    assert traffic.failed == 0, traffic


def test_what_no_rung_mends_stays_drained_with_evidence_until_a_person_clears_it(
    fleet: GpuFleet, client: Client
) -> None:
    fleet.give(gpu2=with_faults("remap_failed"))
    bundles = fleet.work / "bundles"
    where = ("-e", f"local_llm_bundle_root={bundles}")
    done, _hosts = fleet.health(*MEND, *where)
    assert done.code != 0
    assert "waits_for_person" in done.output, done.output[-5000:]
    assert servers(fleet) == {**ALL_READY, "gpu2-chat": "drain"}
    (bundle,) = sorted(bundles.rglob("*.tar.gz"))[-1:]
    names = subprocess.run(["tar", "-tzf", str(bundle)], check=True, capture_output=True, text=True).stdout
    assert "findings" in names
    assert "nvidia-bug-report" in names

    # The part was replaced: the card is well again, and a person says so.
    fleet.fake_gpu("gpu2", "profile", "hgx_h100_8")
    fleet.ad_hoc("gpu2", "local_llm.ops.gpu_recovery", "state=cleared gpu=all reason='board replaced'")
    done, hosts = fleet.health(*MEND, *where)
    assert done.code == 0, done.output[-6000:]
    assert hosts["gpu2"]["status"] == "healthy"
    assert servers(fleet) == ALL_READY
    traffic = client.finish()
    assert traffic.failed == 0, traffic
