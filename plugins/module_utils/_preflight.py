# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of a host before a rollout: plain data in, findings out. Nothing is changed and nothing is read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils import _stop_time as stop_time
from ansible_collections.local_llm.ops.plugins.module_utils._findings import finding

SOURCE = "host"
MINIMUM_PYTHON = (3, 9)
# 2026-01-01: a clock before that was never set.
_EARLIEST_CLOCK_SECONDS = 1767225600
_LISTEN = "0A"
_MEMORY_WARN_SHARE = 0.8


@dataclass(frozen=True)
class Listener:
    """A process that listens on a TCP port."""

    port: int
    pid: int | None
    name: str
    # The last part of its control group, such as local-llm@chat.service; empty when it cannot be told.
    unit: str


@dataclass(frozen=True)
class Disk:
    """The file system that holds a directory."""

    path: str
    device: int
    free_bytes: int


@dataclass(frozen=True)
class Need:
    """Something that must still come to the host: bytes under a directory."""

    what: str
    path: str
    bytes: int


def listening_sockets(tables: Iterable[str]) -> dict[int, set[str]]:
    """Return {port: inodes} of the sockets that listen, from the text of /proc/net/tcp and /proc/net/tcp6."""
    found: dict[int, set[str]] = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            columns = line.split()
            if len(columns) > 9 and columns[3] == _LISTEN:
                port = int(columns[1].rpartition(":")[2], 16)
                found.setdefault(port, set()).add(columns[9])
    return found


def unit_name(cgroup_text: str) -> str:
    """Return the last part of a process's control group, from the text of /proc/PID/cgroup."""
    for line in cgroup_text.splitlines():
        number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if number == "0" or controllers == "name=systemd":
            return next((part for part in reversed(path.split("/")) if part.endswith((".service", ".scope"))), "")
    return ""


def check_ports(instances: Sequence[Mapping[str, Any]], listeners: Sequence[Listener]) -> list[dict[str, Any]]:
    """Return a finding for each instance's port: free, its own, or taken by somebody else."""
    findings = []
    for instance in instances:
        port = instance["description"]["port"]
        name = instance["instance"]
        own = f"local-llm@{name}.service"
        others = [one for one in listeners if one.port == port and one.unit != own]
        subject = f"port {port} of instance {name}"
        if not others:
            findings.append(finding("port", "ok", subject, observed="free or its own", source=SOURCE))
            continue
        other = others[0]
        who = (
            "a process that cannot be named (run as root)"
            if other.pid is None
            else f"{other.name}, process {other.pid}"
        )
        where = f" of {other.unit}" if other.unit else ""
        action = f"Stop it (ss -ltnp 'sport = :{port}'), or give {name} another port in local_llm_instances."
        if other.unit.startswith("local-llm@"):
            action = f"It is another instance of this host. Move that one first, or give {name} another port."
        findings.append(
            finding(
                "port",
                "fail",
                subject,
                observed=f"taken by {who}{where}",
                expected="free",
                action=action,
                source=SOURCE,
            )
        )
    return findings


def disk_needs(
    instances: Sequence[Mapping[str, Any]], present: Iterable[str], models_path: str, engines_path: str
) -> list[Need]:
    """Return what must still come to the host. present: the directories of models and engines that are there."""
    there = set(present)
    needs: dict[str, Need] = {}
    for instance in instances:
        one = instance["description"]
        model = model_directory(models_path, one)
        if model not in there:
            what = f"model {one['model']} {one['model_revision']}"
            needs[model] = Need(what, models_path, int(instance.get("model_bytes") or 0))
        engine = engine_directory(engines_path, one)
        if engine not in there:
            what = f"engine {one['engine']} {one['engine_version']}"
            needs[engine] = Need(what, engines_path, int(instance.get("engine_bytes") or 0))
    return list(needs.values())


def model_directory(models_path: str, description: Mapping[str, Any]) -> str:
    """Return where the model of a release lies."""
    return f"{models_path}/{description['model']}/{description['model_revision']}"


def engine_directory(engines_path: str, description: Mapping[str, Any]) -> str:
    """Return where the engine of a release lies."""
    return f"{engines_path}/{description['engine']}/{description['engine_version']}"


def check_disks(needs: Sequence[Need], disks: Sequence[Disk], reserve_bytes: int) -> list[dict[str, Any]]:
    """Return a finding for each file system: does what must come fit, with the reserve left free?"""
    findings = []
    for device in dict.fromkeys(disk.device for disk in disks):
        here = [disk for disk in disks if disk.device == device]
        paths = [disk.path for disk in here]
        coming = [need for need in needs if need.path in paths]
        total = sum(need.bytes for need in coming)
        free = min(disk.free_bytes for disk in here)
        subject = f"disk of {' and '.join(paths)}"
        if total == 0 or total + reserve_bytes <= free:
            observed = f"{size_text(free)} free, {size_text(total)} needed{_not_counted(coming)}"
            findings.append(finding("disk", "ok", subject, observed=observed, source=SOURCE))
            continue
        biggest = max(coming, key=lambda need: need.bytes)
        findings.append(
            finding(
                "disk",
                "fail",
                subject,
                observed=f"{size_text(free)} free{_not_counted(coming)}",
                expected=f"{size_text(total)} for {_names(coming)}, and {size_text(reserve_bytes)} left free",
                action="Free space: local_llm.ops.models shows models that nothing needs, <engine>_absent_versions "
                f"removes old engines. Or take a larger disk, or a smaller {biggest.what}.",
                source=SOURCE,
            )
        )
    return findings


def check_memory(
    instances: Sequence[Mapping[str, Any]], memory_total_bytes: int, has_gpu: bool
) -> list[dict[str, Any]]:
    """Return a finding about models and memory. With a GPU the weights may lie there: a warning only."""
    on_cpu = [one for one in instances if not has_gpu or one["description"].get("gpus") == "none"]
    needed = sum(int(one.get("model_bytes") or 0) for one in instances)
    needed_on_cpu = sum(int(one.get("model_bytes") or 0) for one in on_cpu)
    observed = f"{size_text(memory_total_bytes)}, models of {size_text(needed)}"
    if memory_total_bytes and needed_on_cpu > memory_total_bytes:
        action = "Take a smaller or more strongly quantised model, or a host with more memory."
        expected = f"at least {size_text(needed_on_cpu)}"
        return [finding("memory", "fail", "memory", observed=observed, expected=expected, action=action, source=SOURCE)]
    if memory_total_bytes and needed > memory_total_bytes * _MEMORY_WARN_SHARE:
        action = "The system may run out of memory while a model loads. Watch the first start."
        return [finding("memory", "warn", "memory", observed=observed, action=action, source=SOURCE)]
    return [finding("memory", "ok", "memory", observed=observed, source=SOURCE)]


def check_prepared(missing: Sequence[str]) -> list[dict[str, Any]]:
    """Return one finding: did the role host prepare this host? missing: what is not there."""
    if not missing:
        return [finding("prepared", "ok", "host", observed="prepared", source=SOURCE)]
    action = "Run local_llm.ops.site on this host first; it prepares the host with the role host."
    return [
        finding(
            "prepared",
            "fail",
            "host",
            observed=f"missing: {', '.join(missing)}",
            expected="what the role host installs",
            action=action,
            source=SOURCE,
        )
    ]


def check_stop_time(instances: Sequence[Mapping[str, Any]], unit: str) -> list[dict[str, Any]]:
    """Return a finding for each instance that the unit of this host would kill while it finishes requests."""
    has = stop_time.unit_stop_seconds(unit)
    findings = []
    for instance in instances:
        needed = stop_time.needed_seconds(instance["description"].get("config") or {})
        if has is None or needed is None or has >= needed:
            continue
        findings.append(
            finding(
                "stop_time",
                "fail",
                f"instance {instance['instance']}",
                observed=f"the unit of this host is killed after {has} s",
                expected=stop_time.expected(needed),
                action=f"Set {stop_time.VARIABLE} and run local_llm.ops.site, which writes the unit.",
                source=SOURCE,
            )
        )
    return findings


def check_keys(keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a finding for each instance that has a key for clients. keys: the file of each such instance."""
    return [
        finding(
            "instance_key",
            "fail",
            f"instance {name}",
            observed=f"{path} is there, a key that clients of the engine must send",
            expected="none: neither the gateway nor the measurements of a rollout send a key to an engine",
            action="Remove the file. Keys of clients belong to the gateway: gateway_api_keys. Who may reach the engine "
            "itself is set with host_allowed_networks.",
            source=SOURCE,
        )
        for name, path in keys.items()
    ]


def check_system(has_systemd: bool, python_version: Sequence[int]) -> list[dict[str, Any]]:
    """Return findings about systemd and Python."""
    version = ".".join(str(part) for part in python_version[:3])
    needed = ".".join(str(part) for part in MINIMUM_PYTHON)
    old = tuple(python_version[:2]) < MINIMUM_PYTHON
    return [
        finding("systemd", "ok", "systemd", observed="runs", source=SOURCE)
        if has_systemd
        else finding(
            "systemd",
            "fail",
            "systemd",
            observed="not the service manager of this host",
            expected="systemd as the service manager",
            action="Boot the host with systemd; instances and the dead-man are systemd units.",
            source=SOURCE,
        ),
        finding("python", "ok", "python", observed=version, source=SOURCE)
        if not old
        else finding(
            "python",
            "fail",
            "python",
            observed=version,
            expected=f"{needed} or newer",
            action=f"Install Python {needed} or newer and set ansible_python_interpreter for the host.",
            source=SOURCE,
        ),
    ]


def check_clock(
    now_seconds: float, synchronised: bool | None, controller_seconds: float | None, max_skew_seconds: float
) -> list[dict[str, Any]]:
    """Return findings about the clock. synchronised is None when the host cannot tell."""
    action = "Set the clock right: install and start chrony or systemd-timesyncd."
    if now_seconds < _EARLIEST_CLOCK_SECONDS:
        expected = "a date of 2026 or later"
        observed = f"{now_seconds:.0f} s since 1970"
        return [finding("clock", "fail", "clock", observed=observed, expected=expected, action=action, source=SOURCE)]
    if controller_seconds is not None and abs(now_seconds - controller_seconds) > max_skew_seconds:
        observed = f"{now_seconds - controller_seconds:+.0f} s against the controller"
        expected = f"within {max_skew_seconds:g} s"
        return [finding("clock", "warn", "clock", observed=observed, expected=expected, action=action, source=SOURCE)]
    if synchronised is False:
        observed = "not synchronised"
        return [
            finding("clock", "warn", "clock", observed=observed, expected="synchronised", action=action, source=SOURCE)
        ]
    observed = "synchronised" if synchronised else "set, synchronisation unknown"
    return [finding("clock", "ok", "clock", observed=observed, source=SOURCE)]


def size_text(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _names(needs: Sequence[Need]) -> str:
    return ", ".join(f"{need.what} ({size_text(need.bytes)})" for need in needs if need.bytes)


def _not_counted(needs: Sequence[Need]) -> str:
    """Return what must come in a size that the controller does not know: it is looked at when it comes."""
    unknown = ", ".join(need.what for need in needs if not need.bytes)
    return f"; not counted, its size is not known yet: {unknown}" if unknown else ""
