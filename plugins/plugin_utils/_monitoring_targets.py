# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What Prometheus scrapes: from the inventory, and from what every host says that it runs. Controller only.

A target group is what file service discovery reads: {"targets": ["192.0.2.11:9100"], "labels": {"host": "gpu1"}}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import has_metrics

# The jobs of docs/slo_rules.md by their short names, in the order in which they stand in the configuration.
JOBS = {name: f"local_llm_{name}" for name in ("engine", "gateway", "node", "gpu", "prometheus", "alertmanager")}
# What the roles listen on where the inventory says nothing; a unit test holds them against the defaults of the roles.
DEFAULT_PORTS = {
    "node_exporter_port": 9100,
    "gpu_exporter_port": 9836,
    "monitoring_prometheus_port": 9090,
    "monitoring_alertmanager_port": 9093,
}
DEFAULT_GATEWAY_BIND = "127.0.0.1:8405"
UNKNOWN_RELEASE, NO_RELEASE = "unknown", "none"
_LOOPBACK = re.compile(r"127\.[0-9.]+|localhost|::1|\[::1\]")
_ANY = ("", "*", "0.0.0.0", "::", "[::]", "ipv4@", "ipv6@")
# The variables that are read of every host.
_READ = (
    "ansible_host",
    "gateway_metrics_bind",
    "gpu_exporter_listen_address",
    "gpu_exporter_state",
    "host_gpu",
    "local_llm_address",
    "local_llm_instances",
    "monitoring_listen_address",
    "node_exporter_listen_address",
    "node_exporter_state",
    *DEFAULT_PORTS,
)

Group = dict[str, Any]


class TargetsError(ValueError):
    """The fleet cannot be scraped as the inventory says; one line per problem, each with thing, value and fix."""


@dataclass(frozen=True)
class Host:
    """One host of the inventory. releases: answer of llm_release_info by instance, None when it could not be asked."""

    name: str
    variables: Mapping[str, Any]
    releases: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def address(self) -> str:
        """Return the private address, as the gateway finds the host too."""
        return str(self.variables.get("local_llm_address") or self.variables.get("ansible_host") or self.name)

    def place(self, port: str, listen: str, scraper: str, problems: list[str]) -> str:
        """Return where something listens whose port and address are in these variables; report what nobody can read."""
        bound = str(self.variables.get(listen) or "")
        if _LOOPBACK.fullmatch(bound) and self.name != scraper:
            problems.append(
                f"{listen} of {self.name} is {bound}, where {scraper or 'another host'} cannot read it; set it to "
                f"{self.address}, or leave it out"
            )
        address = self.address if bound in _ANY else bound
        return joined(address, int(self.variables.get(port) or DEFAULT_PORTS[port]))


def hosts_of(hostvars: Mapping[str, Any], names: Iterable[str], releases_from: str) -> list[Host]:
    """Return the hosts of these names. releases_from: the variable of a host that holds its answer."""
    found = []
    for name in dict.fromkeys(names):
        known = hostvars[name]
        answer = plain(known.get(releases_from))
        listed = answer.get("instances") if isinstance(answer, dict) else None
        found.append(
            Host(
                str(name),
                {key: plain(known[key]) for key in _READ if key in known},
                {str(one["instance"]): one for one in listed} if isinstance(listed, list) else None,
            )
        )
    return found


def fleet_targets(
    hosts: Sequence[Host],
    groups: Mapping[str, Sequence[str]],
    scraper: str = "",
    before: Mapping[str, Any] | None = None,
) -> dict[str, list[Group]]:
    """Return the target groups of every job, by the short name of the job.

    groups: the host names of gpu_hosts, gateway and monitoring. scraper: the host that asks. before: the target groups
    that are in place, from which a host that cannot be asked keeps its labels. Raises TargetsError.
    """
    problems: list[str] = []
    serving, gateways, watching = (set(groups.get(name) or ()) for name in ("gpu_hosts", "gateway", "monitoring"))
    found: dict[str, list[Group]] = {job: [] for job in JOBS}
    known = _labels_by_place((before or {}).get("engine") or [])
    for host in sorted(hosts, key=lambda one: one.name):
        label = {"host": host.name}

        def add(job: str, port: str, listen: str, host: Host = host, name: str = host.name) -> None:
            found[job].append(_group(host.place(port, listen, scraper, problems), {"host": name}))

        if host.name in serving:
            found["engine"] += _engine_groups(host, known)
            if wants_gpu_exporter(host.variables):
                add("gpu", "gpu_exporter_port", "gpu_exporter_listen_address")
        if host.name in gateways:
            found["gateway"].append(_group(_gateway_place(host, scraper, problems), label))
        if host.name in watching:
            for job in ("prometheus", "alertmanager"):
                add(job, f"monitoring_{job}_port", "monitoring_listen_address")
        if host.name in serving | gateways | watching and host.variables.get("node_exporter_state") != "absent":
            add("node", "node_exporter_port", "node_exporter_listen_address")
    if problems:
        raise TargetsError("\n".join(problems))
    return found


def wants_gpu_exporter(variables: Mapping[str, Any]) -> bool:
    """Tell whether GPUs are declared for a host: some instance may use them, or the host was opened for them."""
    if variables.get("gpu_exporter_state") == "absent":
        return False
    listed = variables.get("local_llm_instances")
    wanted = [one.get("gpus", "all") for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return variables.get("host_gpu") is True or any(gpus not in ("none", []) for gpus in wanted)


def joined(address: str, port: int) -> str:
    """Return address and port as one text; an IPv6 address gets its brackets."""
    return f"[{address}]:{port}" if ":" in address and not address.startswith("[") else f"{address}:{port}"


def _engine_groups(host: Host, known: Mapping[str, Mapping[str, str]]) -> list[Group]:
    found = []
    listed = host.variables.get("local_llm_instances")
    for instance in listed if isinstance(listed, list) else []:
        answer = (host.releases or {}).get(str(instance["name"])) or {}
        running = answer.get("current_description") or {}
        place = joined(host.address, int(running.get("port") or instance["port"]))
        labels = {
            "host": host.name,
            "server": f"{host.name}-{instance['name']}",
            "pool": str(instance["pool"]),
            "engine": str(running.get("engine") or instance["engine"]),
            "model": str(running.get("model") or instance["model"]),
            "release": str(answer.get("current") or NO_RELEASE),
        }
        if host.releases is None:
            kept = known.get(labels["server"])
            labels = {**labels, **kept} if kept else {**labels, "release": UNKNOWN_RELEASE}
        if has_metrics(labels["engine"], str(running.get("engine_version") or instance["engine_version"])):
            found.append(_group(place, labels))
    return found


def _labels_by_place(groups: Iterable[Any]) -> dict[str, dict[str, str]]:
    """Return what was known of an instance before, by its name at the gateway."""
    return {
        one["labels"]["server"]: {
            key: one["labels"][key] for key in ("engine", "model", "release") if key in one["labels"]
        }
        for one in groups
        if isinstance(one, Mapping) and "server" in one.get("labels", {})
    }


def _gateway_place(host: Host, scraper: str, problems: list[str]) -> str:
    bind = str(host.variables.get("gateway_metrics_bind") or DEFAULT_GATEWAY_BIND)
    address, _colon, port = bind.rpartition(":")
    if _LOOPBACK.fullmatch(address) and host.name != scraper:
        problems.append(
            f"gateway_metrics_bind of {host.name} is {bind}, where {scraper or 'another host'} cannot read it; set it "
            f'to "{joined(host.address, int(port or 8405))}" for the group gateway, and run the role gateway first'
        )
    return joined(host.address if address in _ANY else address, int(port or 8405))


def _group(place: str, labels: Mapping[str, str]) -> Group:
    return {"targets": [place], "labels": dict(labels)}
