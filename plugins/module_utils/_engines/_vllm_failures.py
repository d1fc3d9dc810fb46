# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change without notice.
"""What vLLM's log says when a start fails: the cause in one sentence, and what to do.

The engine's last lines ("Engine core initialization failed. See root cause above") name no cause; the cause is tens to
hundreds of lines earlier. Lines seen on version 0.32.0, and in the source of 0.33.0 what a machine without a GPU cannot
show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# (pattern, sentence). The first pattern that is found anywhere counts: what is specific stands before what it causes.
# {1} and so on are the groups of the pattern.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"Failed to import from vllm\._C\w*: ImportError\('(\S+?): cannot open shared object",
        "the host lacks the system library {1}. Install the Debian package that has it, and add it to "
        "vllm_system_packages",
    ),
    (
        r"model's max seq len \((\d+)\).*?\(([\d.]+) GiB KV.*?memory \(([\d.]+) GiB\).*?"
        r"estimated maximum model length is (\d+)",
        "the cache is too small: one request of max_model_len = {1} needs {2} GiB, {3} GiB are left. Set "
        "config.max_model_len to {4} or less, or raise gpu_memory_utilization",
    ),
    (
        r"model's max seq len \((\d+)\).*?\(([\d.]+) GiB KV.*?memory \(([\d.]+) GiB\)",
        "the cache is too small: one request of max_model_len = {1} needs {2} GiB, {3} GiB are left. Lower "
        "config.max_model_len, or raise gpu_memory_utilization",
    ),
    (
        r"No available memory for the cache blocks",
        "weights and working memory leave nothing for the cache. Raise gpu_memory_utilization, lower "
        "max_num_batched_tokens, or take a smaller model or more GPUs",
    ),
    (
        r"Free memory on device\s*(\S*?)\s*\(([\d.]+)/([\d.]+) GiB\) on startup",
        "another process holds memory of GPU {1}: {2} of {3} GiB are free, less than gpu_memory_utilization asks for. "
        "nvidia-smi names the process; end it, or lower gpu_memory_utilization",
    ),
    (
        r"Available memory on node (\d+) \(([\d.]+)/([\d.]+) GiB\) on kv cache allocation is less than requested "
        r"memory for kv \(([\d.]+) GiB\)",
        "the host has too little memory for the cache: {2} of {3} GiB are free, {4} GiB are asked for. Lower "
        "config.cpu_kv_cache_gibibytes or kv_cache_memory_bytes",
    ),
    (
        r"Available memory on node (\d+) \(([\d.]+)/([\d.]+) GiB\).*?less than",
        "the host has too little free memory: {2} of {3} GiB. Free some, or lower gpu_memory_utilization",
    ),
    (
        r"out of memory occurred when warming up",
        "the GPU's memory ran out while warming up. Lower config.max_num_seqs or gpu_memory_utilization",
    ),
    (
        r"OutOfMemoryError|CUDA out of memory|HIP out of memory",
        "the GPU's memory ran out. Lower gpu_memory_utilization, max_num_batched_tokens or max_num_seqs, or see with "
        "nvidia-smi who else uses the GPU",
    ),
    (
        r"NVIDIA driver on your system is too old",
        "the NVIDIA driver is too old for this build of the engine. Upgrade the driver, or take a build for the older "
        "CUDA version",
    ),
    (
        r"Driver/library version mismatch",
        "the NVIDIA driver was upgraded while its old kernel module is loaded. Restart the host",
    ),
    (
        r"no kernel image is available for execution on the device",
        "this build of the engine has no code for this GPU. It needs compute capability 7.5 or newer, and a build that "
        "knows the GPU",
    ),
    (
        r"not supported for the current GPU\.? (?:Min(?:imum)?|Required) capability: (\d+)\.? "
        r"Current capability: (\d+)",
        "the GPU cannot do this quantisation: it has compute capability {2}, {1} is needed. Take another quantisation "
        "of the model",
    ),
    (
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len.*?=(\d+)",
        "max_model_len = {1} is more than the model's {2}. Set config.max_model_len to {2} or less",
    ),
    (
        r"World size \((\d+)\) is larger than the number of available GPUs",
        "the engine wants {1} GPUs and sees fewer. Lower tensor_parallel_size, or give the instance more gpus",
    ),
    (
        r"(Total number of attention heads \(\d+\) must be divisible by tensor parallel size \(?\d+\)?)",
        "{1}. Set config.tensor_parallel_size to a number that divides it",
    ),
    (
        r"invalid (tool call|reasoning) parser: (\S+)",
        "this version knows no {1} parser {2}. Correct config.tool_call_parser or reasoning_parser",
    ),
    (
        r"SafetensorError: ([^\[]{1,120})",
        "a file of weights is damaged ({1}). Install the model again; its SHA-256 in the inventory is that of the "
        "damaged file, so fetch it afresh",
    ),
    (
        r"Address already in use",
        "another program has the port. 'ss -ltnp' names it; end it, or choose another port",
    ),
    (
        r"unrecognized arguments: (.{1,200})",
        "this version of the engine does not know {1}. Take it out of config, or use another version",
    ),
    (r"vllm(?: serve)?: error: (.{1,200})", "the engine refuses an argument: {1}. Correct config"),
    (
        r"contains custom code which must be executed|trust_remote_code=True",
        "the model brings Python code of its own, which is not run. Use a model without, or name it in "
        "config.allow_remote_code_of",
    ),
    (
        r"doesn't support torch\.bfloat16|Bfloat16 is only supported on GPUs",
        "the GPU does not know bfloat16. Set config.dtype to 'float16'",
    ),
    (
        r"Worker proc (\S+) died unexpectedly \(exit code: (\S+?)\)",
        "the process {1} of the engine died (exit code {2}; -9 is the kernel, mostly for want of memory: see dmesg)",
    ),
    (
        r"validation error for \S+ (?:Value error, )?([^\[]{1,200})",
        "the engine refuses its configuration: {1}. Correct config",
    ),
    (
        r"EngineCore encountered a fatal error",
        "the engine died while it served. The lines before say why: journalctl -u of the instance",
    ),
)
_FAILED = re.compile(r"EngineCore failed to start|Engine core initialization failed|WorkerProc failed to start")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?([A-Z]\w*(?:Error|Exception)): (.{1,200})")
# What the journal and the engine put before a message.
_PREFIX = re.compile(
    r"^(?:\S+ \S+ \S+\[\d+\]: )?(?:\(\S+ pid=\d+\) )?(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?)?"
)


def cause(lines: Sequence[str]) -> str:
    """Return the cause with its fix as one sentence, or an empty text when no line is known."""
    plain = [_PREFIX.sub("", line).strip() for line in lines]
    text = " ".join(plain)
    for pattern, sentence in _CAUSES:
        # One line alone where that is enough: a sentence shall not run into the next line.
        found = next(filter(None, (re.search(pattern, line) for line in plain)), None) or re.search(pattern, text)
        if found:
            groups = ["", *(group.strip() if group else "" for group in found.groups())]
            return sentence.format(*groups)
    if not _FAILED.search(text):
        return ""
    exceptions = [found for found in map(_EXCEPTION.match, plain) if found and "initialization failed" not in found[2]]
    first = exceptions[0] if exceptions else None
    if first:
        return f"the engine failed while it loaded: {first[1]}: {first[2]}"
    return "the engine failed while it loaded; the cause stands before this in its log: journalctl -u of the instance"
