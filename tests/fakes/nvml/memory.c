/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: memory, ECC, row remapping, retired pages, repair, processes.
 */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stdio.h>
#include <string.h>

typedef unsigned long long u64;

typedef struct Memory {
    u64 total, free, used;
} Memory;

typedef struct MemoryV2 {
    unsigned version;
    u64 total, reserved, free, used;
} MemoryV2;

static u64 number_or(const Gpu *device, const char *key, u64 otherwise)
{
    int64_t value;
    return gpu_number(device, key, &value) == OK ? (u64)value : otherwise;
}

/* The scenario says total, reserved and used; free is what is left. Version 1 counts the reserved bytes as used. */
static int read_memory(const Gpu *device, MemoryV2 *memory)
{
    memory->total = number_or(device, "memory.total", 0);
    if (!memory->total)
        return NOT_SUPPORTED;
    memory->reserved = number_or(device, "memory.reserved", 0);
    memory->used = number_or(device, "memory.used", 0);
    u64 taken = memory->reserved + memory->used;
    memory->free = taken < memory->total ? memory->total - taken : 0;
    return OK;
}

EXPORT int nvmlDeviceGetMemoryInfo(Gpu *device, Memory *memory)
{
    MemoryV2 found;
    ENTER(device);
    TRY(read_memory(device, &found));
    *memory = (Memory){found.total, found.free, found.used + found.reserved};
    return OK;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(Gpu *device, MemoryV2 *memory)
{
    ENTER(device);
    if (memory->version != 0x2000028)
        return VERSION_MISMATCH;
    return read_memory(device, memory);
}

EXPORT int nvmlDeviceGetBAR1MemoryInfo(Gpu *device, Memory *memory)
{
    ENTER(device);
    u64 total = number_or(device, "bar1.total", 0), used = number_or(device, "bar1.used", 0);
    if (!total)
        return NOT_SUPPORTED;
    *memory = (Memory){total, total - used, used};
    return OK;
}

static const char *ecc_key(unsigned type, unsigned counter)
{
    static const char *const keys[2][2] = {{"ecc.volatile_corrected", "ecc.aggregate_corrected"},
                                           {"ecc.volatile_uncorrected", "ecc.aggregate_uncorrected"}};
    return type < 2 && counter < 2 ? keys[type][counter] : NULL;
}

EXPORT int nvmlDeviceGetTotalEccErrors(Gpu *device, unsigned type, unsigned counter, u64 *count)
{
    int64_t value;
    ENTER(device);
    if (!ecc_key(type, counter))
        return INVALID_ARGUMENT;
    TRY(gpu_number(device, ecc_key(type, counter), &value));
    *count = (u64)value;
    return OK;
}

/* Location 7 is SRAM, 2 is DRAM (the rest of the total); other places have no counters. */
EXPORT int nvmlDeviceGetMemoryErrorCounter(Gpu *device, unsigned type, unsigned counter, unsigned place, u64 *count)
{
    int64_t total;
    u64 sram;
    ENTER(device);
    if (!ecc_key(type, counter) || place > 8)
        return INVALID_ARGUMENT;
    if (place != 7 && place != 2)
        return NOT_SUPPORTED;
    TRY(gpu_number(device, ecc_key(type, counter), &total));
    if (type == 0)
        sram = number_or(device, counter ? "sram.aggregate_corrected" : "sram.volatile_corrected", 0);
    else
        sram = number_or(device, counter ? "sram.aggregate_parity" : "sram.volatile_parity", 0) +
               number_or(device, counter ? "sram.aggregate_secded" : "sram.volatile_secded", 0);
    *count = place == 7 ? sram : (u64)total > sram ? (u64)total - sram : 0;
    return OK;
}

typedef struct SramStatus {
    unsigned version;
    u64 aggregate_parity, aggregate_secded, aggregate_corrected, volatile_parity, volatile_secded, volatile_corrected;
    u64 bucket_l2, bucket_sm, bucket_pcie, bucket_mcu, bucket_other;
    unsigned threshold_exceeded;
} SramStatus;

EXPORT int nvmlDeviceGetSramEccErrorStatus(Gpu *device, SramStatus *status)
{
    static const char *const keys[] = {
        "sram.aggregate_parity", "sram.aggregate_secded", "sram.aggregate_corrected", "sram.volatile_parity",
        "sram.volatile_secded",  "sram.volatile_corrected", "sram.bucket_l2",         "sram.bucket_sm",
        "sram.bucket_pcie",      "sram.bucket_mcu",         "sram.bucket_other"};
    u64 *counters = &status->aggregate_parity;
    int64_t exceeded;
    ENTER(device);
    if (status->version != 0x1000068)
        return VERSION_MISMATCH;
    TRY(gpu_number(device, "sram.threshold_exceeded", &exceeded));
    for (unsigned at = 0; at < sizeof keys / sizeof *keys; at++)
        counters[at] = number_or(device, keys[at], 0);
    status->threshold_exceeded = (unsigned)exceeded;
    return OK;
}

EXPORT int nvmlDeviceGetRemappedRows(Gpu *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failed)
{
    int64_t value;
    ENTER(device);
    TRY(gpu_number(device, "row_remap.failed", &value));
    *failed = (unsigned)value;
    *corrected = (unsigned)number_or(device, "row_remap.corrected", 0);
    *uncorrected = (unsigned)number_or(device, "row_remap.uncorrected", 0);
    *pending = (unsigned)number_or(device, "row_remap.pending", 0);
    return OK;
}

EXPORT int nvmlDeviceGetRowRemapperHistogram(Gpu *device, unsigned banks[5])
{
    static const char *const keys[] = {"row_remap.histogram.max", "row_remap.histogram.high",
                                       "row_remap.histogram.partial", "row_remap.histogram.low",
                                       "row_remap.histogram.none"};
    ENTER(device);
    if (!gpu_text(device, keys[0]))
        return NOT_SUPPORTED;
    for (int at = 0; at < 5; at++)
        banks[at] = (unsigned)number_or(device, keys[at], 0);
    return OK;
}

/* The scenario says how many pages; addresses and times are made up. Cause 0: single bit, 1: double bit. */
static int retired(const Gpu *device, unsigned cause, unsigned *count, u64 *pages, u64 *times)
{
    int64_t number;
    if (cause > 1 || !count)
        return INVALID_ARGUMENT;
    TRY(gpu_number(device, cause ? "retired.double_bit" : "retired.single_bit", &number));
    unsigned room = *count;
    *count = (unsigned)number;
    if (!pages || room < number)
        return number ? INSUFFICIENT_SIZE : OK;
    for (unsigned at = 0; at < number; at++) {
        pages[at] = 0x10000ull * (at + 1);
        if (times)
            times[at] = 1700000000ull + at;
    }
    return OK;
}

EXPORT int nvmlDeviceGetRetiredPages(Gpu *device, unsigned cause, unsigned *count, u64 *pages)
{
    ENTER(device);
    return retired(device, cause, count, pages, NULL);
}

EXPORT int nvmlDeviceGetRetiredPages_v2(Gpu *device, unsigned cause, unsigned *count, u64 *pages, u64 *times)
{
    ENTER(device);
    return retired(device, cause, count, pages, times);
}

EXPORT int nvmlDeviceGetRepairStatus(Gpu *device, unsigned status[3])
{
    int64_t channel;
    ENTER(device);
    if (status[0] != 0x100000C)
        return VERSION_MISMATCH;
    TRY(gpu_number(device, "repair.channel_pending", &channel));
    status[1] = (unsigned)channel;
    status[2] = (unsigned)number_or(device, "repair.tpc_pending", 0);
    return OK;
}

EXPORT int nvmlDeviceGetUnrepairableMemoryFlag_v1(Gpu *device, unsigned status[2])
{
    int64_t flag;
    ENTER(device);
    if (status[0] && status[0] != 0x1000008)
        return VERSION_MISMATCH;
    TRY(gpu_number(device, "repair.unrepairable_memory", &flag));
    status[1] = (unsigned)flag;
    return OK;
}

typedef struct Process {
    unsigned pid;
    u64 used;
    unsigned gpu_instance, compute_instance;
} Process;

/* Lines gpu.N.process.K <kind> <pid> <bytes or ->. The first call has no room and learns the number. */
static int processes(const Gpu *device, const char *wanted, unsigned *count, Process *list)
{
    unsigned room = *count, number = 0;
    for (int at = 0;; at++) {
        char key[KEY_SIZE], kind[16], bytes[32];
        unsigned pid;
        snprintf(key, sizeof key, "process.%d", at);
        const char *line = gpu_text(device, key);
        if (!line)
            break;
        if (sscanf(line, "%15s %u %31s", kind, &pid, bytes) != 3 || strcmp(kind, wanted) != 0)
            continue;
        if (list && number < room) {
            u64 used = ~0ull;
            sscanf(bytes, "%llu", &used);
            list[number] = (Process){pid, used, ~0u, ~0u};
        }
        number++;
    }
    *count = number;
    return number && (!list || number > room) ? INSUFFICIENT_SIZE : OK;
}

#define PROCESSES(function, kind) \
    EXPORT int function(Gpu *device, unsigned *count, Process *list) \
    { \
        ENTER(device); \
        return count ? processes(device, kind, count, list) : INVALID_ARGUMENT; \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps")
