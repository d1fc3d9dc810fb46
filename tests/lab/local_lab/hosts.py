# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, boot, end and break single hosts."""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import images, network
from .shell import LabError, run
from .state import Host, Lab

BOOT_SECONDS = 60
SSH_OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


def _directory(lab: Lab, host: Host) -> Path:
    return lab.directory / "hosts" / host.name


def _start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks; 0 when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def is_on(host: Host) -> bool:
    """Tell whether the very process that we started still runs the host."""
    return host.pid > 0 and _start_ticks(host.pid) == host.pid_start_ticks != 0


def _leader(host: Host) -> int:
    """Return the process id of the host's PID 1."""
    children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text(encoding="ascii").split()
    if not is_on(host) or not children:
        raise LabError(f"Host {host.name} is off. Start it: lab.py boot --lab LAB {host.name}")
    return int(children[0])


def _pip_directories() -> list[str]:
    """Return local directories that this machine's pip configuration names, so that hosts can use them too."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read("/etc/pip.conf")
    words = " ".join(value for section in parser.values() for value in section.values()).split()
    words += os.environ.get("PIP_FIND_LINKS", "").split()
    places = {word.removeprefix("file://").removesuffix("/simple") for word in words}
    return sorted(place for place in places if place.startswith("/") and Path(place).is_dir())


def _layers(image: Path) -> str:
    """Return the lower layers of a host: what LOCAL_LLM_LAB_LAYERS names (parted by colons), then the image."""
    wanted = [Path(word) for word in os.environ.get("LOCAL_LLM_LAB_LAYERS", "").split(":") if word]
    for layer in wanted:
        if not layer.is_dir():
            raise LabError(f"LOCAL_LLM_LAB_LAYERS: {layer} is no directory. Make it, or unset the variable.")
    return ":".join(str(layer) for layer in [*wanted, image])


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _furnish(lab: Lab, host: Host, root: Path) -> None:
    """Write what makes a bare root file system this host."""
    _write(root / "etc/hostname", f"{host.name}\n")
    _write(root / "etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{h.address} {h.name}\n" for h in lab.hosts.values()))
    _write(
        root / "etc/systemd/network/10-host0.network",
        f"[Match]\nName=host0\n[Network]\nAddress={host.address}/24\nGateway={lab.gateway_address}\nLinkLocalAddressing=no\n",
    )
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    link = wants / "systemd-networkd.service"
    if not link.is_symlink():
        link.symlink_to("/lib/systemd/system/systemd-networkd.service")
    resolver = Path("/run/systemd/resolve/resolv.conf")
    source = resolver if resolver.exists() else Path("/etc/resolv.conf")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    _write(root / "etc/resolv.conf", source.read_text(encoding="utf-8"))
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        _write(root / "etc/ssl/certs/ca-certificates.crt", bundle.read_text(encoding="utf-8"))
    if Path("/etc/pip.conf").exists():
        _write(root / "etc/pip.conf", Path("/etc/pip.conf").read_text(encoding="utf-8"))
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    _write(root / "root/.ssh/authorized_keys", (lab.directory / "key.pub").read_text(encoding="ascii"), 0o600)
    if not list((root / "etc/ssh").glob("ssh_host_ed25519_key")):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key"))


def mount(lab: Lab, host: Host, say: Callable[[str], None]) -> Path:
    """Lay the host's own disk over the shared image; furnish it the first time. Return the root directory."""
    directory = _directory(lab, host)
    root = directory / "root"
    if os.path.ismount(root):
        return root
    image = images.ensure(host.suite, say)
    for name in ("disk", "work", "root"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={_layers(image)},upperdir={directory / 'disk'},workdir={directory / 'work'}"
    if "LOCAL_LLM_LAB_LAYERS" in os.environ:
        layers += ",redirect_dir=on"  # so that a directory of a layer can be renamed, as on a disk
    run("mount", "-t", "overlay", f"lab-{lab.name}-{host.name}", "-o", layers, str(root))
    _furnish(lab, host, root)
    return root


def boot(lab: Lab, host: Host, say: Callable[[str], None]) -> None:
    """Power the host on. Does nothing when it is on."""
    if is_on(host):
        return
    root = mount(lab, host, say)
    machine = f"{lab.name}-{host.name}"
    command = [
        *("systemd-nspawn", "--quiet", "-D", str(root), f"--machine={machine}", "--boot"),
        *("--register=no", "--keep-unit", f"--network-bridge={lab.bridge}"),
        *("--resolv-conf=off", "--link-journal=no", "--console=read-only"),
    ]
    command += [f"--bind-ro={place}" for place in _pip_directories()]
    if Path("/run/systemd/system").is_dir():
        # Where systemd runs this machine each host needs a control group of its own.
        scope = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit=lab-{machine}", "-p", "Delegate=yes"]
        command = [*scope, *command]
    with open(_directory(lab, host) / "console.log", "ab") as console:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
        )
    host.pid = process.pid
    host.pid_start_ticks = _start_ticks(process.pid)
    lab.save()


def wait_ready(lab: Lab, host: Host) -> None:
    """Wait until the host answers SSH and systemd has finished booting."""
    deadline = time.monotonic() + BOOT_SECONDS
    answer = "no answer"
    while time.monotonic() < deadline:
        if not is_on(host):
            break
        done = run(*ssh(lab, host), "systemctl is-system-running", check=False)
        answer = done.stdout.strip() or done.stderr.strip() or answer
        if done.stdout.strip() in ("running", "degraded"):
            return
        time.sleep(0.2)
    console = (_directory(lab, host) / "console.log").read_text(encoding="utf-8", errors="replace").splitlines()
    raise LabError(
        f"Host {host.name} was not ready after {BOOT_SECONDS} s ({answer}). Its console ends with:\n"
        + "\n".join(console[-10:])
    )


def ssh(lab: Lab, host: Host) -> list[str]:
    """Return the command line that reaches the host."""
    options = (*SSH_OPTIONS, "-o", "ConnectTimeout=3", "-o", "BatchMode=yes")
    return ["ssh", "-i", str(lab.directory / "key"), *options, f"root@{host.address}"]


def _wait_gone(pid: int, ticks: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if _start_ticks(pid) != ticks:
            return True
        time.sleep(0.05)
    return False


def shut_down(lab: Lab, host: Host) -> None:
    """Shut the host down as its power button would; pull the plug when that takes too long."""
    if is_on(host):
        os.kill(host.pid, signal.SIGTERM)
        if not _wait_gone(host.pid, host.pid_start_ticks, 20):
            power_cut(lab, host)
    host.pid = host.pid_start_ticks = 0
    lab.save()


def power_cut(lab: Lab, host: Host) -> None:
    """Pull the plug: every process of the host ends at once, nothing is told."""
    if is_on(host):
        leader = _leader(host)
        ticks = _start_ticks(leader)
        os.kill(host.pid, signal.SIGKILL)
        if _start_ticks(leader) == ticks:
            os.kill(leader, signal.SIGKILL)
        if not _wait_gone(leader, ticks, 10) or not _wait_gone(host.pid, host.pid_start_ticks, 10):
            raise LabError(f"Host {host.name} (process {host.pid}) did not end within 10 s of SIGKILL.")
    host.pid = host.pid_start_ticks = 0
    lab.save()


def set_network(lab: Lab, host: Host, connected: bool) -> None:
    """Cut the host off from the network, or heal it."""
    network.plug(host, _leader(host), connected)


def remove(lab: Lab, host: Host) -> None:
    """End the host and delete its disk."""
    shut_down(lab, host)
    root = _directory(lab, host) / "root"
    if os.path.ismount(root):
        run("umount", "-l", str(root))
    shutil.rmtree(_directory(lab, host))
