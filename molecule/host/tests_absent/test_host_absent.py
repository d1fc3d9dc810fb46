# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the role host is left on a host that was taken back."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]


@pytest.mark.parametrize(
    "path",
    [
        "/opt/local_llm",
        "/var/lib/local_llm",
        "/var/cache/local-llm",
        "/usr/local/libexec/local_llm",
        "/etc/systemd/system/local-llm@.service",
        "/etc/systemd/system/local-llm@.service.d",
        "/etc/systemd/system/local-llm-revert@.service",
        "/etc/systemd/system/local-llm-revert@.timer",
    ],
)
def test_path_is_gone(host: Host, path: str) -> None:
    assert not host.file(path).exists


def test_user_is_gone(host: Host) -> None:
    assert not host.user("local-llm").exists
    assert not host.group("local-llm").exists


def test_no_unit_is_loaded(host: Host) -> None:
    # systemd may still know the name of a unit that it once ran, as not-found.
    assert host.check_output("systemctl list-units --all --plain --no-legend --state=loaded 'local-llm*'") == ""
