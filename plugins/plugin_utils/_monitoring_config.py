# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The configurations of Prometheus and Alertmanager as plain documents. Controller only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_scale import duration_of
from ansible_collections.local_llm.ops.plugins.plugin_utils._monitoring_targets import JOBS
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules import RULE_FILE
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_alerts import alert_data

HOST_DOWN = "LocalLlmHostDown"
# Where alerts go when the inventory names no receiver: they are seen in Alertmanager, and nobody is told.
NOBODY = "nobody"
SCALE_LABEL = "local_llm_time_scale"
_ACCESS = ("scheme", "ca", "server_name", "skip_verify", "username", "password", "bearer_token")


class ConfigError(ValueError):
    """A setting cannot be used; one line per problem, each with thing, value and fix."""


def check_access(access: Any) -> dict[str, dict[str, Any]]:
    """Return how jobs are scraped, by the short name of the job. Raises ConfigError; never shows a secret."""
    problems = []
    if not isinstance(access, Mapping):
        raise ConfigError(f"monitoring_access is a {type(access).__name__}; write a mapping such as {{node: {{...}}}}")
    for job, given in access.items():
        where = f"monitoring_access.{job}"
        if job not in JOBS:
            problems.append(f"{where}: there is no such job; use one of {', '.join(JOBS)}")
        elif not isinstance(given, Mapping):
            problems.append(f"{where}: is a {type(given).__name__}; write a mapping with {', '.join(_ACCESS)}")
        else:
            problems += _access_problems(where, given)
    if problems:
        raise ConfigError("\n".join(problems))
    return {str(job): dict(given) for job, given in access.items()}


def whole_access(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return how every job is scraped. Raises ConfigError.

    settings: access, and own_access, which holds for Prometheus and Alertmanager where access says nothing of them.
    """
    own = settings.get("own_access") or {}
    both = dict.fromkeys(("prometheus", "alertmanager"), own) if own else {}
    return {**check_access(both), **check_access(settings.get("access") or {})}


def _access_problems(where: str, given: Mapping[str, Any]) -> list[str]:
    found = [f"{where}.{key}: is not known; use {', '.join(_ACCESS)}" for key in given if key not in _ACCESS]
    if given.get("scheme", "http") not in ("http", "https"):
        found.append(f"{where}.scheme: {given['scheme']!r} is not known; use http or https")
    if bool(given.get("username")) != bool(given.get("password")):
        found.append(f"{where}: username and password belong together, and one is missing; give both or none")
    if given.get("password") and given.get("bearer_token"):
        found.append(f"{where}: has a password and a bearer_token; an exporter asks for one of them")
    if given.get("scheme", "http") == "http":
        found += [
            f"{where}.{key}: is of no use with scheme http; set scheme to https"
            for key in ("ca", "server_name", "skip_verify")
            if given.get(key)
        ]
    return found


def access_files(access: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the files with what scrapes need, by name: passwords, tokens, certificates."""
    found = {}
    for job, given in access.items():
        for key, suffix in (("password", "password"), ("bearer_token", "token"), ("ca", "ca")):
            if given.get(key):
                # A new line at the end would be part of a password.
                found[f"{JOBS[job]}.{suffix}"] = str(given[key]).strip() + ("\n" if key == "ca" else "")
    return found


def scrape_configs(
    access: Mapping[str, Mapping[str, Any]], directory: str = "", extra: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """Return one scrape configuration per job. directory: where targets/ and secrets/ lie."""
    base = f"{directory.rstrip('/')}/" if directory else ""
    found = []
    for short, job in JOBS.items():
        one: dict[str, Any] = {"job_name": job, "file_sd_configs": [{"files": [f"{base}targets/{job}.json"]}]}
        found.append({**one, **_client(access.get(short, {}), f"{base}secrets/{job}")})
    return found + list(extra)


def _client(given: Mapping[str, Any], files: str) -> dict[str, Any]:
    """Return how Prometheus reaches something, in its own words. files: what the names of the secrets begin with."""
    one: dict[str, Any] = {}
    if given.get("scheme", "http") != "http":
        one["scheme"] = given["scheme"]
        tls: dict[str, Any] = {}
        if given.get("ca"):
            tls["ca_file"] = f"{files}.ca"
        if given.get("server_name"):
            tls["server_name"] = str(given["server_name"])
        if given.get("skip_verify"):
            tls["insecure_skip_verify"] = True
        if tls:
            one["tls_config"] = tls
    if given.get("username"):
        one["basic_auth"] = {"username": str(given["username"]), "password_file": f"{files}.password"}
    if given.get("bearer_token"):
        one["authorization"] = {"credentials_file": f"{files}.token"}
    return one


def prometheus_config(settings: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Return the configuration of Prometheus, for files that lie in this directory.

    settings: scrape_interval_seconds, scrape_timeout_seconds, evaluation_interval_seconds, external_labels,
    alertmanager (address and port), access, own_access, extra_scrape_configs, time_scale.
    """
    interval, timeout = float(settings["scrape_interval_seconds"]), float(settings["scrape_timeout_seconds"])
    if timeout > interval:
        raise ConfigError(
            f"monitoring_scrape_timeout_seconds is {timeout:g}, longer than monitoring_scrape_interval_seconds "
            f"({interval:g}); set it to {interval:g} or less"
        )
    labels = {str(name): str(value) for name, value in (settings.get("external_labels") or {}).items()}
    scale = float(settings.get("time_scale") or 1)
    if scale != 1:
        labels[SCALE_LABEL] = f"{scale:g}"
    overall: dict[str, Any] = {
        "scrape_interval": duration_of(interval),
        "scrape_timeout": duration_of(timeout),
        "evaluation_interval": duration_of(float(settings["evaluation_interval_seconds"])),
    }
    if labels:
        overall["external_labels"] = labels
    access = whole_access(settings)
    told = {"static_configs": [{"targets": [str(settings["alertmanager"])]}]}
    own = _client(access.get("alertmanager", {}), f"{directory.rstrip('/')}/secrets/{JOBS['alertmanager']}")
    return {
        "global": overall,
        "rule_files": [f"{directory}/rules/{RULE_FILE}"],
        "alerting": {"alertmanagers": [{**own, **told}]},
        "scrape_configs": scrape_configs(access, directory, settings.get("extra_scrape_configs") or ()),
    }


def alertmanager_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of Alertmanager.

    settings: global, receivers, receiver, routes, group_by, group_wait_seconds, group_interval_seconds,
    repeat_interval_seconds, inhibit_rules.
    """
    receivers = list(settings.get("receivers") or []) or [{"name": NOBODY}]
    names = [str(one.get("name")) if isinstance(one, Mapping) else "" for one in receivers]
    chosen = str(settings.get("receiver") or names[0])
    if chosen not in names:
        raise ConfigError(
            f"monitoring_receiver is {chosen!r}, which monitoring_receivers does not have; "
            f"use one of {', '.join(names)}"
        )
    route: dict[str, Any] = {
        "receiver": chosen,
        "group_by": [str(label) for label in settings["group_by"]],
        "group_wait": duration_of(float(settings["group_wait_seconds"])),
        "group_interval": duration_of(float(settings["group_interval_seconds"])),
        "repeat_interval": duration_of(float(settings["repeat_interval_seconds"])),
    }
    if settings.get("routes"):
        route["routes"] = list(settings["routes"])
    found: dict[str, Any] = {"global": dict(settings["global"])} if settings.get("global") else {}
    found["route"] = route
    found["receivers"] = receivers
    found["inhibit_rules"] = inhibit_rules() + list(settings.get("inhibit_rules") or [])
    return found


def inhibit_rules() -> list[dict[str, Any]]:
    """Return which alerts are not told because another one tells more."""
    data = alert_data()
    of_a_host = [
        str(entry["alert"])
        for group in ("host", "gpu", "engine")
        for entry in data[group]
        if entry["scope"] == "fleet" and entry["alert"] != HOST_DOWN
    ]
    return [
        {
            "source_matchers": [f'alertname="{HOST_DOWN}"'],
            "target_matchers": [f'alertname=~"{"|".join(of_a_host)}"'],
            "equal": ["host"],
        },
        {
            "source_matchers": ['alertname=~"LocalLlm.+BudgetBurnsFast"'],
            "target_matchers": ['alertname=~"LocalLlm.+BudgetBurnsSlowly"'],
            "equal": ["pool", "slo"],
        },
        {
            "source_matchers": ['alertname="LocalLlmGpuVeryHot"'],
            "target_matchers": ['alertname="LocalLlmGpuHot"'],
            "equal": ["host", "gpu"],
        },
    ]
