# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After state absent nothing of the gateway is left."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    "path",
    [
        "/etc/haproxy",
        "/etc/systemd/system/haproxy.service.d",
        "/etc/systemd/system/local-llm-gateway-lease.path",
        "/etc/systemd/system/local-llm-gateway-lease.service",
        "/usr/local/libexec/local_llm",
        "/usr/sbin/haproxy",
        "/var/lib/haproxy",
        "/var/lib/local_llm",
    ],
)
def test_the_path_is_gone(host: Any, path: str) -> None:
    assert not host.file(path).exists


def test_no_unit_is_left(host: Any) -> None:
    assert host.run("systemctl list-unit-files --no-legend 'local-llm-gateway*' 'haproxy*'").stdout.strip() == ""


def test_nothing_listens_for_clients(host: Any) -> None:
    for port in (8080, 8090, 8405):
        assert not host.socket(f"tcp://{port}").is_listening
