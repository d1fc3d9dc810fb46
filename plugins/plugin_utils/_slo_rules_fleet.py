# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The fleet as the rules see it: pools with their instances, tier and engines. Controller only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.plugin_utils._plain import plain
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo import SloError, Tier, builtin_tiers
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_buckets import own_buckets
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_rules_metrics import EngineMetrics, engine_metrics
from ansible_collections.local_llm.ops.plugins.plugin_utils._slo_verdict import pool_tier

_SLOTS = {"vllm": "max_num_seqs", "llamacpp": "parallel_requests", "ollama": "parallel_requests"}
_NEEDED = ("name", "engine", "engine_version", "model", "pool")
DEFAULT_TIER = "standard"


class RulesError(ValueError):
    """No rules can be made; one line per problem, each with thing, value and fix."""


@dataclass(frozen=True)
class Member:
    """One instance of a pool. slots: requests that it works on at the same time, None when that is not known."""

    host: str
    name: str
    engine: str
    version: str
    model: str
    pool: str
    slots: int | None
    metrics: EngineMetrics

    @property
    def server(self) -> str:
        """Return the name at the gateway, which is also the label `server` of the instance's scrape target."""
        return f"{self.host}-{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of its series, as the scrape configuration sets them; the release is added there."""
        return {
            "host": self.host,
            "server": self.server,
            "pool": self.pool,
            "engine": self.engine,
            "model": self.model,
        }


@dataclass(frozen=True)
class Pool:
    """The instances that answer together. own: the limits that somebody of this site chose, and can change."""

    name: str
    tier_name: str
    tier: Mapping[str, float | None]
    own: frozenset[str]
    members: tuple[Member, ...]
    fixed_shape: bool
    count_overload: bool

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of the pool's series and alerts."""
        return {"pool": self.name, "model": _joined(member.model for member in self.members), "tier": self.tier_name}

    @property
    def backends(self) -> str:
        """Return the selector of the pool's two backends at the gateway."""
        return f'proxy=~"(pool|canary)_{self.name}"'

    def engines(self) -> dict[str, list[Member]]:
        """Return the members by engine."""
        found: dict[str, list[Member]] = {}
        for member in self.members:
            found.setdefault(member.engine, []).append(member)
        return found


def build_fleet(instances: Any, pools: Any, tiers: Any, settings: Mapping[str, Any]) -> list[Pool]:
    """Return the pools of {host: [instance]}. Raises RulesError that names everything that is wrong.

    settings: {pool: {fixed_shape, count_overload}}. count_overload: requests that the gateway sends away because too
    many wait count as failed; by itself only in the tier premium.
    """
    problems: list[str] = []
    members = _members(plain(instances), problems)
    found = []
    for name in sorted({member.pool for member, _tier in members}):
        wanted = sorted({tier for member, tier in members if member.pool == name})
        if len(wanted) > 1:
            problems.append(
                f"pool {name}: its instances have the tiers {' and '.join(wanted)}; give all of them the same slo_tier"
            )
            continue
        overrides = ((plain(pools) or {}).get(name) or {}).get("slo")
        try:
            tier = pool_tier(wanted[0], plain(tiers), name, overrides)
        except SloError as error:
            problems.append(str(error))
            continue
        chosen = settings.get(name) or {}
        found.append(
            Pool(
                name,
                wanted[0],
                tier,
                _own(wanted[0], tier),
                tuple(member for member, _tier in members if member.pool == name),
                bool(chosen.get("fixed_shape", False)),
                bool(chosen.get("count_overload", wanted[0] == "premium")),
            )
        )
    for name in settings:
        if name not in {pool.name for pool in found} and not problems:
            problems.append(f"settings.{name}: no instance serves a pool of that name; take it out or mend the name")
    if problems:
        raise RulesError("\n".join(problems))
    if not found:
        raise RulesError("instances: no host serves anything; give local_llm_instances by host")
    return found


def _members(instances: Any, problems: list[str]) -> list[tuple[Member, str]]:
    if not isinstance(instances, Mapping):
        problems.append(f"instances: is a {type(instances).__name__}; give {{host: local_llm_instances of the host}}")
        return []
    found = []
    for host, listed in sorted(instances.items()):
        for place, instance in enumerate(listed if isinstance(listed, list) else []):
            where = f"instances.{host}[{place}]"
            lacks = [key for key in _NEEDED if not isinstance(instance, Mapping) or not instance.get(key)]
            if lacks:
                problems.append(f"{where}: {', '.join(lacks)} is missing; write it as in local_llm_instances")
                continue
            engine, version = str(instance["engine"]), str(instance["engine_version"])
            metrics = engine_metrics(engine, version)
            if metrics is None:
                problems.append(
                    f"{where}.engine: {engine!r} has no metrics that are known; use vllm, llamacpp or ollama"
                )
                continue
            metrics = _with_own_buckets(metrics, instance.get("config") or {})
            member = Member(
                host, instance["name"], engine, version, instance["model"], instance["pool"], _slots(instance), metrics
            )
            found.append((member, str(instance.get("slo_tier") or DEFAULT_TIER)))
    return found


def _slots(instance: Mapping[str, Any]) -> int | None:
    options = get_engine(str(instance["engine"])).options
    key = _SLOTS[str(instance["engine"])]
    value = (instance.get("config") or {}).get(key, options[key].default)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _with_own_buckets(metrics: EngineMetrics, config: Mapping[str, Any]) -> EngineMetrics:
    """Return the metrics with the buckets that the instance sets for itself on its command line."""
    own = own_buckets(metrics, config.get("extra_arguments") or [])
    return replace(metrics, buckets={**metrics.buckets, **own}) if own else metrics


def _own(tier_name: str, tier: Tier) -> frozenset[str]:
    shipped = builtin_tiers().get(tier_name)
    return frozenset(key for key, value in tier.items() if shipped is None or shipped[key] != value)


def _joined(words: Any) -> str:
    return ",".join(sorted(set(words)))
