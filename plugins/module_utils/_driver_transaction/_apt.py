# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""apt and dpkg: what is installed, what would change, one transaction without a network, and holds."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver._families import belongs
from ansible_collections.local_llm.ops.plugins.module_utils._driver._locks import lock_holder
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._changes import (
    Changes,
    Packages,
    half_installed,
    missing,
    unfinished,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import (
    DriverError,
    Host,
    listed,
    told,
)

KEEP_SETTINGS = ("--force-confdef", "--force-confold")
# What a change of the driver may do that apt refuses otherwise: plans name exact versions, also of held packages.
INSTALL = ("--yes", "--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages")
PATIENT = ("-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")
# No lists of mirrors: only what is installed and the files given. Nothing is fetched, nothing else moves.
OFFLINE = (
    *("-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=/dev/null"),
    *("-o", "Dir::Etc::Preferences=/dev/null", "-o", "Dir::Etc::PreferencesParts=/dev/null"),
    *("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="),
)
# Needed is what others depend on. What they only recommend or suggest was not there before either.
ONLY_NEEDED = (
    *("-o", "APT::AutoRemove::RecommendsImportant=false"),
    *("-o", "APT::AutoRemove::SuggestsImportant=false"),
)
# Who changes packages holds this one; apt waits for it as long (DPkg::Lock::Timeout).
LOCK = "/var/lib/dpkg/lock-frontend"
LOCK_SECONDS = 300.0
PREFERENCES = "/etc/apt/preferences.d"
_FORMAT = "${binary:Package}\t${Version}\t${db:Status-Status}\t${db:Status-Want}\t${db:Status-Eflag}\n"
_STEP = re.compile(r"^(Inst|Remv|Purg) (\S+)(?: \[([^\]]+)\])?(?: \((\S+) )?", re.M)


def native_architecture(host: Host) -> str:
    """Return what dpkg calls the architecture of this host."""
    return host.must("Asking for the architecture", "dpkg", "--print-architecture").strip()


def query(host: Host) -> Packages:
    """Return every package that dpkg knows of."""
    out = host.must("Listing the packages", "dpkg-query", "--show", f"--showformat={_FORMAT}")
    return parse_query(out, native_architecture(host))


def parse_query(text: str, architecture: str) -> Packages:
    """Return packages from lines of name, version, status, selection and error flag."""
    result: Packages = {}
    for line in text.splitlines():
        name, version, status, want, flag = (*line.split("\t"), "", "", "", "")[:5]
        if not name or status in ("", "not-installed"):
            continue
        result[name.removesuffix(f":{architecture}")] = {
            "version": version,
            "status": status,
            "held": want == "hold",
            "broken": flag not in ("", "ok"),
        }
    return result


def words(wanted: Mapping[str, str | None]) -> list[str]:
    """Return what apt-get install is told: name=version, and name- for a package that goes."""
    return [f"{name}-" if version is None else f"{name}={version}" for name, version in sorted(wanted.items())]


def parse_simulation(text: str) -> Changes:
    """Return the changes that a simulation of apt-get tells."""
    result: Changes = {}
    for verb, name, before, after in _STEP.findall(text):
        known = result.get(name)
        result[name] = (before or (known[0] if known else None), after if verb == "Inst" else None)
    return {name: change for name, change in result.items() if change[0] != change[1]}


@contextmanager
def preferences(host: Host, pins: Mapping[str, str], old_paths: Sequence[str]) -> Iterator[str]:
    """Make a directory of apt preferences as they will be: the host's own, with these pins for the old ones."""
    scratch = tempfile.mkdtemp(prefix="local_llm_driver.")
    try:
        os.chmod(scratch, 0o755)
        source = host.path(PREFERENCES)
        for name in sorted(os.listdir(source)) if os.path.isdir(source) else []:
            path = os.path.join(source, name)
            if os.path.isfile(path) and os.path.join(PREFERENCES, name) not in old_paths:
                shutil.copy(path, os.path.join(scratch, name))
        for path, content in pins.items():
            if os.path.dirname(path) == PREFERENCES:
                _write(os.path.join(scratch, os.path.basename(path)), content)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def resolve(host: Host, plan: Mapping[str, Any], pins: Mapping[str, str], old_paths: Sequence[str]) -> Changes:
    """Return every package that the plan changes, with what its packages need. Refuse when apt would remove others.

    pins: {path: content} of the plan; old_paths: those of the transaction before, which no longer count.
    """
    wanted: dict[str, str | None] = {**plan["install"], **dict.fromkeys(plan["remove"])}
    if not wanted:
        return {}
    with preferences(host, pins, old_paths) as place:
        code, out, err = host.ask(
            *("apt-get", "--simulate", "-o", "Debug::NoLocking=1", "-o", f"Dir::Etc::PreferencesParts={place}"),
            *("--ignore-hold", *INSTALL, "install", *words(wanted)),
        )
    if code != 0:
        raise DriverError(
            f"apt cannot bring these packages together: {listed(words(wanted))}. {told(out, err)} "
            "Run apt-get update and plan anew; when sources are mixed, leave only one of them."
        )
    changes = parse_simulation(out)
    surprising = [name for name, change in changes.items() if change[1] is None and name not in plan["remove"]]
    if surprising:
        raise DriverError(
            f"apt would also remove {listed(surprising)}, which the plan does not name. Nothing was changed. "
            "See what needs them (apt-cache rdepends --installed); name them in the plan or keep the old driver."
        )
    refuse_foreign_holds(changes, plan, query(host))
    return changes


def refuse_foreign_holds(changes: Changes, plan: Mapping[str, Any], packages: Packages) -> None:
    """Refuse to change packages that somebody holds and that are not of the driver."""
    ours = {*plan["install"], *plan["remove"], *plan["hold"]}
    foreign = []
    for name, change in changes.items():
        of_driver = name in ours or any(belongs(name, version, plan["to"]) for version in change if version)
        if packages.get(name, {}).get("held") and not of_driver:
            foreign.append(name)
    if foreign:
        raise DriverError(
            f"The new driver needs other versions of {listed(foreign)}, which somebody holds. Nothing was changed. "
            f"Release them (apt-mark unhold {' '.join(foreign)}), or name a driver that fits."
        )


def download(host: Host, directory: str, wanted: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Download packages into a directory and return those that no mirror has. Their files: see the directory."""
    if not wanted:
        return []
    apt = host.program("apt-get")

    def fetch(some: Sequence[tuple[str, str]]) -> bool:
        given = [f"{name}={version}" for name, version in some]
        code, _out, _err = host.run(
            [host.program("env"), f"--chdir={directory}", apt, "-o", "APT::Sandbox::User=root", "download", *given]
        )
        return code == 0

    if fetch(wanted):
        return []
    return [one for one in wanted if not fetch([one])]


def read_archive(host: Host, path: str) -> tuple[str, str, str] | None:
    """Return (name, version, architecture) of a package file, None when it is no whole one."""
    code, out, _err = host.ask("dpkg-deb", "--show", "--showformat=${Package}\t${Version}\t${Architecture}", path)
    fields = out.strip().split("\t")
    return (fields[0], fields[1], fields[2]) if code == 0 and len(fields) == 3 else None


def simulate_files(host: Host, wanted: Mapping[str, str | None], files: Mapping[str, str]) -> Changes:
    """Return what the transaction with these files would change; an error when it cannot be carried out with them."""
    out = host.must(
        "The rehearsal of the transaction with the cached packages alone",
        *("apt-get", "--simulate", "-o", "Debug::NoLocking=1", *OFFLINE, *INSTALL, "install"),
        *_arguments(wanted, files),
    )
    return parse_simulation(out)


def _arguments(wanted: Mapping[str, str | None], files: Mapping[str, str]) -> list[str]:
    return [f"{name}-" if version is None else files[name] for name, version in sorted(wanted.items())]


def apply(
    host: Host, wanted: Mapping[str, str | None], files: Mapping[str, str], go_on_over_broken: bool = False
) -> None:
    """Bring packages to these versions in one transaction, from files alone, and prove it. Repeat after a power cut.

    go_on_over_broken: on the way back, where whatever package is unfinished is replaced by force.
    """
    if not wanted:
        return
    mend(host)
    if not missing(wanted, query(host)):
        return
    settings = [word for option in KEEP_SETTINGS for word in ("-o", f"Dpkg::Options::={option}")]
    arguments = _arguments(wanted, files)
    code, out, err = host.ask("apt-get", *OFFLINE, *PATIENT, *settings, *INSTALL, "install", *arguments)
    packages = query(host)
    # A package that dpkg calls half-installed stops apt; dpkg itself takes the files all at once. One whose script
    # failed, as a build does, is no such case: its script would only fail once more.
    if code != 0 and (half_installed(packages) or (go_on_over_broken and unfinished(packages))):
        given = [files[name] for name, version in sorted(wanted.items()) if version is not None]
        if given:
            wait_for_dpkg(host)
            _code, more, error = host.ask("dpkg", *KEEP_SETTINGS, "--force-downgrade", "--install", *given)
            code, out_again, err_again = host.ask(
                "apt-get", *OFFLINE, *PATIENT, *settings, *INSTALL, "install", *arguments
            )
            out, err = "\n".join((out, more, out_again)), "\n".join((err, error, err_again))
    wrong = missing(wanted, query(host))
    if wrong or code != 0:
        raise DriverError(
            f"The package transaction did not end well: {listed(wrong) or 'apt failed'}. {told(out, err)}"
        )


def mend(host: Host) -> None:
    """Let dpkg finish what a power cut or a failed script left. What it cannot finish is for the transaction."""
    if unfinished(query(host)) or os.listdir(host.path("/var/lib/dpkg/updates")):
        wait_for_dpkg(host)
        host.ask("dpkg", *KEEP_SETTINGS, "--configure", "--pending")


def wait_for_dpkg(host: Host) -> None:
    """Wait until no other package manager works: dpkg itself does not wait, as apt does."""
    path, deadline = host.path(LOCK), time.monotonic() + LOCK_SECONDS
    while (holder := lock_holder(path)) is not None:
        if time.monotonic() >= deadline:
            raise DriverError(
                f"{path} has been held by {holder} for {LOCK_SECONDS:.0f} s: another package manager works here. "
                f"See who: fuser -v {path}. Wait for it, then run the same step again."
            )
        time.sleep(0.5)  # the pace of looking; the deadline stands above


def purge(host: Host, names: Sequence[str]) -> None:
    """Remove packages with their settings."""
    if names:
        code, out, err = host.ask(
            "apt-get", *OFFLINE, *PATIENT, "--yes", "--allow-change-held-packages", "purge", *sorted(names)
        )
        left = missing(dict.fromkeys(names), query(host))
        if code != 0 or left:
            raise DriverError(f"Removing {listed(names)} failed: {listed(left) or 'apt failed'}. {told(out, err)}")


def forget_settings(host: Host, names: Sequence[str]) -> None:
    """Remove what is left in /etc of packages that are not installed any more."""
    packages = query(host)
    left = [name for name in names if packages.get(name, {}).get("status") == "config-files"]
    if left:
        wait_for_dpkg(host)
        host.must(f"Removing the settings of {listed(left)}", "dpkg", "--purge", *left)


def hold(host: Host, names: Sequence[str]) -> None:
    """Hold packages and prove it."""
    _mark(host, "hold", names, True)


def unhold(host: Host, names: Sequence[str]) -> None:
    """Release packages and prove it."""
    _mark(host, "unhold", names, False)


def _mark(host: Host, verb: str, names: Sequence[str], held: bool) -> None:
    packages = query(host)
    todo = [name for name in names if name in packages and packages[name]["held"] != held]
    if not todo:
        return
    host.must(f"apt-mark {verb}", "apt-mark", verb, *todo)
    packages = query(host)
    wrong = [name for name in todo if packages[name]["held"] != held]
    if wrong:
        raise DriverError(f"apt-mark {verb} did nothing for {listed(wrong)}. Look at: dpkg --get-selections")


def automatic(host: Host) -> set[str]:
    """Return the packages that are there only because others need them."""
    return set(host.must("apt-mark showauto", "apt-mark", "showauto").split())


def mark_automatic(host: Host, names: Sequence[str]) -> None:
    """Say of packages that they are there only because others need them."""
    if names:
        host.must("apt-mark auto", "apt-mark", "auto", *sorted(names))


def no_longer_needed(host: Host, names: Sequence[str]) -> list[str]:
    """Return those of the packages that nothing needs any more."""
    out = host.must(
        "Asking which packages are needed",
        *("apt-get", "--simulate", "-o", "Debug::NoLocking=1", *OFFLINE, *ONLY_NEEDED, "autoremove"),
    )
    return sorted(set(parse_simulation(out)) & set(names))
