# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""Copy the engine's own files out of installed Debian packages, so that a later apt upgrade does not touch a release.

llama.cpp's libraries go to lib/, its programs and loadable backends to libexec/. The engine looks for backends in the
directory of the running program. System libraries (C library, TLS) stay the host's and get its security updates.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from typing import Any

from ansible_collections.local_llm.ops.plugins.module_utils._published_tree import TreeError

RunCommand = Callable[..., tuple[int, str, str]]
_QUERY = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Depends}\n"
_ENGINE_LIBRARY = re.compile(r"lib(llama|ggml|mtmd)[a-z0-9.-]*")
_BACKEND_PACKAGE = re.compile(r"libggml\d*-backend-.+")
_PROGRAM = re.compile(r"/usr/bin/(llama-[a-z0-9-]+)")
_LIBRARY = re.compile(r"/usr/lib/.*/([^/]+\.so(\.[0-9.]+)?)")


def parse_packages(text: str) -> dict[str, tuple[str, list[str]]]:
    """Return {name: (version, names it depends on)} of the packages that are fully installed."""
    packages = {}
    for line in text.splitlines():
        state, name, version, depends = [*line.split("\t"), "", "", ""][:4]
        if state[:2] == "ii":
            needs = [re.split(r"[ (:]", part.strip(), maxsplit=1)[0] for part in re.split(r"[,|]", depends)]
            packages[name] = (version, [need for need in needs if need])
    return packages


def engine_packages(package: str, installed: dict[str, tuple[str, list[str]]]) -> dict[str, str]:
    """Return {name: version} of a package, the engine libraries it needs, and the loadable backends on this host."""
    found: dict[str, str] = {}
    waiting = [package, *sorted(name for name in installed if _BACKEND_PACKAGE.fullmatch(name))]
    while waiting:
        name = waiting.pop()
        if name in found or name not in installed:
            continue
        version, needs = installed[name]
        found[name] = version
        waiting += [need for need in needs if _ENGINE_LIBRARY.fullmatch(need)]
    return found


def place_of(path: str) -> str:
    """Return where a file of a package goes in the engine's directory; empty when it is not needed."""
    program = _PROGRAM.fullmatch(path)
    if program:
        return f"libexec/{program.group(1)}"
    library = _LIBRARY.fullmatch(path)
    if not library:
        return ""
    backend = re.search(r"/ggml/backends[^/]*/", path)
    return f"{'libexec' if backend else 'lib'}/{library.group(1)}"


def copy_packages(run_command: RunCommand, package: str, version: str, target: str) -> dict[str, Any]:
    """Fill a new directory from installed packages; return {"packages": {name: version}}."""
    code, out, err = run_command(["dpkg-query", "-W", "-f", _QUERY])
    if code != 0:
        raise TreeError(f"dpkg-query failed ({err.strip()}). The method 'package' needs a Debian or Ubuntu host.")
    packages = engine_packages(package, parse_packages(out))
    if packages.get(package) != version:
        found = packages.get(package, "not installed")
        raise TreeError(
            f"package {package}: {found}, wanted {version}. Check package_version and the apt sources of this host."
        )
    for name in sorted(packages):
        code, out, err = run_command(["dpkg-query", "-L", name])
        if code != 0:
            raise TreeError(f"dpkg-query -L {name} failed: {err.strip()}. Run 'dpkg --audit' on this host.")
        for path in out.splitlines():
            place = place_of(path)
            if not place or os.path.isdir(path):
                continue
            destination = os.path.join(target, place)
            os.makedirs(os.path.dirname(destination), mode=0o755, exist_ok=True)
            if os.path.islink(path) and "/" not in os.readlink(path):
                os.symlink(os.readlink(path), destination)
            else:
                shutil.copyfile(path, destination)
                os.chmod(destination, 0o755 if place.startswith("libexec/llama-") else 0o644)
    return {"packages": packages}
