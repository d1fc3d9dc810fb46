# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host or some of them: processors, memory, disks, network, and every GPU."""

from __future__ import annotations

from ansible_collections.local_llm.ops.tools.dashboards.limits import alert
from ansible_collections.local_llm.ops.tools.dashboards.model import Board, Panel, Row
from ansible_collections.local_llm.ops.tools.dashboards.parts import (
    HOST,
    RANGE,
    alert_marker,
    one,
    rollout_markers,
)

UID = "local-llm-host"
HOSTS = 'host=~"$host"'
NODE = f'job="local_llm_node",{HOSTS}'
GPU = "{{host}} GPU {{gpu}}"
# As in the alert about full disks.
DISKS = f'{NODE},fstype!~"tmpfs|ramfs|squashfs|overlay"'


# As in the alert: a code's series begins with its first error, so a new series counts too, when somebody looked before.
XIDS = (
    f"((local_llm_gpu_xid_errors_total{{{HOSTS}}} unless local_llm_gpu_xid_errors_total offset 10m"
    f" or local_llm:gpu_last_xid_code{{{HOSTS}}} unless local_llm:gpu_last_xid_code offset 10m)"
    ' and on (host) (up{job="local_llm_gpu"} offset 10m == 1))'
    f" or increase(local_llm_gpu_xid_errors_total{{{HOSTS}}}[10m])"
)


def board() -> Board:
    """Return the dashboard."""
    return Board(
        UID,
        "Local LLM: host and GPU",
        "What a host and its GPUs do. Choose one host when you know which; with all of them, look for the one that "
        "differs.",
        (HOST,),
        (*rollout_markers(by_pool=False), alert_marker(False)),
        (
            Row("Host", _host()),
            Row("GPU: work and heat", _gpu_work()),
            Row("GPU: errors", _gpu_errors()),
        ),
    )


def _host() -> tuple[Panel, ...]:
    return (
        Panel(
            "Processors in use",
            "Share of the processor time that was used. Tokenizing and scheduling need processors, so a full host "
            "answers slowly.",
            "Look with top who uses them. Move work that does not serve away from the host.",
            "percentunit",
            one(f'1 - avg by (host) (rate(node_cpu_seconds_total{{{NODE},mode="idle"}}{RANGE}))', "{{host}}"),
            alerts=(alert("LocalLlmHostCpuHigh"),),
            top=1,
        ),
        Panel(
            "Memory in use",
            "Share of the memory that is not available. At the end the kernel ends a process, most likely a model "
            "server.",
            "Look with systemd-cgtop who uses it. Lower the engine's memory settings or move an instance.",
            "percentunit",
            one(f"1 - node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}", "{{host}}"),
            alerts=(alert("LocalLlmHostMemoryHigh"),),
            top=1,
        ),
        Panel(
            "Disk space that is free",
            "Share of each file system that is free. Models are large: one more download can fill it.",
            "Run the playbook models, which says which revisions may go.",
            "percentunit",
            one(
                f"node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}",
                "{{host}} {{mountpoint}}",
            ),
            alerts=(alert("LocalLlmHostDiskFull"),),
            top=1,
        ),
        Panel(
            "Disk busy",
            "Share of the time in which a disk worked. Busy is normal while a model is loaded or checked.",
            "When it stays: iostat -x and iotop say who.",
            "percentunit",
            one(f"rate(node_disk_io_time_seconds_total{{{NODE}}}{RANGE})", "{{host}} {{device}}"),
            alerts=(alert("LocalLlmHostDiskBusy"),),
            top=1,
        ),
        Panel(
            "Swapping",
            "Pages a second to and from swap. A model server that swaps answers many times slower.",
            "Find who uses the memory. A host that serves needs no swap.",
            "ops",
            one(f"rate(node_vmstat_pswpin{{{NODE}}}{RANGE}) + rate(node_vmstat_pswpout{{{NODE}}}{RANGE})", "{{host}}"),
            alerts=(alert("LocalLlmHostSwaps"),),
        ),
        Panel(
            "Processes ended for want of memory",
            "Processes that the kernel's out-of-memory killer ended in the last 10 minutes.",
            "journalctl -k -g 'Out of memory' tells which process, and how much it had.",
            "short",
            one(f"increase(node_vmstat_oom_kill{{{NODE}}}[10m])", "{{host}}"),
            alerts=(alert("LocalLlmHostOomKill").counted(),),
            decimals=0,
        ),
        Panel(
            "Network",
            "Bytes a second, received and sent, without the loopback. Tokens need little; a model that is copied "
            "needs much.",
            "A host that sends nothing under load is cut off: look at its link and its firewall.",
            "Bps",
            (
                *one(
                    f'sum by (host) (rate(node_network_receive_bytes_total{{{NODE},device!="lo"}}{RANGE}))',
                    "{{host}} in",
                ),
                *one(
                    f'-sum by (host) (rate(node_network_transmit_bytes_total{{{NODE},device!="lo"}}{RANGE}))',
                    "{{host}} out",
                ),
            ),
        ),
        Panel(
            "Time since the boot",
            "How long the host has been up. A fall to 0 is a reboot.",
            "When nobody asked for the reboot: journalctl -b -1 -e shows the end of the time before.",
            "dtdurations",
            one(f"node_time_seconds{{{NODE}}} - node_boot_time_seconds{{{NODE}}}", "{{host}}"),
        ),
        Panel(
            "Text files that node_exporter cannot read",
            "1 when a file in its textfile directory is broken. Metrics of rollouts, Ollama and the GPUs may come by "
            "such files.",
            "journalctl -u prometheus-node-exporter names the file. The next run of what writes it mends it.",
            "none",
            one(f"node_textfile_scrape_error{{{NODE}}}", "{{host}}"),
            decimals=0,
        ),
    )


def _gpu_work() -> tuple[Panel, ...]:
    reserved = "local_llm_gpu_memory_reserved_bytes"
    used = f"(local_llm_gpu_memory_used_bytes{{{HOSTS}}} + {reserved}{{{HOSTS}}})"
    return (
        Panel(
            "Age of what the driver said",
            "Seconds since the driver last answered the exporter. A driver that hangs often comes before a GPU that "
            "is lost.",
            "Run nvidia-smi on the host. When it hangs, drain the host; a reboot is what helps.",
            "s",
            one(f"time() - (local_llm_gpu_scrape_success_timestamp_seconds{{{HOSTS}}} > 0)", "{{host}}"),
            alerts=(alert("LocalLlmGpuNotSeen", after="local_llm_gpu_scrape_success_timestamp_seconds"),),
        ),
        Panel(
            "What keeps the driver from answering",
            "Nothing while it answers. hung: a call does not come back. not_loaded, mismatch: the driver itself. The "
            "others: "
            "the exporter or its installation.",
            "journalctl -u local-llm-gpu-exporter names the call; the runbook has the words.",
            "none",
            one(f"max by (host, problem) (local_llm_gpu_driver_problem{{{HOSTS}}})", "{{host}} {{problem}}"),
            alerts=(alert("LocalLlmGpuNotSeen").counted(),),
            decimals=0,
        ),
        Panel(
            "GPUs that the driver has lost",
            "1 for a GPU that the driver had and no longer reaches. What runs on it hangs or has ended.",
            "Drain the host and run the playbook health for it. Mostly a reboot brings the GPU back.",
            "none",
            one(f"local_llm_gpu_lost{{{HOSTS}}}", GPU),
            alerts=(alert("LocalLlmGpuLost").counted(),),
            decimals=0,
        ),
        Panel(
            "Work of each GPU",
            "Share of the time in which a kernel ran. With several GPUs for one model all should do about the same.",
            "One GPU at 100 % beside others that wait: it hangs. Look for XIDs below.",
            "percentunit",
            one(f"local_llm_gpu_utilization_ratio{{{HOSTS}}}", GPU),
            alerts=(alert("LocalLlmGpuSaturated"), alert("LocalLlmGpuIdle")),
            top=1,
        ),
        Panel(
            "GPU memory in use",
            "Share of the memory of each GPU. vLLM takes its memory at the start and keeps it, so there a high value "
            "means nothing.",
            "For llama.cpp and Ollama: lower context or parallel requests. For vLLM look at the KV cache on the "
            "engine dashboard.",
            "percentunit",
            one(f"{used} / ({used} + local_llm_gpu_memory_free_bytes{{{HOSTS}}})", GPU),
            alerts=(alert("LocalLlmGpuMemoryHigh"),),
            top=1,
        ),
        Panel(
            "GPU memory by owner",
            "Who has the memory: an instance of this collection, another service, a container, somebody who is "
            "logged in, "
            "or nobody.",
            "Work of others on a host that serves takes memory and time from the model: ask them to move it.",
            "bytes",
            one(f"sum by (host, owner) (local_llm_gpu_process_memory_bytes{{{HOSTS}}})", "{{host}} {{owner}}"),
            stacked=True,
        ),
        Panel(
            "GPU memory without an owner",
            "Memory that belongs to no process, or to one that has ended. A little is normal.",
            "fuser -v /dev/nvidia* shows what may go; else the GPU needs a reset. Drain the host before.",
            "bytes",
            one(f'sum by (host, gpu) (local_llm_gpu_process_memory_bytes{{{HOSTS},owner=~"gone|nobody"}})', GPU),
            alerts=(alert("LocalLlmGpuMemoryWithoutOwner"),),
        ),
        Panel(
            "Temperature",
            "Temperature of each GPU. Near its own limit it lowers its clocks, and every answer slows down.",
            "All GPUs hot: the air in front of the host. One hot: its fan, its place, dust.",
            "celsius",
            one(f"local_llm_gpu_temperature_celsius{{{HOSTS}}}", GPU),
            alerts=(alert("LocalLlmGpuHot"), alert("LocalLlmGpuVeryHot")),
        ),
        Panel(
            "Temperature of the memory",
            "Temperature of each GPU's memory. Not every card tells it.",
            "Compare with the other GPUs of the host; the one that differs has a problem of its own.",
            "celsius",
            one(f"local_llm_gpu_memory_temperature_celsius{{{HOSTS}}}", GPU),
        ),
        Panel(
            "Power",
            "What each GPU draws. At its power limit it lowers its clocks.",
            "A GPU that draws idle power under load does not work: look at its instance.",
            "watt",
            one(f"local_llm_gpu_power_watts{{{HOSTS}}}", GPU),
        ),
        Panel(
            "Power that is allowed",
            "The power limit of each GPU. All cards of a kind should have the same.",
            "One that differs from its like: somebody set it, or it was lost at a reboot. Set it as on the others.",
            "watt",
            one(f"local_llm_gpu_power_limit_watts{{{HOSTS}}}", GPU),
        ),
        Panel(
            "Clocks",
            "Clocks of the processors of each GPU. An idle card lowers them; one that works should not.",
            "One lower than its like under the same load: the panel beside tells why.",
            "hertz",
            one(f"local_llm_gpu_sm_clock_hertz{{{HOSTS}}}", GPU),
        ),
        Panel(
            "Clocks lowered",
            "Share of the time in which a GPU ran slower than it could, by reason. sw_power_cap is normal under full "
            "load.",
            "hw_thermal and sw_thermal: cooling. hw_power_brake: power supplies and their cables.",
            "percentunit",
            one(
                f"rate(local_llm_gpu_throttle_seconds_total{{{HOSTS}}}{RANGE})",
                "{{host}} GPU {{gpu}} {{reason}}",
            ),
            alerts=(alert("LocalLlmGpuSlowedDown"),),
        ),
        Panel(
            "PCIe traffic",
            "Bytes a second between the host and each GPU, both ways. Much while a model is loaded, little while it "
            "serves.",
            "Much while it serves: part of the model does not fit the GPU and is computed from the host's memory.",
            "Bps",
            one(_both_ways("pcie"), GPU),
        ),
        Panel(
            "NVLink traffic",
            "Bytes a second between GPUs, both ways. A model on several GPUs uses it with every token.",
            "Nothing although a model uses several GPUs: it goes over PCIe, and is slow. Look at the links below.",
            "Bps",
            one(_both_ways("nvlink"), GPU),
        ),
    )


def _gpu_errors() -> tuple[Panel, ...]:
    return (
        Panel(
            "XIDs in 10 minutes",
            "Errors that the driver wrote to the kernel log, by code. Codes like 79 (fell off the bus) take the GPU "
            "out of service.",
            "Run the playbook health for the host: it says what a code means. Drain the host when the alert is "
            "critical.",
            "short",
            one(XIDS, "{{host}} GPU {{gpu}} XID {{xid}}"),
            alerts=(alert("LocalLlmGpuXidCritical").only_named(), alert("LocalLlmGpuXid").counted()),
            decimals=0,
        ),
        Panel(
            "ECC errors that could not be corrected",
            "In 10 minutes. Data was lost: the application that used it has ended, or its answers are wrong.",
            "Drain the host and reset the GPU. When it comes again, have the card replaced.",
            "short",
            one(f"increase(local_llm_gpu_ecc_uncorrected_total{{{HOSTS}}}[10m])", GPU),
            alerts=(alert("LocalLlmGpuEccUncorrected").counted(),),
            decimals=0,
        ),
        Panel(
            "ECC errors that were corrected",
            "In an hour. Nothing is lost; very many often come before one that cannot be corrected.",
            "Plan to reset the GPU, and watch whether they go on.",
            "short",
            one(f"increase(local_llm_gpu_ecc_corrected_total{{{HOSTS}}}[1h])", GPU),
            alerts=(alert("LocalLlmGpuEccCorrectedMany"),),
            decimals=0,
        ),
        Panel(
            "Bad rows that wait for a reset",
            "1 when the GPU found a bad row of memory and will replace it at the next reset. Until then the row is "
            "in use.",
            "Drain the host and reset the GPU at the next quiet time.",
            "none",
            one(f"local_llm_gpu_row_remap_pending{{{HOSTS}}}", GPU),
            alerts=(alert("LocalLlmGpuRowRemapPending").counted(),),
            decimals=0,
        ),
        Panel(
            "Bad rows without a spare",
            "1 when a bad row of memory could not be replaced. The card has to be replaced.",
            "Drain the host, collect the evidence with the playbook health, send the card back.",
            "none",
            one(f"local_llm_gpu_row_remap_failed{{{HOSTS}}}", GPU),
            alerts=(alert("LocalLlmGpuRowRemapFailed").counted(),),
            decimals=0,
        ),
        Panel(
            "PCIe packets sent again",
            "Packets a second that the link to the GPU had to repeat. A few are harmless; a steady stream slows "
            "every copy.",
            "Have the card and its riser seated again at the next quiet time; see runbook gpu_pci.",
            "cps",
            one(f"rate(local_llm_gpu_pcie_replay_total{{{HOSTS}}}{RANGE})", GPU),
        ),
        Panel(
            "PCIe lanes in use",
            "Share of the lanes that card and slot can do. Below 100 % a model loads slowly, and GPUs wait for each "
            "other.",
            "The card is not seated well, or shares its slot: have it seated again at the next quiet time; runbook "
            "gpu_pci.",
            "percentunit",
            one(f"local_llm_gpu_pcie_width{{{HOSTS}}} / local_llm_gpu_pcie_width_max{{{HOSTS}}}", GPU),
            top=1,
        ),
        Panel(
            "NVLinks that are up",
            "Links of each GPU. All GPUs of a host should have as many.",
            "One with fewer: drain the host; runbook gpu_fabric says what to try.",
            "short",
            one(f"local_llm_gpu_nvlink_active_links{{{HOSTS}}}", GPU),
            decimals=0,
        ),
        Panel(
            "NVLink errors",
            "Errors a second on the links of each GPU, by type. recovery is the one to mind.",
            "A steady stream: drain the host and run the playbook health; runbook gpu_fabric.",
            "cps",
            one(f"rate(local_llm_gpu_nvlink_errors_total{{{HOSTS}}}{RANGE})", "{{host}} GPU {{gpu}} {{type}}"),
        ),
        Panel(
            "Rows of memory that were replaced",
            "After errors that were corrected, and after others. A card has a limited number of spare rows.",
            "A few are harmless. When it grows by the week, ask for a replacement before the spares end.",
            "short",
            (
                *one(f"local_llm_gpu_row_remap_corrected_total{{{HOSTS}}}", f"{GPU} corrected"),
                *one(f"local_llm_gpu_row_remap_uncorrected_total{{{HOSTS}}}", f"{GPU} uncorrected"),
            ),
            decimals=0,
        ),
        Panel(
            "Kernel log can be read",
            "1 when the exporter sees the kernel log, which tells of XIDs. At 0 nobody is told of them.",
            "The exporter's journal says what is wrong. Look at gpu_exporter_kernel_log.",
            "none",
            one(f"local_llm_gpu_kernel_log_readable{{{HOSTS}}}", "{{host}}"),
            alerts=(alert("LocalLlmGpuLogUnreadable"),),
            decimals=0,
        ),
    )


def _both_ways(link: str) -> str:
    """Return the bytes a second that go to and from a GPU."""
    return " + ".join(
        f"rate(local_llm_gpu_{link}_{way}_bytes_total{{{HOSTS}}}{RANGE})" for way in ("received", "transmitted")
    )
