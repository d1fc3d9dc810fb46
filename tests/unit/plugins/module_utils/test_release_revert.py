# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of a release on a host: from an armed change, from a committed one, after the host went by itself."""

from __future__ import annotations

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._release import ReleaseError
from ansible_collections.local_llm.ops.plugins.module_utils._release_ready import Readiness
from ansible_collections.local_llm.ops.plugins.module_utils._release_switch import revert, switch
from ansible_collections.local_llm.ops.tests.unit.plugins.module_utils.release_host import FakeHost, host, serving

__all__ = ["host"]


def test_revert_of_an_armed_change_restores_both_links(host: FakeHost) -> None:
    serving(host, "v1", "v2")
    host.stage("v3")
    switch(host.context(rollout_id="r3"), host.identity("v3"), 600)
    assert host.store.link("previous") == host.identity("v2")
    revert(host.context(), None, False)
    assert (host.store.link("current"), host.store.link("previous")) == (host.identity("v2"), host.identity("v1"))
    assert host.store.armed() is None
    assert (host.state()["state"], host.state()["rollout_id"]) == ("rolling_back", "r3")


def test_revert_twice_does_not_go_back_twice(host: FakeHost) -> None:
    serving(host, "v1", "v2")
    host.stage("v3")
    switch(host.context(), host.identity("v3"), 600)
    revert(host.context(), None, False)
    assert not revert(host.context(), None, False).changed
    assert revert(host.context(), None, True).changed
    assert host.state()["state"] == "rolled_back_verified"
    assert not revert(host.context(), None, True).changed
    assert not revert(host.context(), None, False).changed
    assert host.store.link("current") == host.identity("v2")


def gone_back_by_itself(host: FakeHost) -> None:
    """What the dead-man leaves behind: the links turned, a restart asked for, nothing armed."""
    serving(host, "v1")
    host.stage("v2")
    switch(host.context(), host.identity("v2"), 600)
    host.store.point("current", host.identity("v1"))
    host.store.disarm()
    host.context().record("dead_man_reverted", "rolling_back", "dead-man reverted, not verified yet")


def test_revert_of_what_went_back_by_itself_waits_until_it_is_ready_and_restarts_nothing(host: FakeHost) -> None:
    gone_back_by_itself(host)
    host.calls.clear()
    waited: list[bool] = []
    host.on_wait = lambda: waited.append(True)
    outcome = revert(host.context(), None, False)
    assert (outcome.changed, waited) == (False, [True])
    assert not [call for call in host.calls if "restart" in call]
    assert host.events()[-1] == "dead_man_reverted"


def test_revert_of_what_went_back_by_itself_fails_when_it_does_not_become_ready(host: FakeHost) -> None:
    gone_back_by_itself(host)
    host.readiness = Readiness(False, "not ready after 300.0 s")
    with pytest.raises(ReleaseError, match="not ready after"):
        revert(host.context(), None, False)
    assert host.state()["state"] == "rolling_back"
    assert host.events()[-1] == "revert_failed"


def test_revert_of_a_first_release_stops_the_instance(host: FakeHost) -> None:
    host.stage("v1")
    switch(host.context(), host.identity("v1"), 600)
    revert(host.context(), None, False)
    assert host.store.link("current") is None
    assert not host.active
    assert "systemctl disable --quiet local-llm@chat.service" in host.calls


def test_revert_of_what_was_committed_goes_to_previous_or_to_a_named_release(host: FakeHost) -> None:
    serving(host, "v1", "v2", "v3")
    revert(host.context(), None, False)
    assert (host.store.link("current"), host.store.link("previous")) == (host.identity("v2"), host.identity("v3"))
    revert(host.context(), host.identity("v1"), False)
    assert (host.store.link("current"), host.store.link("previous")) == (host.identity("v1"), host.identity("v2"))


def test_revert_goes_even_to_a_release_whose_files_were_changed(host: FakeHost) -> None:
    serving(host, "v1", "v2")
    (host.directory / "releases" / host.identity("v1") / "environment").write_text("changed")
    outcome = revert(host.context(), None, False)
    assert "was changed after it was staged" in outcome.warnings[0]
    assert host.store.link("current") == host.identity("v1")


def test_revert_without_a_way_back_is_refused(host: FakeHost) -> None:
    serving(host, "v1")
    with pytest.raises(ReleaseError, match="no previous release"):
        revert(host.context(), None, False)


def test_verified_without_a_revert_is_refused(host: FakeHost) -> None:
    serving(host, "v1")
    with pytest.raises(ReleaseError, match="no finished revert"):
        revert(host.context(), None, True)
