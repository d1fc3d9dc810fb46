#!/usr/bin/env python3
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what a lab needs for the real vLLM on a CPU: packages, tiny models, and a layer with the engine installed.

The role vllm installs it once on a machine of its own; what it wrote becomes a read-only layer under other machines
(LOCAL_LLM_LAB_LAYERS), so that a test has the engine in no time. vllm.json lists paths and SHA-256.
Debian 12 and a CPU with AVX-512 are needed; exit status 77 says that this machine has none.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from local_lab.shell import LabError
from local_lab.state import CACHE, ROOT

from artefacts import tiny_llama
from artefacts.reproducible import sha256_of

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
LOCK = HERE / "vllm_cpu_lock.txt"
VERSION = "0.32.0"
REQUIREMENT = f"vllm=={VERSION}+cpu"
LAB = "vllmlayer"
MODELS = {"tiny-llama": 1, "tiny-llama-other": 2}
# What the installed tree depends on.
RECIPE = (LOCK, *(CHECKOUT / "plugins/module_utils" / name for name in ("_venv_build.py", "_published_tree.py")))
SKIPPED = 77


def say(text: str) -> None:
    """Print a progress line."""
    print(f"artefacts: {text}", file=sys.stderr, flush=True)


def missing_feature() -> str:
    """Return why the engine cannot run on this machine, or an empty text."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    if " avx512f " in flags.replace("\n", " "):
        return ""
    return "the CPU build of vLLM needs AVX-512 (flag avx512f in /proc/cpuinfo), which this machine has not"


def write_mend(directory: Path) -> Path:
    """Write an empty distribution called vllm: the CPU build calls itself vllm-cpu, and then does not find itself."""
    name, _equals, version = REQUIREMENT.partition("==")
    info = f"{name}-{version}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: local-llm-lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    texts[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    target = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in texts.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
    return target


def bring_packages(directory: Path) -> None:
    """Download what the lock file lists, each checked against its SHA-256."""
    stamp = directory / "lock.sha256"
    wanted = sha256_of(LOCK)
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return
    directory.mkdir(parents=True, exist_ok=True)
    say(f"downloading the packages of {LOCK.name} (about 900 MB)")
    lines = [line for line in LOCK.read_text(encoding="ascii").splitlines() if not line.startswith(REQUIREMENT)]
    part = directory / "lock.part"
    part.write_text("\n".join(lines) + "\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", "3.11", "--require-hashes", "--dest", str(directory), "--requirement", str(part)]
    index = os.environ.get("LOCAL_LLM_LAB_TORCH_INDEX")
    more = ["--extra-index-url", index] if index else []
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(
            f"pip could not bring the packages: {done.stderr.strip().splitlines()[-1:]}. Where the usual index has no "
            "CPU build of torch, name one that has it in LOCAL_LLM_LAB_TORCH_INDEX."
        )
    part.unlink()
    write_mend(directory)
    stamp.write_text(wanted, encoding="ascii")


def artifact(packages: Path) -> dict[str, Any]:
    """Return the entry of vllm_artifacts. Without dependencies: the CUDA builds that would come along break imports."""
    return {
        "method": "venv",
        "python": "python3.11",
        "requirements": [REQUIREMENT],
        "lock_file": str(LOCK),
        "extra_arguments": ["--no-index", "--find-links", str(packages), "--no-deps"],
        "size_bytes": 4 << 30,
    }


def make_layer(layer: Path, packages: Path) -> None:
    """Let the role install the engine on a machine of its own, and keep what it wrote."""
    # The lock file counts by its content, so that another checkout has no need of a layer of its own.
    recipe = {**artifact(packages), "lock_file": LOCK.name}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for path in RECIPE:
        digest.update(path.read_bytes())
    note = layer.with_suffix(".sha256")
    if layer.is_dir() and note.is_file() and note.read_text(encoding="ascii") == digest.hexdigest():
        return
    say("installing the engine once, by the role vllm (some minutes)")
    lab = [sys.executable, str(HERE.parent / "lab.py")]
    links = " ".join(filter(None, [os.environ.get("PIP_FIND_LINKS", ""), str(packages)]))
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_LLM_LAB_LAYERS"}
    environment["PIP_FIND_LINKS"] = links
    environment.setdefault("ANSIBLE_COLLECTIONS_PATH", str(CHECKOUT / ".build/collections"))
    subprocess.run([*lab, "up", "--lab", LAB, "--host", "gpu1=bookworm"], env=environment, check=True)
    try:
        values = {"vllm_artifacts": {VERSION: artifact(packages)}, "vllm_versions": [VERSION],
                  "vllm_system_packages": ["python3-venv", "libnuma1"]}  # fmt: skip
        playbook = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(ROOT / LAB / "inventory.yml")]
        subprocess.run([*playbook, str(HERE / "vllm_layer.yml"), "-e", json.dumps(values)], env=environment, check=True)
        subprocess.run([*lab, "exec", "--lab", LAB, "gpu1", "sync"], check=True)
        shutil.rmtree(layer, ignore_errors=True)
        note.unlink(missing_ok=True)
        target = layer / "opt/local_llm/engines"
        target.mkdir(parents=True)
        made = ROOT / LAB / "hosts/gpu1/disk/opt/local_llm/engines/vllm"
        subprocess.run(["cp", "-a", str(made), str(target)], check=True)
        # The manifest stays the youngest file, as it was when the tree was published.
        (target / "vllm" / VERSION / "manifest.json").touch()
        note.write_text(digest.hexdigest(), encoding="ascii")
    finally:
        subprocess.run([*lab, "down", "--lab", LAB], check=False)


def make_models(directory: Path) -> dict[str, Any]:
    """Write the tiny models; return their entries."""
    entries = {}
    for name, seed in MODELS.items():
        tiny_llama.write_model(directory / name, seed)
        files = {file: sha256_of(directory / name / file) for file in tiny_llama.FILES}
        entries[name] = {"directory": str(directory / name), "files": files}
    return entries


def main() -> int:
    """Build what is missing and print the path of the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CACHE / "artefacts/vllm", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="only tell whether this machine can run the engine")
    options = parser.parse_args()
    reason = missing_feature()
    if reason:
        print(reason)
        return SKIPPED
    if options.check:
        return 0
    output = options.output.resolve()
    try:
        packages, layer = output / "packages", output / "layer"
        bring_packages(packages)
        make_layer(layer, packages)
        index = {
            "schema": 1,
            "version": VERSION,
            "layer": str(layer),
            "artifact": artifact(packages),
            "models": make_models(output / "models"),
        }
        path = output / "vllm.json"
        path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(path)
    except (LabError, subprocess.CalledProcessError) as error:
        say(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
