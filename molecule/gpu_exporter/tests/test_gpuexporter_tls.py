# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS and a password; and a host without a driver says so."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]

READ = """python3 - <<'EOF'
import base64, json, ssl, urllib.error, urllib.request
s = json.load(open("/etc/local_llm/gpu_exporter/settings.json"))
c = ssl.create_default_context(cafile="/etc/local_llm/gpu_exporter/tls_certificate"); c.check_hostname = False
def ask(user):
    q = urllib.request.Request("https://%s:%s/metrics" % (s["listen_address"], s["port"]))
    if user:
        q.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        return urllib.request.urlopen(q, timeout=10, context=c).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)
print(ask(""), ask("prometheus:wrong"), ask("prometheus:only-of-this-scenario"))
EOF"""


@pytest.fixture(autouse=True)
def only_where_it_is(host: Host) -> None:
    if host.backend.get_hostname() != "gpu2":
        pytest.skip("gpu2 has TLS and a password")


def test_only_who_knows_the_password_reads_it_and_over_tls(host: Host) -> None:
    first, second, metrics = host.check_output(READ).split(maxsplit=2)
    assert (first, second) == ("401", "401")
    assert 'local_llm_gpu_driver_problem{problem="missing_library"} 1.0' in metrics
    assert "local_llm_gpu_scrape_success_timestamp_seconds 0.0" in metrics
    assert "kernel_log_readable" not in metrics


def test_secrets_are_for_root_alone(host: Host) -> None:
    for name in ("tls_key", "tls_certificate", "users"):
        file = host.file(f"/etc/local_llm/gpu_exporter/{name}")
        assert (file.user, file.mode) == ("root", 0o600)
    assert "only-of-this-scenario" not in host.check_output("grep -r . /etc/local_llm")
