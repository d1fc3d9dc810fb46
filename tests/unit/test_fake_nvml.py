# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake libnvidia-ml answers the real nvidia-ml-py as the scenario says; the fake host around it fits."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.local_llm.ops.tests.fakes.nvml import build, command, fake_host, scenarios
from ansible_collections.local_llm.ops.tests.fakes.nvml import install_on_lab_host as install

FAKES = Path(__file__).resolve().parents[1] / "fakes" / "nvml"
MIB = 1024**2
# Reads what the test asks for with the real package, and prints it as JSON.
PROBE = """
import ctypes, json, sys
import pynvml as n
def get(name, *arguments):
    try:
        return getattr(n, name)(*arguments)
    except n.NVMLError as error:
        return {"error": int(error.value)}
def structure(name, kind, handle):
    value = kind()
    answer = get(name, handle, ctypes.byref(value))
    return answer if isinstance(answer, dict) else {key: getattr(value, key) for key, _type in kind._fields_
                                                    if key not in ("clusterUuid",)}
def fields(handle, *wanted):
    answers = get("nvmlDeviceGetFieldValues", handle, list(wanted))
    if isinstance(answers, dict):
        return answers
    names = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal")
    return [{"error": a.nvmlReturn} if a.nvmlReturn else getattr(a.value, names[a.valueType]) for a in answers]
def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, ctypes.Structure) or hasattr(value, "pid"):
        return {key: plain(getattr(value, key)) for key in
                ([f[0] for f in value._fields_] if hasattr(value, "_fields_") else vars(value))}
    return value if isinstance(value, int) else str(value)
def show(value):
    print(json.dumps(value, default=plain), flush=True)
def begin():
    init = get("nvmlInit")
    return init or [get("nvmlDeviceGetHandleByIndex", index) for index in range(n.nvmlDeviceGetCount())]
def serve():  # one expression per line
    for line in sys.stdin:
        handles = begin()
        if isinstance(handles, dict):
            show(handles)
            continue
        try:
            show(eval(json.loads(line), {**globals(), "handles": handles, "h": handles[0]}))
        except Exception as error:
            show(repr(error))
        get("nvmlShutdown")
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake library, built once."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: the fake libnvidia-ml cannot be built")
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("nvidia-ml-py is not installed: there is nothing that could call the fake libnvidia-ml")
    return build.build(tmp_path_factory.mktemp("fake-nvml"))


Ask = Callable[..., Any]


def start(library: Path, path: Path, code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_SCENARIO": str(path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROBE + code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")  # other modules of tests look for processes that stay behind
def ask(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask the real package one expression under a scenario; all in one process, which sees every change of the file."""
    path = tmp_path_factory.mktemp("scenario") / "scenario"
    process = start(library, path, "serve()")

    def run(scenario: scenarios.Scenario, expression: str) -> Any:
        scenarios.write(scenario, path)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(expression) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"the process that asks has ended at: {expression}"
        return json.loads(answer)

    try:
        yield run
    finally:
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("profile", "count", "name", "memory_mib"),
    [
        ("hgx_h100_8", 8, "NVIDIA H100 80GB HBM3", 81559),
        ("rtx_4090_4", 4, "NVIDIA GeForce RTX 4090", 24564),
        ("l4_1", 1, "NVIDIA L4", 23034),
        ("t4_1", 1, "Tesla T4", 15360),
    ],
)
def test_a_profile_answers_identity_and_memory(ask: Ask, profile: str, count: int, name: str, memory_mib: int) -> None:
    scenario = scenarios.profile(profile)
    answer = ask(
        scenario,
        "[len(handles), n.nvmlDeviceGetName(h), n.nvmlDeviceGetUUID(h), n.nvmlDeviceGetPciInfo_v3(h),"
        " n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2), n.nvmlSystemGetDriverVersion(), n.nvmlDeviceGetMemoryInfo(h)]",
    )
    assert answer[:3] == [count, name, scenarios.gpu_value(scenario, 0, "uuid")]
    assert answer[3]["busId"] == f"0000{scenarios.gpu_address(scenario, 0)}".upper()
    assert f"0x{answer[3]['pciDeviceId']:08x}" == scenarios.gpu_value(scenario, 0, "pci.device")
    memory = answer[4]
    assert memory["total"] == memory_mib * MIB == memory["free"] + memory["used"] + memory["reserved"]
    assert answer[6]["used"] == memory["used"] + memory["reserved"]
    assert answer[5] == scenario["driver_version"]


def test_a_host_without_a_gpu_says_that_the_driver_is_not_loaded(ask: Ask) -> None:
    assert ask(scenarios.profile("none"), "0") == {"error": 9}


def test_what_a_card_does_not_have_is_not_supported(ask: Ask) -> None:
    answer = ask(
        scenarios.profile("rtx_4090_4"),
        "[get('nvmlDeviceGetSerial', h), get('nvmlDeviceGetTotalEccErrors', h, 1, 0),"
        " get('nvmlDeviceGetRemappedRows', h), get('nvmlDeviceGetMigMode', h),"
        " get('nvmlDeviceGetNvLinkState', h, 0), fields(h, 82, 144, 91)]",
    )
    assert answer == [{"error": 3}] * 5 + [[{"error": 3}] * 3]


def test_an_hgx_board_answers_what_only_such_a_board_has(ask: Ask) -> None:
    answer = ask(
        scenarios.profile("hgx_h100_8"),
        "[[n.nvmlDeviceGetNvLinkState(h, link) for link in range(18)], get('nvmlDeviceGetNvLinkState', h, 18),"
        " n.nvmlDeviceGetNvLinkRemotePciInfo(h, 17).busId,"
        " structure('nvmlDeviceGetGpuFabricInfoV', n.c_nvmlGpuFabricInfo_v3_t, h),"
        " structure('nvmlDeviceGetGpuFabricInfoV', n.c_nvmlGpuFabricInfo_v2_t, h)['state'],"
        " structure('nvmlDeviceGetSramEccErrorStatus', n.c_nvmlEccSramErrorStatus_v1_t, h)['bThresholdExceeded'],"
        " n.nvmlDeviceGetP2PStatus(h, handles[7], 2), n.nvmlDeviceGetTopologyCommonAncestor(handles[7], h),"
        " n.nvmlDeviceGetTopologyCommonAncestor(h, handles[1]), n.nvmlDeviceGetMarginTemperature(h),"
        " n.nvmlDeviceGetTemperatureV(h, 0), fields(h, 82, 230, 193, (163, 3)), n.nvmlDeviceGetMigMode(h),"
        " n.nvmlDeviceGetRowRemapperHistogram(h).max, n.nvmlDeviceGetArchitecture(h),"
        " n.nvmlDeviceGetCudaComputeCapability(h)]",
    )
    assert answer[:3] == [[1] * 18, {"error": 2}, "00000000:0A:00.0"]
    assert answer[3]["state"] == 3 and answer[3]["healthSummary"] == 1 and answer[3]["healthMask"] == 0xAA
    assert answer[4:] == [3, 0, 0, 50, 40, 56, 31, [42, 0, -8, 0], [0, 0], 2560, 9, [9, 0]]


def test_a_card_from_before_row_remapping_tells_its_retired_pages(ask: Ask) -> None:
    answer = ask(
        scenarios.FAULTS["retired_pages"](scenarios.profile("t4_1")),
        "[len(n.nvmlDeviceGetRetiredPages(h, 0)), len(n.nvmlDeviceGetRetiredPages_v2(h, 1)),"
        " n.nvmlDeviceGetRetiredPagesPendingStatus(h), get('nvmlDeviceGetRemappedRows', h)]",
    )
    assert answer == [2, 16, 1, {"error": 3}]


FAULTS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("version_mismatch", {}, "0", {"error": 18}),
    ("driver_not_loaded", {}, "0", {"error": 9}),
    ("init_error", {}, "0", {"error": 999}),
    ("gpu_lost", {}, "[handles[3], n.nvmlDeviceGetCount(), n.nvmlDeviceGetName(handles[4])[:6]]",
     [{"error": 15}, 8, "NVIDIA"]),
    ("gpu_missing", {"gpu": 3}, "[len(handles), n.nvmlDeviceGetPciInfo(handles[3]).busId,"
     " n.nvmlDeviceGetTopologyCommonAncestor(handles[2], handles[3])]", [7, "00000000:9A:00.0", 50]),
    ("ecc_volatile", {"count": 2}, "[n.nvmlDeviceGetTotalEccErrors(x, 1, 0) for x in handles]",
     [0, 0, 0, 2, 0, 0, 0, 0]),
    ("ecc_sram_threshold", {}, "structure('nvmlDeviceGetSramEccErrorStatus', n.c_nvmlEccSramErrorStatus_v1_t,"
     " handles[3])['bThresholdExceeded']", 1),
    ("ecc_pending", {}, "n.nvmlDeviceGetEccMode(handles[3])", [1, 0]),
    ("remap_pending", {}, "[n.nvmlDeviceGetRemappedRows(handles[3]), fields(handles[3], 143, 144, 145)]",
     [[0, 1, 1, 0], [1, 1, 0]]),
    ("remap_failed", {}, "[n.nvmlDeviceGetRemappedRows(handles[3])[3],"
     " n.nvmlDeviceGetRowRemapperHistogram(handles[3]).none]",
     [1, 1]),
    ("throttle_hw_thermal", {}, "[n.nvmlDeviceGetCurrentClocksEventReasons(handles[3]),"
     " n.nvmlDeviceGetCurrentClocksThrottleReasons(handles[3]), fields(handles[3], 270),"
     " n.nvmlDeviceGetViolationStatus(handles[3], 1).violationTime]", [0x48, 0x48, [12500000000], 12500000000]),
    ("hot_memory", {}, "fields(handles[3], 82)", [96]),
    ("hot_gpu", {}, "[n.nvmlDeviceGetTemperature(handles[3], 0), n.nvmlDeviceGetMarginTemperature(handles[3])]",
     [88, -1]),
    ("power_unreadable", {}, "[get('nvmlDeviceGetPowerUsage', x) for x in handles[2:4]]", [71400, {"error": 999}]),
    ("nvlink_dead", {}, "[n.nvmlDeviceGetNvLinkState(handles[3], link) for link in (6, 7)]", [1, 0]),
    ("nvlink_errors", {}, "[n.nvmlDeviceGetNvLinkErrorCounter(handles[3], 7, k) for k in (0, 1, 2)]", [12, 0, 1200]),
    ("fabric_not_ready", {}, "structure('nvmlDeviceGetGpuFabricInfoV', n.c_nvmlGpuFabricInfo_v3_t, h)['state']", 2),
    ("pcie_generation_dropped", {}, "[n.nvmlDeviceGetCurrPcieLinkGeneration(handles[3]),"
     " n.nvmlDeviceGetMaxPcieLinkGeneration(handles[3])]", [3, 5]),
    ("pcie_width_dropped", {}, "n.nvmlDeviceGetCurrPcieLinkWidth(handles[3])", 8),
    ("zombie_memory", {}, "[n.nvmlDeviceGetMemoryInfo(handles[3], n.nvmlMemory_v2).used,"
     " n.nvmlDeviceGetComputeRunningProcesses(handles[3])]", [20 * 1024 * MIB, []]),
    ("busy", {"pid": 77}, "[(p.pid, p.usedGpuMemory) for p in n.nvmlDeviceGetComputeRunningProcesses(h)]",
     [[77, 60 * 1024 * MIB]]),
    ("busy", {"kind": "mps"}, "[len(n.nvmlDeviceGetMPSComputeRunningProcesses(h)),"
     " len(n.nvmlDeviceGetGraphicsRunningProcesses(h))]", [1, 0]),
    ("recovery_action", {"action": 2}, "fields(handles[3], 230)", [2]),
    ("persistence_off", {}, "[n.nvmlDeviceGetPersistenceMode(x) for x in handles]", [0] * 8),
    ("mig_pending", {}, "n.nvmlDeviceGetMigMode(handles[3])", [0, 1]),
    ("inforom_corrupt", {}, "get('nvmlDeviceValidateInforom', handles[3])", {"error": 14}),
    ("unrepairable_memory", {}, "n.nvmlDeviceGetUnrepairableMemoryFlag_v1(handles[3])", 1),
    ("repair_pending", {}, "n.nvmlDeviceGetRepairStatus(handles[3])", [1, 0]),
    ("p2p_broken", {}, "[n.nvmlDeviceGetP2PStatus(handles[1], h, 2), n.nvmlDeviceGetP2PStatus(h, handles[2], 2)]",
     [6, 0]),
    ("call_error", {"function": "nvmlDeviceGetArchitecture", "code": 13}, "get('nvmlDeviceGetArchitecture', h)",
     {"error": 13}),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "options", "expression", "expected"), FAULTS)
def test_a_fault_shows_in_what_nvml_answers(
    ask: Ask, fault: str, options: dict[str, Any], expression: str, expected: Any
) -> None:
    assert ask(scenarios.FAULTS[fault](scenarios.profile("hgx_h100_8"), **options), expression) == expected


def test_every_fault_changes_something_and_leaves_what_it_was_given_alone() -> None:
    for profile in ("hgx_h100_8", "t4_1"):
        for name, fault in scenarios.FAULTS.items():
            healthy = scenarios.profile(profile)
            options: dict[str, Any] = {"function": "nvmlShutdown"} if name == "call_error" else {}
            if profile == "t4_1" and "gpu" in fault.__annotations__:
                options["gpu"] = 0
            assert fault(healthy, **options) != healthy, name
            assert healthy == scenarios.profile(profile), name


def test_a_gpu_that_is_not_there_is_named_with_the_number_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no GPU 3: the scenario has 1"):
        scenarios.FAULTS["hot_gpu"](scenarios.profile("l4_1"))


def test_the_time_counters_have_the_field_numbers_of_the_driver(ask: Ask) -> None:
    slow = scenarios.FAULTS["throttle_hw_thermal"](scenarios.profile("l4_1"), gpu=0, seconds=1)
    known = {"580.95.05": [{"error": 3}, 10**9], "580.65.06": [10**9, {"error": 3}], "570.133.20": [{"error": 3}] * 2}
    for version, expected in known.items():
        assert ask({**slow, "driver_version": version}, "fields(h, 252, 270)") == expected


def test_a_change_of_the_scenario_is_seen_by_a_process_that_runs(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "scenario"
    scenarios.write(scenarios.profile("l4_1"), path)
    process = start(library, path, "h = begin()[0]\nfor line in sys.stdin: show(n.nvmlDeviceGetTemperature(h, 0))")
    assert process.stdin is not None and process.stdout is not None
    seen = []
    for celsius in (38, 39, 40, 38):
        scenarios.write(scenarios.gpu_change(scenarios.profile("l4_1"), 0, {"temperature.gpu": celsius}), path)
        process.stdin.write("\n")
        process.stdin.flush()
        seen.append(int(process.stdout.readline()))
    process.communicate(timeout=30)
    assert seen == [38, 39, 40, 38]


@pytest.mark.parametrize(("kind", "ends_it"), [("sleep", True), ("stubborn", False), ("dstate", False)])
def test_a_call_that_hangs_never_returns(library: Path, tmp_path: Path, kind: str, ends_it: bool) -> None:
    path = tmp_path / "scenario"
    scenarios.write(scenarios.FAULTS["hang"](scenarios.profile("l4_1"), kind=kind), path)
    process = start(library, path, "h = begin()[0]; show('before'); n.nvmlDeviceGetPowerUsage(h); show('after')")
    assert process.stdout is not None and process.stdout.readline() == '"before"\n'
    try:
        wanted = "D" if kind == "dstate" else "S"
        wait_for(lambda: state_of(process.pid) == wanted and (ends_it or kind == "dstate" or ignores_term(process.pid)))
        process.send_signal(signal.SIGTERM)
        if ends_it:
            assert process.wait(timeout=10) == -signal.SIGTERM
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.3)
    finally:
        process.kill()
        rest, _nothing = process.communicate(timeout=10)
    assert rest == ""


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def ignores_term(pid: int) -> bool:
    found = re.search(r"^SigIgn:\s*(\S+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    return found is not None and bool(int(found.group(1), 16) & 1 << signal.SIGTERM - 1)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_the_library_is_built_once_for_the_same_sources(library: Path) -> None:
    before = library.stat().st_mtime_ns
    assert build.build(library.parents[1]) == library
    assert library.stat().st_mtime_ns == before


def test_without_gcc_the_build_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="apt install gcc"):
        build.build(tmp_path)


def test_a_scenario_file_says_the_same_after_reading_it_again(tmp_path: Path) -> None:
    for name in scenarios.PROFILES:
        scenario = scenarios.xid(scenarios.profile(name), 0, 79, "GPU has fallen off the bus.")
        scenarios.write(scenario, tmp_path / "scenario")
        assert scenarios.read(tmp_path / "scenario") == scenario


def test_sysfs_shows_the_devices_of_the_profile_and_a_lost_gpu_as_unreadable(tmp_path: Path) -> None:
    scenario = scenarios.FAULTS["gpu_lost"](
        scenarios.FAULTS["pcie_width_dropped"](scenarios.profile("hgx_h100_8"), gpu=0)
    )
    for _again in range(2):
        fake_host.build_sysfs(scenario, tmp_path / "sys")
    devices = tmp_path / "sys" / "bus" / "pci" / "devices"
    vendors = [path.joinpath("vendor").read_text() for path in devices.iterdir()]
    assert vendors.count("0x10de\n") == 12 and len(vendors) == 14
    lost, narrow = devices / "0000:5d:00.0", devices / "0000:18:00.0"
    assert set((lost / "config").read_bytes()) == {0xFF} and (lost / "current_link_width").read_text() == "63\n"
    assert (narrow / "config").read_bytes()[:4] == b"\xde\x10\x30\x23"
    assert (narrow / "current_link_width").read_text() == "8\n"
    assert (narrow / "current_link_speed").read_text() == "32.0 GT/s PCIe\n"
    assert (tmp_path / "sys/module/nvidia/version").read_text().strip() == scenario["driver_version"]
    assert not (tmp_path / "sys.new").exists() and not (tmp_path / "sys.old").exists()


def test_the_kernel_log_has_records_as_dev_kmsg_and_numbers_on(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    fake_host.build_kmsg(scenarios.FAULTS["gpu_lost"](scenarios.profile("hgx_h100_8")), log, since_boot_seconds=100.5)
    fake_host.append_kmsg(log, ["NVRM: one", "two\nlines \udcff"], since_boot_seconds=200.0)
    lines = log.read_text(encoding="ascii").splitlines()
    assert [int(line.split(",")[1]) for line in lines] == list(range(len(lines)))
    assert "3,6,100500000,-;NVRM: Xid (PCI:0000:5d:00): 79, pid='<unknown>', name=<unknown>, GPU has" in lines[6]
    assert lines[-2:] == [
        f"3,{len(lines) - 2},200000000,-;NVRM: one",
        f"3,{len(lines) - 1},200000000,-;two\\x0alines \\xff",
    ]


def test_the_next_kernel_has_the_module_that_the_scenario_says(tmp_path: Path) -> None:
    for module, expected in (("missing", None), ("unsigned", False), ("signed", True)):
        scenario = scenarios.FAULTS["next_kernel"](scenarios.profile("l4_1"), version="6.99.0", module=module)
        fake_host.build_modules(scenario, tmp_path, "6.1.0")
        place = tmp_path / "lib/modules/6.99.0"
        assert ("nvidia.ko" in (place / "modules.dep").read_text()) == (expected is not None)
        if expected is not None:
            assert ("signer:" in (place / "updates/dkms/nvidia.ko").read_text()) == expected


def test_another_driver_leaves_the_headers_of_the_kernel(tmp_path: Path) -> None:
    with_driver = scenarios.profile("l4_1")
    headers = tmp_path / "lib/modules/6.1.0/build/Makefile"
    fake_host.build_modules(with_driver, tmp_path, "6.1.0")
    headers.parent.mkdir()
    headers.touch()
    fake_host.build_modules(with_driver, tmp_path, "6.2.0")
    assert headers.exists()
    assert not (tmp_path / "lib/modules/6.1.0/modules.dep").exists()
    assert not (tmp_path / "lib/modules/6.1.0/updates").exists()
    fake_host.build_modules(with_driver, tmp_path, "6.3.0")
    assert not (tmp_path / "lib/modules/6.2.0").exists()


def smi(tmp_path: Path, scenario: scenarios.Scenario, *arguments: str) -> tuple[int, str, scenarios.Scenario]:
    scenarios.write(scenario, tmp_path / "scenario")
    environment = {
        **os.environ,
        "FAKE_NVML_SCENARIO": str(tmp_path / "scenario"),
        "FAKE_NVML_SYSFS": str(tmp_path / "sys"),
    }
    program = [sys.executable, str(FAKES / "host" / "nvidia-smi"), *arguments]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, scenarios.read(tmp_path / "scenario")


@pytest.mark.parametrize("name", ["3", "GPU-23300000-fa4e-4000-8000-000000000003", "00000000:5D:00.0", "0000:5d:00.0"])
def test_a_reset_clears_what_a_reset_clears_on_the_gpu_that_is_named(tmp_path: Path, name: str) -> None:
    scenario = scenarios.profile("hgx_h100_8")
    for fault in ("ecc_volatile", "remap_pending", "recovery_action", "zombie_memory", "mig_pending", "remap_failed"):
        scenario = scenarios.FAULTS[fault](scenario)
    scenario = scenarios.FAULTS["ecc_volatile"](scenario, gpu=2)
    code, out, after = smi(tmp_path, scenario, "--gpu-reset", "-i", name)
    assert (code, out) == (0, "GPU 00000000:5D:00.0 was successfully reset.\nAll done.\n")
    keys = ("ecc.volatile_uncorrected", "row_remap.pending", "recovery_action", "mig.current", "row_remap.failed")
    assert [scenarios.gpu_value(after, 3, key) for key in keys] == ["0", "0", "0", "1", "1"]
    assert scenarios.gpu_value(after, 3, "memory.used") == str(4 * MIB)
    assert scenarios.gpu_value(after, 2, "ecc.volatile_uncorrected") == "1"


def test_a_reset_is_refused_in_the_words_of_the_real_program(tmp_path: Path) -> None:
    healthy = scenarios.profile("hgx_h100_8")
    busy = scenarios.FAULTS["busy"](healthy, gpu=1, pid=4711)
    code, out, after = smi(tmp_path, busy, "--gpu-reset", "-i", "1")
    assert code == 255 and "is currently being used by one or more other processes" in out and after == busy
    code, out, _after = smi(tmp_path, scenarios.FAULTS["gpu_lost"](healthy), "--gpu-reset", "-i", "3")
    assert code == 15 and "GPU is lost" in out
    code, out, _after = smi(tmp_path, scenarios.FAULTS["version_mismatch"](healthy), "--gpu-reset", "-i", "3")
    assert code == 18 and "Driver/library version mismatch" in out
    code, out, _after = smi(tmp_path, healthy, "--gpu-reset", "-i", "9")
    assert (code, out) == (6, "No devices were found\n")


def test_nvidia_smi_answers_a_query(tmp_path: Path) -> None:
    wanted = "index,name,pci.bus_id,memory.total,power.draw,serial"
    _code, out, _after = smi(
        tmp_path, scenarios.profile("rtx_4090_4"), f"--query-gpu={wanted}", "--format=csv,noheader", "-i", "1"
    )
    assert out == "1, NVIDIA GeForce RTX 4090, 00000000:25:00.0, 24564 MiB, 18.20 W, [N/A]\n"


def test_a_reboot_brings_back_what_a_reboot_brings_back() -> None:
    broken = scenarios.profile("hgx_h100_8")
    for fault in ("gpu_lost", "hang", "version_mismatch"):
        broken = scenarios.FAULTS[fault](broken)
    broken = scenarios.FAULTS["remap_failed"](scenarios.FAULTS["recovery_action"](broken, gpu=1, action=2), gpu=5)
    after = scenarios.reboot(broken)
    assert not any(".error." in key or key.startswith(("hang.", "host.log.")) for key in after)
    assert after["host.module_version"] == after["host.library_version"] == after["driver_version"] == "580.105.08"
    assert "init_code" not in after and scenarios.gpu_value(after, 1, "recovery_action") == "0"
    assert scenarios.gpu_value(after, 5, "row_remap.failed") == "1"
    stays = scenarios.reboot({**broken, "host.reboot_heals": "0"})
    assert scenarios.gpu_value(stays, 3, "error.*") == "15" and not scenarios.log_messages(stays)


def test_the_command_changes_scenario_sysfs_and_log_of_a_host_together(tmp_path: Path) -> None:
    places = [
        "--scenario",
        str(tmp_path / "scenario"),
        "--sysfs",
        str(tmp_path / "sys"),
        "--kmsg",
        str(tmp_path / "kmsg"),
    ]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command_line = [sys.executable, str(FAKES / "fake-gpu"), *places, *arguments]
        return subprocess.run(command_line, capture_output=True, text=True, timeout=30, check=False)

    assert run("profile", "hgx_h100_8").returncode == 0
    assert run("fault", "gpu_lost:gpu=2", "hot_gpu:gpu=1,above=4").returncode == 0
    assert run("log", "NVRM: Xid (PCI:0000:18:00): 31, pid=1, name=x, MMU fault").returncode == 0
    scenario = scenarios.read(tmp_path / "scenario")
    assert scenarios.gpu_value(scenario, 1, "temperature.gpu") == "91"
    assert (tmp_path / "sys/bus/pci/devices/0000:3a:00.0/current_link_width").read_text() == "63\n"
    assert len(re.findall(r"Xid .*: (79|31),", (tmp_path / "kmsg").read_text())) == 2
    refused = run("fault", "no_such_fault")
    assert (
        refused.returncode == 1 and "There is no fault 'no_such_fault'. There are: driver_not_loaded" in refused.stderr
    )


def test_a_fault_is_given_as_text_with_typed_options() -> None:
    healthy = scenarios.profile("hgx_h100_8")
    made = command.with_fault(healthy, "gpu_lost:gpu=2,log=false")
    assert made == scenarios.FAULTS["gpu_lost"](healthy, gpu=2, log=False)


def test_what_a_lab_host_gets_is_complete_and_marked_as_fake() -> None:
    data = install.archive(scenarios.profile("l4_1"), FAKES / "build.py")
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        names = set(tar.getnames())
        for entry in tar.getmembers():
            if entry.issym():
                assert entry.linkname.lstrip("/") in names
            elif not entry.name.endswith(build.LIBRARY):
                content = tar.extractfile(entry)
                assert content is not None and b"fake" in content.read().lower()
    assert {"etc/fake-nvml/scenario", "usr/local/bin/nvidia-smi", "usr/local/lib/fake_nvml/smi.py"} <= names
