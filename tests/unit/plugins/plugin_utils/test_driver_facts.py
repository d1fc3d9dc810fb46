# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""driver_facts.yml: every row has a source, and a fault in it names the row, the key and the fix."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import in_family
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts import (
    DriverFactsError,
    load_driver_facts,
    row_for,
)
from ansible_collections.local_llm.ops.plugins.plugin_utils._driver_facts_schema import driver_facts_problems

FACTS = load_driver_facts()
ROWS = [
    (row["distributions"][0], version, row["archive"]) for row in FACTS["distributions"] for version in row["versions"]
]


@pytest.mark.parametrize("distribution", ["ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04", "debian 12", "debian 13"])
@pytest.mark.parametrize("archive", ["distribution", "nvidia"])
def test_debian_and_ubuntu_have_a_row_for_both_archives(distribution: str, archive: str) -> None:
    name, version = distribution.split(maxsplit=1)
    row = row_for(FACTS, name, version, archive)
    assert row is not None and row["sets"]


@pytest.mark.parametrize("name", ["rhel", "rocky", "almalinux", "ol", "centos"])
@pytest.mark.parametrize("version", ["8.10", "9", "10.1"])
def test_enterprise_linux_and_its_clones_have_nvidias_archive(name: str, version: str) -> None:
    row = row_for(FACTS, name, version, "nvidia")
    assert row is not None and row["package_manager"] == "dnf"
    own = row_for(FACTS, name, version, "distribution")
    assert own is not None and own["absent"]


@pytest.mark.parametrize(("name", "version"), [("debian", "11"), ("ubuntu", "20.04"), ("rhel", "7"), (None, None)])
def test_what_is_not_known_has_no_row(name: str | None, version: str | None) -> None:
    assert row_for(FACTS, name, version, "nvidia") is None


@pytest.mark.parametrize(
    "row", FACTS["distributions"], ids=[" ".join(map(str, one)) for one in ROWS[: len(FACTS["distributions"])]]
)
def test_every_name_of_a_row_belongs_to_the_drivers_families(row: dict[str, Any]) -> None:
    names = [
        name
        for item in row["sets"]
        for key in ("packages", "optional", "kernel_packages")
        for name in item.get(key, [])
    ]
    names += [name for one in row["extras"].values() for name in one]
    strangers = [
        name for name in names if not in_family(name.format(branch=580, version="580.95.05", kernel="6.8.0-50-generic"))
    ]
    assert strangers == []
    assert row["source"] and row["notes"]


def broken(change: Callable[[dict[str, Any]], Any]) -> list[str]:
    document = copy.deepcopy(FACTS)
    change(document)
    return driver_facts_problems(document)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.update(schema=2), "schema: 2 is not known"),
        (lambda one: one.pop("estimates"), "estimates: it is missing"),
        (lambda one: one["generations"].pop("ada"), "there must be exactly"),
        (
            lambda one: one["generations"]["ada"].update(open_modules="perhaps"),
            "generations.ada: open_modules: 'perhaps'",
        ),
        (lambda one: one["generations"]["ada"].update(last_branch="580"), "no number of a branch"),
        (lambda one: one["generations"]["ada"].update(source=["nvidia_open_blg"]), "Did you mean nvidia_open_blog?"),
        (lambda one: one["distributions"][0].update(source=[]), "Name at least one"),
        (lambda one: one["distributions"][0].pop("notes"), "notes: it is missing"),
        (lambda one: one["distributions"][0].update(pkgs=[]), "pkgs: no such key"),
        (lambda one: one["distributions"][0].update(versions=[24.04]), "Put versions in quotes"),
        (lambda one: one["distributions"][0].update(archive="ppa"), "archive: 'ppa' is none of"),
        (lambda one: one["distributions"][0].update(origins=["canonical"]), "origins: 'canonical'"),
        (lambda one: one["distributions"].append(one["distributions"][0]), "two rows about ubuntu 22.04"),
        (lambda one: one["distributions"][0].update(sets=[]), "the reason why there are none"),
        (lambda one: one["distributions"][0]["sets"][0].update(modules="free"), "sets[0]: modules: 'free'"),
        (lambda one: one["distributions"][0]["sets"][0].update(build="precompiled"), "exactly sets with build"),
        (lambda one: one["distributions"][0]["sets"][0].update(packages=["x-{release}"]), "can be filled in"),
        (lambda one: one["distributions"][0]["sets"][0].update(conflicts=["("]), "no regular expression"),
        (lambda one: one["distributions"][0]["sets"][0].update(branches={"from": 1}), "branches: {'from': 1}"),
        (lambda one: one["distributions"][0]["extras"].pop("nscq"), "extras: nscq: it is missing"),
        (lambda one: one["distributions"][0].update(streams={"open": "x"}), "streams"),
        (lambda one: one["estimates"].update(disk_bytes=0), "disk_bytes: 0 is no number above 0"),
        (lambda one: one["sources"].update(lab={"what": "x"}), "sources.lab"),
    ],
)
def test_a_fault_names_row_key_and_fix(change: Callable[[dict[str, Any]], Any], words: str) -> None:
    problems = broken(change)
    assert any(words in one for one in problems), problems


def test_a_file_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "facts.yml"
    path.write_text("schema: [", encoding="utf-8")
    with pytest.raises(DriverFactsError, match=r"facts\.yml: it cannot be read"):
        load_driver_facts(path)
    path.write_text("schema: 1", encoding="utf-8")
    with pytest.raises(DriverFactsError, match="sources: it is missing"):
        load_driver_facts(path)
