# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""The keys of driver_facts and driver_plan, all always present; docs/reference_contracts.md says what they mean."""

from __future__ import annotations

SCHEMA = 1

# gpu_driver_info writes them, gpu_driver_plan reads them. What is unknown is null.
FACTS_KEYS = (
    "schema", "distribution", "distribution_version", "architecture", "package_manager", "kernel_running",
    "kernel_newest", "kernels", "packages", "available", "sources", "broken_packages", "loaded_version",
    "loaded_flavour", "module_on_disk_version", "library_version", "dkms", "secure_boot", "mok_enrolled", "gpus",
    "nvswitch_count", "holders", "services", "locks_held", "disk_free_bytes", "unattended_upgrades", "transaction",
)  # fmt: skip
PACKAGE_KEYS = ("version", "status", "held", "origin")
AVAILABLE_KEYS = ("version", "origin")
KERNEL_KEYS = ("release", "headers")
DKMS_KEYS = ("module", "version", "kernel", "status")
GPU_KEYS = ("address", "device_id", "generation")
HOLDER_KEYS = ("pid", "command", "unit", "device")
SERVICES = ("nvidia-persistenced", "nvidia-fabricmanager", "nvidia-dcgm")
SERVICE_STATES = ("active", "inactive", "absent")

PACKAGE_MANAGERS = ("apt", "dnf", "none")
# Where a package comes from. local: installed, and no source of the host has it. A mirror keeps the name of what it
# mirrors when the site says so (option mirrors of gpu_driver_info).
ORIGINS = ("debian", "ubuntu", "rhel", "nvidia", "local", "unknown")
SECURE_BOOT = ("on", "off", "unknown")
FLAVOURS = ("open", "proprietary")
GENERATIONS = ("maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "grace_hopper", "blackwell")

# gpu_driver_plan writes them, gpu_driver works by them.
PLAN_KEYS = (
    "schema", "changes", "from", "to", "modules", "modules_reason", "install", "remove", "downgrade", "hold", "pin",
    "reboot", "reboot_reason", "stop_units", "start_units", "downtime_seconds", "refusals", "warnings",
)  # fmt: skip
PIN_KEYS = ("path", "content")
DOWNTIME_KEYS = ("expected", "why")
REBOOTS = ("not_needed", "needed", "maybe")

# What a site wants; the role nvidia_driver fills it from its variables.
WANTED_KEYS = ("version", "source", "modules", "extras", "reboot")
EXTRAS_KEYS = ("fabric_manager", "persistenced", "container_toolkit")
SOURCES = ("distribution", "nvidia", "none")
MODULES = ("auto", "open", "proprietary")
SWITCHES = ("auto", "yes", "no")
REBOOT_CONSENTS = ("yes", "no", "ask")
