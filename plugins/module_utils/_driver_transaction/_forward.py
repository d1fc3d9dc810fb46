# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The steps forward: downloaded, stopped, installed, loaded, held, committed. Each can be repeated at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _apt as apt
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _changes as changes_of
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _kernel as kernel
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _protect as protection
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction import _units as units
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._host import DriverError, listed
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._record import (
    SETTLED,
    begin,
    digest,
    is_open,
)
from ansible_collections.local_llm.ops.plugins.module_utils._driver_transaction._work import (
    Work,
    free_the_driver,
    only_holds,
    query,
    to_start,
    touched,
    units_of,
)
from ansible_collections.local_llm.ops.plugins.module_utils._findings import failures, finding_line
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._collect_kernel import collect_kernel, read_modules

# What to do about a package file of the cache that is not as it was, while nothing has changed yet.
ADVICE = "Take the transaction back (state rolled_back), then begin anew: the step downloaded brings such files anew."


def same_plan(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two plans want the same of the packages."""
    return all(one.get(key) == other.get(key) for key in ("to", "modules", "install", "remove"))


def take_up(work: Work, identity: str, plan: Mapping[str, Any], was_drained: bool) -> None:
    """Go on with the transaction that is open, or begin one."""
    found = work.transaction
    if found is not None and is_open(found):
        if found["id"] != identity or not same_plan(found["plan"], plan):
            raise DriverError(
                f"Another driver transaction is open here: {found['id']}, from {found['from']} to {found['to']}, "
                f"{found['state']} since {found['updated_at']}. Go on with it under its own id and plan, or take it "
                "back first (state rolled_back)."
            )
        return
    refusals = failures(plan.get("refusals") or [])
    if refusals:
        raise DriverError("The plan refuses: " + " | ".join(finding_line(one) for one in refusals))
    before = kernel.read_versions(work.host).loaded
    work.transaction = begin(identity, plan, before, work.host.boot_id(), was_drained)
    work.seconds.clear()


def refuse_broken(work: Work) -> None:
    """Refuse to begin on a host whose packages are in disorder."""
    broken = changes_of.unfinished(query(work))
    if broken:
        raise DriverError(
            f"dpkg has not finished with {listed(broken)}. Nothing was changed. Mend that first: dpkg --configure -a, "
            "then apt-get --fix-broken install."
        )


def predict(work: Work) -> changes_of.Changes:
    """Return what the transaction will change, without changing anything."""
    old = protection.pinned_files((work.record.transaction() or {}).get("plan"))
    return apt.resolve(work.host, work.plan, protection.pinned_files(work.plan), list(old))


def downloaded(work: Work, identity: str, plan: Mapping[str, Any], was_drained: bool) -> None:
    """Bring the packages of both versions to the host, and write down what there is now."""
    take_up(work, identity, plan, was_drained)
    if work.open_transaction["state"] not in ("planned", "downloaded"):
        return
    if work.open_transaction["state"] == "downloaded" and not work.cache.absent(both_versions(work.changes)):
        return
    refuse_broken(work)
    changes = predict(work)
    with work.timed("download"):
        lost = work.cache.bring(both_versions(changes))
    if lost:
        refuse_lost(changes, lost)
    wanted = changes_of.targets(changes)
    if wanted:
        rehearsed = apt.simulate_files(work.host, wanted, work.cache.files(wanted, "Run the step downloaded again."))
        if rehearsed != changes:
            differing = {name for name in {*rehearsed, *changes} if rehearsed.get(name) != changes.get(name)}
            raise DriverError(
                f"With the cached packages alone apt would do something else about {listed(sorted(differing))}. "
                "Nothing was changed. Run apt-get update and plan anew."
            )
    snapshot = take_snapshot(work, changes)
    work.record.write("snapshot.json", snapshot)
    work.move("downloaded", f"{len(both_versions(changes))} packages in the cache", snapshot_sha256=digest(snapshot))


def both_versions(changes: changes_of.Changes) -> list[tuple[str, str]]:
    """Return (package, version) of everything that the way forward and the way back need."""
    return sorted({(name, version) for name, pair in changes.items() for version in pair if version is not None})


def refuse_lost(changes: changes_of.Changes, lost: list[tuple[str, str]]) -> None:
    """Say which packages nobody has any more."""
    old = [f"{name} {version}" for name, version in lost if changes[name][0] == version]
    new = [f"{name} {version}" for name, version in lost if changes[name][0] != version]
    words = []
    if old:
        words.append(
            f"the way back would be lost: no mirror and no cache of this host has the installed {listed(old)}. Give "
            "the host a repository that has it (a mirror or a snapshot of one), or put the package files into "
            "/var/cache/apt/archives"
        )
    if new:
        words.append(f"no mirror has the new {listed(new)}. Run apt-get update and plan anew")
    raise DriverError(f"Nothing was changed: {'; '.join(words)}.")


def take_snapshot(work: Work, changes: changes_of.Changes) -> dict[str, Any]:
    """Return what the host is like before the transaction."""
    packages, versions = query(work), kernel.read_versions(work.host)
    modules = read_modules(work.host.procfs_root, work.host.run, work.host.system_root)
    names = {*changes, *changes_of.of_driver(packages, versions.loaded, []), *work.plan["hold"]}
    return {
        "schema": 1,
        "transaction_id": work.open_transaction["id"],
        "packages": {name: packages[name] for name in sorted(names) if name in packages},
        "changes": changes_of.to_json(changes),
        "automatic": sorted(apt.automatic(work.host) & set(changes)),
        "cache": work.cache.manifest(),
        "files": protection.read_files(work.host, list(protection.pinned_files(work.plan))),
        "units": units.unit_states(work.host, units_of(work.plan)),
        "kernel_running": versions.running,
        "kernel_newest": versions.newest,
        "loaded_version": versions.loaded,
        "module_on_disk_version": versions.disk,
        "loaded_modules": kernel.loaded_modules(work.host),
        "loaded_flavour": versions.flavour,
        "secure_boot": collect_kernel(modules, work.host.sysfs_root)["secure_boot"],
        "boot_id": work.host.boot_id(),
    }


def stopped(work: Work) -> None:
    """Stop what uses the driver and prove that nobody does."""
    if work.at_least("installed"):
        return
    work.demand("downloaded", "stopped")
    if only_holds(work, work.changes):
        if work.open_transaction["state"] == "downloaded":
            work.move("stopped", "nothing was stopped: the driver stays as it is, only holds change")
        return
    ran = free_the_driver(work)
    if work.open_transaction["state"] == "downloaded":
        work.move("stopped", f"stopped: {', '.join(ran) or 'nothing ran'}; no process holds the driver")
    elif ran:
        work.changed = True


def installed(work: Work) -> None:
    """Change the packages in one transaction, and protect them right after it."""
    if work.at_least("installed"):
        return
    holds = only_holds(work, work.changes)
    work.demand("stopped", *(["downloaded"] if holds else []))
    wanted = changes_of.targets(work.changes)
    files = work.cache.files(wanted, ADVICE)
    if not touched(work):
        # The way back must be whole at the last moment at which nothing has changed.
        work.cache.files(changes_of.targets(changes_of.reverse(work.changes)), ADVICE)
    if not holds:
        free_the_driver(work)
    units.open_window(work.host, work.window_seconds)
    if wanted:
        remember_new(work)
        work.note("the package transaction has begun", "installing")
        protection.write_files(work.host, protection.pinned_files(work.plan))
        with work.timed("packages"):
            apt.apply(work.host, wanted, files)
        # What apt is told by a file it takes for wanted by a person.
        needed = [name for name in new_packages(work) if name not in work.plan["install"]]
        stay = [name for name in work.snapshot["automatic"] if wanted[name] is not None]
        apt.mark_automatic(work.host, [*needed, *stay])
    protect_new(work)
    # Where only holds change nothing is built: what the newest kernel lacks it has lacked before.
    if work.plan.get("to") and not holds:
        work.findings += kernel.check_built(work.host, work.plan["to"])
    work.move("installed", f"{len(wanted)} packages changed", boot_id=work.host.boot_id())


def new_packages(work: Work) -> list[str]:
    """Return the packages that were not there before the transaction."""
    return sorted(name for name, (before, after) in work.changes.items() if before is None and after is not None)


def remember_new(work: Work) -> None:
    """Write down which packages come by this collection, and which of them the plans name: absent removes those."""
    known, new = work.record.read("installed.json") or {}, new_packages(work)
    named = {*known.get("named", []), *(name for name in new if name in work.plan["install"])}
    packages = {*known.get("packages", []), *new}
    work.record.write("installed.json", {"schema": 1, "packages": sorted(packages), "named": sorted(named)})


def protect_new(work: Work) -> list[str]:
    """Hold the driver that is installed now, and write its files. Return the files that changed.

    Also what came as a dependency and is of the driver's families: the next plan would want it held.
    """
    packages = query(work)
    names = changes_of.of_driver(packages, work.plan.get("to"), work.plan["hold"])
    released = [name for name in work.snapshot["packages"] if name not in names]
    return protection.protect(work.host, protection.pinned_files(work.plan), names, released)


def loaded(work: Work) -> None:
    """Put the new driver into the kernel, or say that it takes a reboot."""
    if work.at_least("loaded"):
        return
    work.demand("installed", "reboot_needed")
    version, plan = work.plan["to"], work.plan
    if only_holds(work, work.changes):
        work.move("loaded", f"{version} stays loaded, only holds change")
        return
    work.findings += kernel.check_built(work.host, version)
    why = (plan["reboot_reason"] or "the plan says so") if plan["reboot"] == "needed" else ""
    reason = put_in(work, version, plan["modules"], work.snapshot["loaded_modules"], why)
    if reason:
        ask_for_reboot(work, "reboot_needed", reason)
        return
    kernel.check_loaded(work.host, version, plan["modules"])
    with work.timed("start"):
        units.start(work.host, to_start(plan["start_units"]))
    work.move("loaded", f"{version} is loaded, on the disk and in the library")


def put_in(work: Work, version: str, flavour: str | None, before: list[str], why_reboot: str) -> str | None:
    """Load a driver in place of the one that is loaded. Return why that takes a reboot, None when it is in.

    before: the modules that were loaded before the transaction. why_reboot: why the plan wants a reboot, if it does.
    """
    versions = kernel.read_versions(work.host)
    rebooted = work.host.boot_id() != work.open_transaction["boot_id"]
    if kernel.is_loaded(work.host, version, flavour):
        kernel.load(work.host, before)
        return None
    if versions.running not in versions.disk:
        return f"the running kernel {versions.running} has no modules on the disk any more"
    if why_reboot and not rebooted:
        return why_reboot
    free_the_driver(work)
    with work.timed("unload"):
        problem = kernel.unload(work.host)
    if problem:
        if rebooted:
            raise DriverError(f"Also after a reboot the old driver is in the kernel and stays: {problem}")
        return problem
    with work.timed("load"):
        kernel.load(work.host, before)
    return None


def ask_for_reboot(work: Work, state: str, reason: str) -> None:
    """Write down that only a reboot helps. A second one for the same reason would not help."""
    transaction = work.open_transaction
    asked = transaction["detail"].startswith("a reboot is needed")
    if asked and transaction["state"] == state and transaction["boot_id"] != work.host.boot_id():
        raise DriverError(f"The host was rebooted, and still {reason}. See: journalctl -k -n 50")
    work.reboot_needed = True
    if not asked or transaction["state"] != state:
        work.move(state, f"a reboot is needed: {reason}", boot_id=work.host.boot_id())


def held(work: Work) -> None:
    """Write down that the new driver was found to be good, and prove that it is held."""
    if work.at_least("committed"):
        return
    holds = only_holds(work, work.changes)
    work.demand("loaded", "verified", *(["installed"] if holds else []))
    if not holds:
        kernel.check_loaded(work.host, work.plan["to"], work.plan["modules"])
    before = query(work)
    files = protect_new(work)
    after = query(work)
    if files or [name for name, one in after.items() if one["held"] != before.get(name, one)["held"]]:
        work.changed = True
    if work.open_transaction["state"] != "verified":
        work.move("verified")


def committed(work: Work) -> None:
    """End the transaction: the host's own updates may run again. One that went back is closed.

    The cache keeps the packages that are installed now: the next transaction needs them for its way back.
    """
    found = work.open_transaction
    if found["state"] in SETTLED:
        if not found.get("closed", False):
            work.close()
        return
    work.demand("verified")
    changes = work.changes
    units.close_window(work.host)
    packages = query(work)
    ours = {name for name in {*changes, *work.plan["hold"]} if name in packages}
    keep = [*both_versions(changes), *((name, packages[name]["version"]) for name in ours)]
    work.cache.keep(keep)
    work.move("committed", closed=True)


STEPS: dict[str, Callable[[Work], None]] = {
    "stopped": stopped,
    "installed": installed,
    "loaded": loaded,
    "held": held,
    "committed": committed,
}
