# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role host leaves on a host."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


def test_service_user_cannot_log_in(host: Host) -> None:
    user = host.user("local-llm")
    assert user.exists
    assert user.shell == "/usr/sbin/nologin"
    assert user.uid < 1000


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/opt/local_llm/engines", 0o755),
        ("/var/lib/local_llm/models", 0o755),
        ("/var/lib/local_llm/instances", 0o755),
        ("/var/lib/local_llm/locks", 0o700),
        ("/usr/local/libexec/local_llm", 0o755),
    ],
)
def test_directories_belong_to_root(host: Host, path: str, mode: int) -> None:
    directory = host.file(path)
    assert directory.is_directory
    assert (directory.user, directory.mode) == ("root", mode)


def test_tools_venv_has_its_packages(host: Host) -> None:
    host.run_expect([0], "/opt/local_llm/tools/bin/python -c 'import pynvml, requests'")


def test_units_hold_what_systemd_expects(host: Host) -> None:
    found = host.run("systemd-analyze verify local-llm@x.service local-llm-revert@x.service local-llm-revert@x.timer")
    # There is no instance x, so what it would run is not there: that is the only complaint allowed.
    lines = [line for line in found.stderr.splitlines() if "local-llm" in line]
    complaints = [line for line in lines if "/instances/x/current/run is not executable" not in line]
    assert not complaints


def test_exposure_of_the_unit_is_at_most_two_and_a_half(host: Host) -> None:
    output = host.check_output("systemd-analyze security --no-pager local-llm@x.service")
    found = re.search(r"Overall exposure level for local-llm@x.service: ([0-9.]+)", output)
    assert found is not None
    assert float(found[1]) <= 2.5


def test_dead_man_script_is_one_the_shell_can_read(host: Host) -> None:
    script = host.file("/usr/local/libexec/local_llm/revert")
    assert (script.user, script.mode) == ("root", 0o755)
    host.run_expect([0], "sh -n /usr/local/libexec/local_llm/revert")


def test_dead_man_of_no_instance_is_quiet(host: Host) -> None:
    host.run_expect([0], "/usr/local/libexec/local_llm/revert no-such-instance")
    assert not host.file("/var/lib/local_llm/instances/no-such-instance").exists
