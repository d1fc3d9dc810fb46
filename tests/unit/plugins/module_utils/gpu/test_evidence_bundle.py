# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence bundle: what the vendor asks for, nothing else, and not without end."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.plugins.module_utils._gpu import _evidence_bundle as bundle

from . import snapshots

NAME = "20261121T070623Z"


def files(**changes: Any) -> dict[str, str]:
    gpu = snapshots.gpu(0)
    gpu["processes"] = [{"pid": 7, "name": "engine-with-a-name", "user": "somebody"}]
    values: dict[str, Any] = {
        "health": {
            "status": "out_of_service",
            "findings": [
                {"check": "xid", "status": "fail", "subject": "GPU 0", "observed": "XID 79", "expected": "none"},
                {"check": "temp_gpu", "status": "ok", "subject": "1 GPU"},
            ],
        },
        "state": {
            "events": [
                {"at": "b", "at_seconds": 2.0, "kind": "xid", "code": 79, "pci": "0000:18:00.0", "message": "second"},
                {"at": "a", "at_seconds": 1.0, "kind": "xid", "code": 48, "pci": "0000:18:00.0", "message": "first"},
            ],
            "actions": [{"rung": "reboot"}],
        },
        "recovery": {"mark": None},
        "snapshot": {"gpus": [gpu]},
        "host": {"host": "gpu1", "kernel": "6.1", "dmi": {"product_serial": "SN1"}},
        "slots": {"0000:18:00.0": "GPU-SLOT-4", "0000:99:00.0": "NIC"},
    }
    return bundle.documents(**{**values, **changes})


def test_the_vendor_reads_serials_slot_and_firmware() -> None:
    text = files()["README.txt"]
    for word in ("SN1", "slot GPU-SLOT-4", "0000:18:00.0", "serial 1651223000000", "vbios_version 96.00", "XID 79"):
        assert word in text
    assert "temp_gpu" not in text


def test_the_timeline_is_in_order() -> None:
    lines = files()["xid_timeline.txt"].splitlines()
    assert [line.split()[-1] for line in lines] == ["first", "second"]
    assert "xid 48" in lines[0]


def test_processes_and_users_stay_out() -> None:
    assert not any("engine-with-a-name" in text or "somebody" in text for text in files().values())


def test_only_slots_of_gpus_are_told() -> None:
    assert "NIC" not in files()["host.json"]


def test_a_host_of_which_nothing_could_be_read_gives_a_bundle_too() -> None:
    made = files(health={}, state={}, snapshot={}, host={}, slots={})
    assert "no finding fails" in made["README.txt"]
    assert "no event" in made["xid_timeline.txt"]


def test_the_archive_holds_every_file_also_the_vendors_own_report(tmp_path: Path) -> None:
    own = tmp_path / NAME
    own.mkdir()
    (own / "nvidia-bug-report.log.gz").write_bytes(b"report")
    result = bundle.write_bundle(str(tmp_path), NAME, files())
    with tarfile.open(result["archive"]) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert {"nvidia-bug-report.log.gz", "README.txt", "findings.json", "state.json"} <= names
    assert result["bytes"] == Path(result["archive"]).stat().st_size
    assert stat.S_IMODE(Path(result["archive"]).stat().st_mode) == 0o600
    assert stat.S_IMODE((own / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["../x", "", "today", "20261121T070623Z/.."])
def test_a_name_that_leaves_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(bundle.BundleError, match="time stamp"):
        bundle.write_bundle(str(tmp_path), name, {})


def test_only_the_newest_bundles_are_kept(tmp_path: Path) -> None:
    for day in range(1, 5):
        bundle.write_bundle(str(tmp_path), f"202611{day:02d}T000000Z", {"a": "b"})
    assert bundle.remove_old(str(tmp_path), keep=3) == ["20261101T000000Z"]
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "20261102T000000Z"
    assert len(list(tmp_path.iterdir())) == 6


def test_slots_come_from_sysfs(tmp_path: Path) -> None:
    slot = tmp_path / "bus/pci/slots/4"
    slot.mkdir(parents=True)
    (slot / "address").write_text("0000:18:00\n", encoding="utf-8")
    assert bundle.read_slots(str(tmp_path)) == {"0000:18:00.0": "4"}
    assert bundle.read_slots(str(tmp_path / "none")) == {}
