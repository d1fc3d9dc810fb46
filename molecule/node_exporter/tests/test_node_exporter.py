# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role node_exporter leaves on a host."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://gpu_hosts"]
UNIT = "prometheus-node-exporter.service"
WEB = "/etc/prometheus/node_exporter/web.yml"
ASK = (
    "python3 -c 'import base64,ssl,sys,urllib.request as u;"
    "c=ssl._create_unverified_context();r=u.Request(sys.argv[1]);"
    'len(sys.argv)>2 and r.add_header("Authorization","Basic "+base64.b64encode(sys.argv[2].encode()).decode());'
    "print(u.urlopen(r,context=c,timeout=10).read().decode())'"
)


def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


def name(host: Host) -> str:
    return str(host.ansible.get_variables()["inventory_hostname"])


def metrics(host: Host) -> str:
    if name(host) == "gpu1":
        return host.check_output(f"{ASK} https://{address(host)}:9100/metrics 'prometheus:correct horse'")
    return host.check_output(f"{ASK} http://{address(host)}:9100/metrics")


def test_it_listens_on_the_private_address_and_on_no_other(host: Host) -> None:
    assert host.socket(f"tcp://{address(host)}:9100").is_listening
    for other in ("0.0.0.0", "127.0.0.1", "::"):
        assert not host.socket(f"tcp://{other}:9100").is_listening


def test_it_never_listened_with_the_settings_of_the_package(host: Host) -> None:
    if name(host) == "gpu3":
        pytest.skip("here the package was installed before the role came")
    log = host.check_output(f"journalctl --unit {UNIT} --output cat --no-pager")
    listened = [line for line in log.splitlines() if "Listening on" in line]
    assert listened
    assert all(f"{address(host)}:9100" in line for line in listened), listened


def test_it_runs_now_and_at_boot(host: Host) -> None:
    service = host.service("prometheus-node-exporter")
    assert service.is_running
    assert service.is_enabled


def test_it_sees_the_file_systems_that_the_host_has(host: Host) -> None:
    process = host.check_output(f"systemctl show -p MainPID --value {UNIT}")
    assert host.check_output(f"readlink /proc/{process}/ns/mnt") == host.check_output("readlink /proc/1/ns/mnt")


def test_a_textfile_is_told(host: Host) -> None:
    directory = "/var/lib/prometheus/node-exporter"
    host.run_expect(
        [0], f"echo 'scenario_textfile 7' >{directory}/x.tmp && mv {directory}/x.tmp {directory}/scenario.prom"
    )
    assert "scenario_textfile 7" in metrics(host)


def test_what_other_programs_tell_is_told_further(host: Host) -> None:
    if name(host) != "gpu3":
        pytest.skip("no other program tells anything here")
    assert "scenario_foreign 1" in metrics(host)


def test_nobody_reads_it_without_the_password(host: Host) -> None:
    if name(host) != "gpu1":
        pytest.skip("this host lets everybody on the network in")
    refused = host.run(f"{ASK} https://{address(host)}:9100/metrics")
    assert refused.rc != 0
    assert "401" in refused.stderr
    wrong = host.run(f"{ASK} https://{address(host)}:9100/metrics prometheus:wrong")
    assert "401" in wrong.stderr


def test_secrets_are_in_files_that_others_cannot_read_and_in_no_command_line(host: Host) -> None:
    assert host.file(WEB).mode == 0o640
    assert host.file(WEB).user == "root"
    if name(host) == "gpu1":
        assert host.file("/etc/prometheus/node_exporter/tls.key").mode == 0o640
        assert "$2b$" in host.file(WEB).content_string
    assert "$2b$" not in host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_the_version_from_an_archive_has_its_digest_in_its_path(host: Host) -> None:
    if name(host) != "gpu2":
        pytest.skip("this host has the package")
    process = host.check_output(f"systemctl show -p ExecStart --value {UNIT}")
    assert "/opt/local_llm/exporters/node_exporter/0.0.0-scenario-" in process
    assert host.check_output(f"systemctl show -p User --value {UNIT}") == "node-exporter"
