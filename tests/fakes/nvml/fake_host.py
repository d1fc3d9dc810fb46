# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake sysfs root, a fake kernel log and fake driver files of a host with the GPUs of a scenario.

Needs nothing but the standard library: it also runs on a lab host, as the command fake-gpu beside this file.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable
from pathlib import Path

from .scenario_file import Scenario, gpu_address, gpu_count, gpu_value, log_messages

GENERATION_SPEEDS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0", 6: "64.0"}
UNREADABLE = b"\xff" * 256
SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
AER = {
    "correctable": ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF"),
    "fatal": ("Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP", "ECRC"),
    "nonfatal": ("Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP"),
}
AER_TOTALS = {"correctable": "TOTAL_ERR_COR", "fatal": "TOTAL_ERR_FATAL", "nonfatal": "TOTAL_ERR_NONFATAL"}
FAKE_MODULE = "updates/dkms/nvidia.ko"
BOOT_MESSAGES = (
    (0, 5, "Linux version 6.12.48+deb13-amd64 (fake kernel log of a test)"),
    (0, 6, "Command line: BOOT_IMAGE=/boot/vmlinuz-6.12.48+deb13-amd64 root=/dev/sda1 ro quiet"),
    (1_204_113, 6, "pci_bus 0000:00: root bus resource [bus 00-ff]"),
    (9_871_020, 4, "nvidia: module license taints kernel."),
    (9_994_511, 6, "nvidia-nvlink: Nvlink Core is being initialized, major device number 236"),
)


def put(path: Path, content: str | bytes) -> None:
    """Write one file of the fake root, with its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() + b"\n" if isinstance(content, str) else content)


def build_sysfs(scenario: Scenario, root: Path) -> None:
    """Write a sysfs root that fits the scenario, in place of what lies there."""
    made, old = Path(f"{root}.new"), Path(f"{root}.old")
    for leftover in (made, old):
        shutil.rmtree(leftover, ignore_errors=True)
    _write_sysfs(scenario, made)
    if Path(root).exists():
        Path(root).rename(old)
    made.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _write_sysfs(scenario: Scenario, root: Path) -> None:
    for index in range(gpu_count(scenario)):
        _gpu_device(scenario, index, root)
    for key, address in scenario.items():
        if key.startswith("host.nvswitch."):
            _device(root, address, "10de", 0x22A3, "068000", int(address.split(":")[1], 16) >= 0x80, {})
    _device(root, "0000:00:00.0", "8086", 0x09A2, "060000", 0, {})
    _device(root, "0000:02:00.0", "144d", 0xA80A, "010802", 0, {})
    _modules(scenario, root / "module")
    system = root / "devices" / "system"
    for cpu in range(4):
        governor = scenario.get("host.cpu_governor", "performance")
        put(system / "cpu" / f"cpu{cpu}" / "cpufreq" / "scaling_governor", governor)
    put(system / "clocksource/clocksource0/current_clocksource", scenario.get("host.clocksource", "tsc"))
    put(system / "edac/mc/mc0/ce_count", scenario.get("host.edac_corrected", "0"))
    put(system / "edac/mc/mc0/ue_count", scenario.get("host.edac_uncorrected", "0"))
    put(root / "class/dmi/id/sys_vendor", scenario.get("host.sys_vendor", "Fake Systems Inc."))
    put(root / "class/dmi/id/product_name", scenario.get("host.product_name", "Fake GPU Server"))
    secure = b"\x06\x00\x00\x00" + (b"\x01" if scenario.get("host.secure_boot") == "1" else b"\x00")
    put(root / "firmware/efi/efivars" / SECURE_BOOT, secure)


def _gpu_device(scenario: Scenario, index: int, root: Path) -> None:
    def value(key: str, default: str) -> str:
        found = gpu_value(scenario, index, key)
        return default if found is None else found

    address = gpu_address(scenario, index)
    ids, subsystem = int(value("pci.device", "0"), 16), int(value("pci.subsystem", "0"), 16)
    generations = [int(value(f"pcie.generation_{which}", "0")) for which in ("current", "max")]
    readable = value("host.readable", "1") == "1"
    files: dict[str, str | bytes] = {
        "subsystem_vendor": f"0x{subsystem & 0xFFFF:04x}",
        "subsystem_device": f"0x{subsystem >> 16:04x}",
        "current_link_width": value("pcie.width_current", "16") if readable else "63",
        "max_link_width": value("pcie.width_max", "16") if readable else "255",
        "current_link_speed": _speed(generations[0]) if readable else "Unknown",
        "max_link_speed": _speed(generations[1]) if readable else "Unknown",
    }
    for kind, names in AER.items():
        count = int(value(f"host.aer_{kind}", "0"))
        lines = [f"{name} {count if at == 0 else 0}" for at, name in enumerate(names)]
        files[f"aer_dev_{kind}"] = "\n".join([*lines, f"{AER_TOTALS[kind]} {count}"])
    if not readable:
        files["config"] = UNREADABLE
    display = "030000" if value("brand", "") == "5" else "030200"
    node = int(value("host.numa_node", "-1"))
    _device(root, address, "10de", ids >> 16, display, node, files)
    if display == "030000":  # a GeForce has a sound device beside the GPU
        _device(root, f"{address[:-1]}1", "10de", 0x22BA, "040300", node, {})


def _speed(generation: int) -> str:
    return f"{GENERATION_SPEEDS[generation]} GT/s PCIe" if generation in GENERATION_SPEEDS else "Unknown"


def _device(
    root: Path, address: str, vendor: str, device: int, device_class: str, node: int, files: dict[str, str | bytes]
) -> None:
    """Write one PCI device, and the link to it by which it is found, as in a real sysfs."""
    place = root / "devices" / f"pci{address[:7]}" / address
    header = struct.pack("<HHHHB3s", int(vendor, 16), device, 0x0546, 0x0010, 0xA1, bytes.fromhex(device_class)[::-1])
    every: dict[str, str | bytes] = {
        "vendor": f"0x{vendor}",
        "device": f"0x{device:04x}",
        "class": f"0x{device_class}",
        "numa_node": str(node),
        "current_link_width": "2",
        "max_link_width": "2",
        "current_link_speed": "16.0 GT/s PCIe",
        "max_link_speed": "16.0 GT/s PCIe",
        "config": header.ljust(256, b"\0"),
    }
    for name, content in {**every, **files}.items():
        put(place / name, content)
    link = root / "bus" / "pci" / "devices" / address
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path("../../..") / "devices" / place.parent.name / address)


def _modules(scenario: Scenario, place: Path) -> None:
    for name in ("ext4", "nvme"):
        put(place / name / "initstate", "live")
    for name in scenario.get("host.modules", "").split():
        put(place / name / "initstate", "live")
        put(place / name / "refcnt", "0")
    if "host.module_version" in scenario:
        put(place / "nvidia" / "version", scenario["host.module_version"])
    if scenario.get("host.nouveau") == "1":
        put(place / "nouveau" / "initstate", "live")


def build_modules(scenario: Scenario, root: Path, kernel: str) -> None:
    """Write what tells which driver lies on the disk: modules.dep of the kernel that runs and of the next one.

    The files are text that the fake modinfo reads. Only kernels with a fake list of modules are touched.
    """
    place = Path(root) / "lib" / "modules"
    for listing in place.glob("*/modules.dep"):
        if listing.read_text(encoding="utf-8").startswith("# fake"):
            _forget_modules(listing)
    kernels = {kernel: ("signed", scenario.get("host.disk_version"))}
    if "host.next_kernel" in scenario:
        state = scenario.get("host.next_module", "missing")
        version = scenario.get("host.disk_version") if state != "missing" else None
        kernels[scenario["host.next_kernel"]] = (state, version)
    for name, (state, version) in kernels.items():
        listing = place / name / "modules.dep"
        if listing.exists() or scenario.get("profile") == "none":  # a real one stays as it is
            continue
        module = FAKE_MODULE
        put(listing, "# fake\nkernel/fs/ext4/ext4.ko:" + (f"\n{module}:" if version else ""))
        if version:
            fields = [f"version:        {version}", f"license:        {scenario.get('host.module_licence', '')}"]
            fields += [f"vermagic:       {name} SMP preempt mod_unload modversions"]
            fields += ["sig_id:         PKCS#7", "signer:         fake signing key"] if state == "signed" else []
            put(place / name / module, "\n".join([f"filename:       {place / name / module}", *fields]))


def _forget_modules(listing: Path) -> None:
    """Remove what was written for a kernel. The rest, such as its headers, belongs to the host."""
    module = listing.parent / FAKE_MODULE
    listing.unlink()
    module.unlink(missing_ok=True)
    for place in (module.parent, module.parent.parent, listing.parent):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def kmsg_record(number: int, microseconds: int, level: int, message: str) -> str:
    """Return one record in the format of /dev/kmsg; what is not printable is written as \\x and two hex digits."""
    raw = message.encode("utf-8", "surrogateescape")
    text = "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in raw)
    return f"{level},{number},{microseconds},-;{text}\n"


def uptime_seconds() -> float:
    """Return the seconds since this machine was booted."""
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


def build_kmsg(scenario: Scenario, path: Path, since_boot_seconds: float | None = None) -> None:
    """Write a kernel log with the boot of the driver and the messages of the scenario, in place of what lies there."""
    end = int((uptime_seconds() if since_boot_seconds is None else since_boot_seconds) * 1e6)
    messages = [(min(at, end), level, text) for at, level, text in BOOT_MESSAGES]
    version = scenario.get("host.module_version")
    if version:
        loaded = f"NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build"
        messages.append((min(10_120_347, end), 4, loaded))
    messages += [(end, 3, text) for text in log_messages(scenario)]
    records = [kmsg_record(number, *message) for number, message in enumerate(messages)]
    put(Path(path), "".join(records).encode())


def append_kmsg(path: Path, messages: Iterable[str], level: int = 3, since_boot_seconds: float | None = None) -> None:
    """Append messages to a kernel log, numbered on from its last record; in one write, as the kernel does."""
    path = Path(path)
    lines = path.read_bytes().splitlines() if path.exists() else []
    numbers = [int(line.split(b",", 2)[1]) for line in lines[-50:] if line[:1].isdigit() and line.count(b",") >= 3]
    number = numbers[-1] + 1 if numbers else 0
    at = int((uptime_seconds() if since_boot_seconds is None else since_boot_seconds) * 1e6)
    text = "".join(kmsg_record(number + offset, at, level, message) for offset, message in enumerate(messages))
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as handle:
        handle.write(text.encode())


def build_host(scenario: Scenario, sysfs: Path, kmsg: Path, system_root: Path | None, kernel: str) -> None:
    """Write everything of a fake host. system_root: where /lib/modules is written, None for nowhere."""
    build_sysfs(scenario, sysfs)
    build_kmsg(scenario, kmsg)
    if system_root is not None:
        build_modules(scenario, system_root, kernel)


def follow(before: Scenario, after: Scenario, sysfs: Path, kmsg: Path, system_root: Path | None, kernel: str) -> None:
    """Bring a fake host from one scenario to another: the kernel log only grows."""
    known = log_messages(before)
    build_sysfs(after, sysfs)
    append_kmsg(kmsg, log_messages(after)[len(known) :])
    if system_root is not None:
        build_modules(after, system_root, kernel)
