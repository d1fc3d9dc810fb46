# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet whose SSH would wait for ever for a host that is cut off is told so before a rollout."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.local_llm.ops.plugins.plugin_utils._ssh_keepalive import keepalive_findings, ssh_effective


def hosts(*arguments: str) -> dict[str, dict[str, str]]:
    return {f"gpu{n}": {"address": f"192.0.2.{n}", "arguments": a} for n, a in enumerate(arguments, start=1)}


def printed(interval: int) -> str:
    return f"user root\nserveraliveinterval {interval}\nserveralivecountmax 3\n"


def test_keepalive_that_is_set_is_not_warned_about() -> None:
    assert keepalive_findings(hosts("-o ServerAliveInterval=5"), lambda words, address: printed(5)) == []


def test_missing_keepalive_is_one_warning_that_names_hosts_and_fix() -> None:
    (item,) = keepalive_findings(hosts("", "-4"), lambda words, address: printed(0))
    assert item["status"] == "warn"
    assert "gpu1, gpu2" in item["subject"]
    assert "ServerAliveInterval=10" in item["action"]


def test_many_hosts_are_counted_and_asked_about_once() -> None:
    asked = []

    def ask(words: list[str], address: str) -> str:
        asked.append(address)
        return printed(0)

    (item,) = keepalive_findings(hosts(*[""] * 12), ask)
    assert "and 7 more" in item["subject"]
    assert asked == ["192.0.2.1"]


@pytest.mark.parametrize("answer", [None, "", "user root\n"])
def test_what_ssh_does_not_tell_is_not_warned_about(answer: str | None) -> None:
    assert keepalive_findings(hosts(""), lambda words, address: answer) == []


def test_arguments_that_cannot_be_read_are_left_to_ansible() -> None:
    assert keepalive_findings(hosts("-o 'Broken"), lambda words, address: printed(0)) == []


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs the program ssh")
def test_real_ssh_tells_what_its_arguments_come_to() -> None:
    arguments = ["-F", "/dev/null"]
    assert "serveraliveinterval 0" in str(ssh_effective(arguments, "192.0.2.1"))
    assert "serveraliveinterval 7" in str(ssh_effective([*arguments, "-o", "ServerAliveInterval=7"], "192.0.2.1"))
