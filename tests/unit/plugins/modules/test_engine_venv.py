# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module engine_directory with a Python environment: built aside, tried, and there in one step or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.local_llm.ops.plugins.module_utils._canonical import sha256_hex
from ansible_collections.local_llm.ops.plugins.module_utils._engines import get_engine
from ansible_collections.local_llm.ops.plugins.modules import engine_directory

LOCK = "vllm==0.33.0 --hash=sha256:" + "a" * 64 + "\n"
# A stand-in for uv: makes an environment whose Python lists vllm, and whose engine knows every flag.
UV = """#!/bin/sh
case "$1" in
venv)
  for last; do :; done
  mkdir -p "$last/bin" "$last/lib"
  echo "home = /usr/bin" > "$last/pyvenv.cfg"
  printf '#!/bin/sh\\necho vllm==0.33.0\\n' > "$last/bin/python"
  printf '#!%s/bin/python\\n' "$last" > "$last/bin/other"
  printf '#!/bin/sh\\n[ "$1" = serve ] && echo "{flags}" || echo "{version}"\\n{more}' > "$last/bin/vllm"
  chmod 755 "$last"/bin/* ;;
pip) {pip} ;;
esac
"""


class Host:
    """A directory with uv on the PATH, and the module that works there."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.capsys = root, capsys
        (root / "path").mkdir()
        (root / "lock").write_text(LOCK)
        monkeypatch.setenv("PATH", f"{root}/path:{os.environ['PATH']}")
        self.uv()

    def uv(self, version: str = "0.33.0+cu130", pip: str = "exit 0", flags: str | None = None, more: str = "") -> None:
        known = " ".join(get_engine("vllm").required_flags) if flags is None else flags
        script = UV.replace("{flags}", known).replace("{version}", version).replace("{pip}", pip)
        (self.root / "path/uv").write_text(script.replace("{more}", more))
        (self.root / "path/uv").chmod(0o755)

    def call(self, state: str = "present", check: bool = False, **args: Any) -> dict[str, Any]:
        artifact = {"method": "venv", "requirements": ["vllm==0.33.0"], "size_bytes": 1, **args.pop("artifact", {})}
        args = {"engine": "vllm", "version": "0.33.0", "state": state, "artifact": artifact, "reserve_bytes": 0, **args}
        args |= {"engines_directory": f"{self.root}/engines", "instances_directory": f"{self.root}/instances"}
        with patch_module_args({**args, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            engine_directory.main()
        result: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return result

    def locked(self, state: str = "present", **args: Any) -> dict[str, Any]:
        more = {"artifact": {"lock_file": "/controller/lock"}, "lock_path": f"{self.root}/lock"}
        return self.call(state, **{**more, **args})


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, capsys, monkeypatch)


def test_a_version_is_built_once_and_found_again(host: Host) -> None:
    assert host.locked(check=True)["changed"] is True
    assert not (host.root / "engines").exists()
    first = host.locked()
    assert (first["changed"], first["installed"], first["version_output"]) == (True, True, "0.33.0+cu130")
    path = host.root / "engines/vllm/0.33.0"
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["packages"] == {"vllm": "0.33.0"} and manifest["installer"] == "uv"
    assert manifest["lock_sha256"] == sha256_hex(LOCK)
    assert "realpath" in (path / "bin/other").read_text()
    assert host.locked()["changed"] is False
    # The next run looks before it brings the lock file: its SHA-256 stands for it.
    seen = host.locked("checked", lock_path=None, lock_sha256=sha256_hex(LOCK))
    assert seen["installed"] is True
    assert list((host.root / "engines/.incoming").iterdir()) == []


def test_another_lock_file_under_the_same_version_is_refused(host: Host) -> None:
    host.locked()
    message = host.locked("checked", lock_path=None, lock_sha256="0" * 64)["msg"]
    assert "give the new artifact a new version name in vllm_artifacts" in message


def test_a_changed_file_is_named(host: Host) -> None:
    host.locked()
    (host.root / "engines/vllm/0.33.0/lib/extra.py").write_text("x")
    assert "lib/extra.py: not in the manifest" in host.locked("checked")["msg"]


@pytest.mark.parametrize(
    ("uv", "words"),
    [
        ({"pip": "echo no such wheel >&2; exit 1"}, "no such wheel"),
        ({"version": "0.32.0"}, "vllm 0.33.0: the engine says it is 0.32.0"),
        ({"flags": "--host"}, "does not know --port"),
        ({"more": "echo Failed to import from vllm._C: libnuma.so.1"}, "cannot load a part of itself: libnuma.so.1"),
    ],
)
def test_what_does_not_prove_itself_is_not_installed_and_a_later_run_begins_anew(
    host: Host, uv: dict[str, str], words: str
) -> None:
    host.uv(**uv)
    message = host.locked()["msg"]
    assert words in message and "Nothing was installed" in message
    assert not (host.root / "engines/vllm/0.33.0").exists()
    host.uv()
    assert host.locked()["changed"] is True


def test_a_run_that_was_killed_leaves_nothing_that_counts(host: Host) -> None:
    # A power cut in the middle: half an environment under the name of the work, no version.
    half = host.root / "engines/.incoming/vllm-0.33.0"
    (half / "lib").mkdir(parents=True)
    (half / "lib/half.py").write_text("x")
    (half.parent / "vllm-0.33.0.work").mkdir()
    assert host.locked("checked")["installed"] is False
    assert host.locked()["changed"] is True
    assert not (host.root / "engines/vllm/0.33.0/lib/half.py").exists()
    assert list(half.parent.iterdir()) == []


def test_two_installations_at_once_do_not_meet(host: Host) -> None:
    incoming = host.root / "engines/.incoming"
    incoming.mkdir(parents=True)
    descriptor = os.open(incoming, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "another run installs an engine right now" in host.locked()["msg"]
    os.close(descriptor)
    assert host.locked()["changed"] is True


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"artifact": {"requirements": ["vllm"]}}, "vllm_artifacts['0.33.0'].requirements = 'vllm': Pin it exactly"),
        ({"artifact": {"lock_file": "/c/lock"}}, "give lock_path, or its lock_sha256"),
        ({"artifact": {"lock_file": "/c/lock"}, "lock_sha256": "0" * 64}, "Bring the lock file first"),
        ({"artifact": {"method": "package", "package": "x", "package_version": "1"}}, "vllm takes venv"),
        ({"engine": "llamacpp"}, "llamacpp takes archive or package"),
    ],
)
def test_an_artifact_that_cannot_be_trusted_is_refused(host: Host, args: dict[str, Any], words: str) -> None:
    assert words in host.call(**args)["msg"]
    assert not (host.root / "engines/vllm").exists()
