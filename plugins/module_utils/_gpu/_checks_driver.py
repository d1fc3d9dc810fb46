# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Checks of the driver: does NVML answer, do its parts have one version, will the next boot still have it."""

from __future__ import annotations

from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._gpu._check import Check, Context, Findings, Snapshot
from ansible_collections.local_llm.ops.plugins.module_utils._gpu._presence import (
    cannot_look,
    driver_not_installed,
    driver_stuck,
    no_gpu_here,
    nouveau_is_the_cause,
    who_reports_silence,
    why_nvml_is_silent,
)

_SUBJECT = "NVIDIA driver"
_RELOAD = (
    "Drain the host and stop everything that uses a GPU. Then load the module anew: "
    "rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia. If rmmod says 'in use', reboot."
)
_REBOOT = "Drain the host and reboot it. If it comes back the same, collect nvidia-bug-report.sh and call the vendor."

# NVML return codes of init with a remedy of their own. The others: reboot.
_INIT_ERRORS = {
    4: ("configure", "NVML may not open the devices. Run the check as root; look at: ls -l /dev/nvidia*"),
    8: ("hardware", "A GPU misses its external power. Shut the host down and look at the power cables of the cards."),
    17: ("configure", "The system blocks the devices (control group or container). Look at: ls -l /dev/nvidia*"),
}


def blocked_names(snapshot: Snapshot) -> str:
    """Return the processes that hang in the driver, for people."""
    return ", ".join(f"{item['name']} ({item['pid']})" for item in snapshot["host"]["blocked_processes"][:5])


def _versions(snapshot: Snapshot) -> str:
    driver = snapshot["driver"]
    libraries = ", ".join(driver["library_versions"]) or "unknown"
    return f"loaded {driver['loaded_version']}, on disk {driver['disk_version']}, library {libraries}"


def _nvml_loadable(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = no_gpu_here(snapshot, context)
    if why:
        return check.skip("NVML", why)
    if snapshot["nvml"]["status"] == "ok":
        return check.ok("NVML", f"driver {snapshot['nvml']['driver_version']}")
    if who_reports_silence(snapshot) != check.name:
        return check.skip("NVML", why_nvml_is_silent(snapshot) or "")
    remedy, observed, action = _init_failure(snapshot)
    if cannot_look(snapshot):
        return [check.warn("NVML", f"the GPUs cannot be looked at: {observed}", "NVML answers", action, remedy)]
    return [check.fail("NVML", observed, "NVML starts and answers", action, remedy)]


def _init_failure(snapshot: Snapshot) -> tuple[str, str, str]:
    """Return remedy, what was seen and what to do for an NVML that does not start."""
    nvml, driver, kernel = snapshot["nvml"], snapshot["driver"], snapshot["kernel"]
    said = nvml["error"] or nvml["status"]
    if nvml["status"] == "missing_package":
        action = (
            "The host may serve on; nothing is known of its GPUs. Run local_llm.ops.site, whose role host puts "
            "nvidia-ml-py into /opt/local_llm/tools. Or name a Python that has it: local_llm_gpu_health: "
            "{nvml_python: ...}."
        )
        return "configure", f"no Python package nvidia-ml-py ({said})", action
    if nvml["status"] == "missing_library":
        version = driver["loaded_version"] or driver["disk_version"]
        what = f"the library packages of driver {version}" if version else "the NVIDIA driver with its libraries"
        action = f"Install {what} (libnvidia-ml.so.1). If it lies in an unusual place, name it: nvml_library_directory."
        return "configure", f"libnvidia-ml.so.1 is not there ({said})", action
    if nvml["status"] == "mismatch":
        return "reboot", f"library and loaded kernel module differ ({_versions(snapshot)})", _RELOAD
    if nvml["status"] != "not_loaded":
        code = nvml["code"]
        if nvml["hung_call"] is not None:
            return (
                "configure",
                said,
                "Look at load and disks: uptime, dmesg. Then check again with more deadline_seconds.",
            )
        if code is None:
            return "configure", said, "The probe itself failed. Run nvidia-smi on the host and read what it says."
        remedy, action = _INIT_ERRORS.get(code, ("reboot", _REBOOT))
        return remedy, f"{said} (code {code})", action
    if driver["loaded_version"] is not None:
        action = "Make the device nodes: nvidia-modprobe -c 0 -u. If that fails, read: journalctl -k -g NVRM"
        return "configure", f"module {driver['loaded_version']} is loaded, but NVML cannot reach it ({said})", action
    if driver["disk_version"] is None:
        action = (
            f"Build the module for kernel {kernel['running']}: dkms autoinstall -k {kernel['running']}, "
            "or install the matching linux-modules-nvidia package. Then: modprobe nvidia"
        )
        return "configure", f"no kernel module nvidia for the running kernel {kernel['running']}", action
    action = "Load it: modprobe nvidia. If that fails, read: journalctl -k -g 'NVRM|nvidia'"
    return "configure", f"the kernel module nvidia {driver['disk_version']} is not loaded ({said})", action


def _nvml_hang(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    nvml = snapshot["nvml"]
    why = no_gpu_here(snapshot, context)
    if not why and not driver_stuck(snapshot):
        why = why_nvml_is_silent(snapshot)
        if not why:
            return check.ok("NVML", f"answered in {nvml['seconds']:g} s")
    if why:
        return check.skip("NVML", why)
    if nvml["status"] == "hung":
        observed = f"no answer after {nvml['seconds']:g} s in {nvml['hung_call'] or 'a call that is not known'}"
    else:
        observed = f"{nvml['error'] or 'NVML fails'} (code {nvml['code']})"
    blocked = blocked_names(snapshot)
    if blocked:
        observed += f"; stuck in the driver: {blocked}"
    action = (
        "Drain the host and reboot it. SIGKILL does not end a process in state D. "
        "If the reboot hangs too, switch the power off and on."
    )
    return [check.fail("NVML", observed, "every call returns", action, "reboot")]


def _driver_lib_match(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    driver = snapshot["driver"]
    loaded, disk, libraries = driver["loaded_version"], driver["disk_version"], driver["library_versions"]
    why = no_gpu_here(snapshot, context)
    if not why and snapshot["nvml"]["status"] == "mismatch":
        why = "NVML names the mismatch itself: see nvml_loadable"
    if not why and loaded is None:
        why = "the kernel module is not loaded, so there is nothing to compare"
    if not why and disk is None and not libraries:
        why = "neither the version of the module on disk nor that of the library could be read"
    if why:
        return check.skip(_SUBJECT, why)
    unlike = bool(libraries) and loaded not in libraries
    if unlike and snapshot["nvml"]["status"] != "ok":
        return [check.fail(_SUBJECT, _versions(snapshot), f"library {loaded}, as loaded", _RELOAD, "reboot")]
    if unlike and (disk is None or disk == loaded):
        # NVML answers, so the library that programs get is right: the one that was found is not in use.
        action = (
            "NVML answers, so another library is in use than the one found here. Take the stray one away: "
            "ldconfig -p | grep libnvidia-ml; ls -l /usr/lib/*/libnvidia-ml.so.*"
        )
        return [check.warn(_SUBJECT, _versions(snapshot), f"library {loaded}, as loaded", action, "configure")]
    if disk is None or disk == loaded:
        return check.ok(_SUBJECT, _versions(snapshot))
    if not libraries or disk in libraries:
        action = f"Drain the host in working hours and reboot it, so that {disk} is loaded at a time of your choice."
        return [check.warn(_SUBJECT, _versions(snapshot), f"module {loaded} on disk, as loaded", action, "reboot")]
    action = (
        f"Do not reboot yet: module {disk} would meet library {', '.join(libraries)} and no GPU would work. "
        "Install module and libraries in one version, then drain and reboot in working hours."
    )
    return [check.warn(_SUBJECT, _versions(snapshot), f"module {loaded} on disk, as loaded", action, "configure")]


def _next_kernel_module(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    kernel = snapshot["kernel"]
    newest, subject = kernel["newest"], f"kernel {kernel['newest']}"
    why = no_gpu_here(snapshot, context)
    if not why and snapshot["driver"]["loaded_version"] is None:
        why = "the driver does not run now either: see nvml_loadable"
    if not why and (newest is None or kernel["newest_has_module"] is None):
        why = "the newest installed kernel or its modules could not be read"
    if why:
        return check.skip("next kernel", why)
    if not kernel["newest_has_module"]:
        action = (
            f"Build it before anybody reboots: dkms autoinstall -k {newest} (needs the headers of that kernel), "
            "or install the matching linux-modules-nvidia package."
        )
        seen = "no kernel module nvidia: the next reboot loses the GPUs"
        return [check.warn(subject, seen, "a module for the newest kernel", action, "configure")]
    if kernel["secure_boot"] and kernel["newest_module_signed"] is None:
        return check.skip(subject, "Secure Boot is on and it could not be read whether the module is signed")
    if kernel["secure_boot"] and not kernel["newest_module_signed"]:
        action = (
            "Install the signed linux-modules-nvidia package, or sign the module with an enrolled key: "
            "mokutil --list-enrolled shows the keys. Do not reboot before."
        )
        seen = "the module is not signed and Secure Boot is on: the next reboot loses the GPUs"
        return [check.warn(subject, seen, "a signed module", action, "configure")]
    return check.ok(subject, "has the kernel module nvidia")


def _nouveau(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    why = no_gpu_here(snapshot, context)
    loaded = snapshot["driver"]["nouveau_loaded"]
    if not why and loaded and driver_not_installed(snapshot):
        why = "no NVIDIA driver is installed yet, which takes nouveau away: see nvml_loadable"
    if why:
        return check.skip("nouveau", why)
    if not loaded:
        return check.ok("nouveau", "not loaded")
    action = (
        "Write 'blacklist nouveau' and 'options nouveau modeset=0' to /etc/modprobe.d/nouveau.conf, "
        "run update-initramfs -u (or dracut -f), drain the host and reboot it."
    )
    if nouveau_is_the_cause(snapshot):
        return [check.fail("nouveau", "loaded, and holds GPUs", "not loaded", action, "configure")]
    seen = "loaded beside the NVIDIA driver: after a reboot it may take the GPUs first"
    return [check.warn("nouveau", seen, "not loaded", action, "configure")]


def _driver_version(check: Check, snapshot: Snapshot, context: Context) -> Findings:
    wanted = context.expected.get("driver_version")
    driver = snapshot["driver"]
    running = driver["loaded_version"] or snapshot["nvml"]["driver_version"]
    why = no_gpu_here(snapshot, context)
    if not why and not wanted:
        why = "no expected.driver_version is given"
    if not why and running is None:
        why = "the driver is not loaded: see nvml_loadable"
    if why:
        return check.skip(_SUBJECT, why)
    if _is_version(running, wanted):
        return check.ok(_SUBJECT, running, wanted)
    if driver["disk_version"] and _is_version(driver["disk_version"], wanted):
        silent = snapshot["nvml"]["status"] == "mismatch"
        where = "nvml_loadable" if silent else "driver_lib_match"
        return check.skip(_SUBJECT, f"{driver['disk_version']} is on disk and not loaded yet: see {where}")
    action = f"Install driver {wanted} in a maintenance window, or correct expected.driver_version in the inventory."
    return [check.warn(_SUBJECT, running, wanted, action, "configure")]


def _is_version(version: str, wanted: Any) -> bool:
    """Return whether a version is the wanted one, or of the wanted branch: 570 is met by 570.133.20."""
    return version == str(wanted) or version.startswith(f"{wanted}.")


CHECKS: tuple[Check, ...] = (
    Check(
        name="nvml_loadable",
        looks_at="NVML starts: package, library, kernel module and their versions",
        source="nvmlInit",
        reference="gpud and nhc treat an error of nvmlInit as an unhealthy host",
        group="gpu_driver",
        run=_nvml_loadable,
    ),
    Check(
        name="nvml_hang",
        looks_at="NVML answers in time and no process hangs in the driver while it fails",
        source="NVML in a child with a deadline, /proc/*/stat",
        reference="gpud blocked_processes; NVSentinel GpuDcgmUnresponsive",
        group="gpu_driver",
        run=_nvml_hang,
    ),
    Check(
        name="driver_lib_match",
        looks_at="loaded module, module on disk and library have one version, also after the next reboot",
        source="/sys/module/nvidia/version, modinfo -F version nvidia, libnvidia-ml.so.*",
        reference="DCGM level 1 (NVML library); the pending mismatch is ours",
        group="gpu_driver",
        run=_driver_lib_match,
    ),
    Check(
        name="next_kernel_module",
        looks_at="the newest installed kernel has a module that it will load",
        source="/lib/modules, /sys/firmware/efi/efivars",
        reference="ours: a module missing for the next kernel is the usual cause of a GPU gone after a reboot",
        group="gpu_driver",
        run=_next_kernel_module,
    ),
    Check(
        name="nouveau",
        looks_at="nouveau does not hold the GPUs",
        source="/sys/module/nouveau",
        reference="k8s-driver-manager unloads nouveau first",
        group="gpu_driver",
        run=_nouveau,
    ),
    Check(
        name="driver_version",
        looks_at="the running driver is the one that the site wants",
        source="/sys/module/nvidia/version, nvmlSystemGetDriverVersion",
        reference="the site's expected.driver_version",
        group="gpu_driver",
        run=_driver_version,
    ),
)
