/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: PCI, NVLink, fabric, topology between devices.
 */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stdio.h>
#include <string.h>

typedef struct PciInfo {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} PciInfo;

typedef struct PciInfoExt {
    unsigned version, domain, bus, device, device_id, subsystem_id, base_class, sub_class;
    char bus_id[32];
} PciInfoExt;

static int fill_pci(const char *address, PciInfo *info)
{
    unsigned function;
    if (!address || sscanf(address, "%x:%x:%x.%x", &info->domain, &info->bus, &info->device, &function) != 4)
        return NOT_SUPPORTED;
    snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "%04X:%02X:%02X.%X", info->domain & 0xffff,
             info->bus & 0xff, info->device & 0x1f, function & 7);
    snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:%02X.%X", info->domain, info->bus, info->device, function);
    info->device_id = info->subsystem_id = 0;
    return OK;
}

static int gpu_pci(const Gpu *gpu, PciInfo *info)
{
    int64_t value;
    TRY(fill_pci(gpu_text(gpu, "pci.address"), info));
    TRY(gpu_number(gpu, "pci.device", &value));
    info->device_id = (unsigned)value;
    if (gpu_number(gpu, "pci.subsystem", &value) == OK)
        info->subsystem_id = (unsigned)value;
    return OK;
}

EXPORT int nvmlDeviceGetPciInfo_v3(Gpu *device, PciInfo *info)
{
    ENTER(device);
    return gpu_pci(device, info);
}

EXPORT int nvmlDeviceGetPciInfoExt(Gpu *device, PciInfoExt *info)
{
    PciInfo plain;
    ENTER(device);
    if (info->version != 0x1000040)
        return VERSION_MISMATCH;
    TRY(gpu_pci(device, &plain));
    *info = (PciInfoExt){0x1000040, plain.domain, plain.bus, plain.device, plain.device_id, plain.subsystem_id, 3, 2, ""};
    memcpy(info->bus_id, plain.bus_id, sizeof plain.bus_id);
    return OK;
}

/* Speed in Mbit/s of one lane by generation, as the interface hands it out. */
EXPORT int nvmlDeviceGetPcieSpeed(Gpu *device, unsigned *speed)
{
    static const unsigned speeds[] = {0, 2500, 5000, 8000, 16000, 32000, 64000};
    int64_t generation;
    ENTER(device);
    TRY(gpu_number(device, "pcie.generation_current", &generation));
    *speed = generation >= 0 && generation <= 6 ? speeds[generation] : 0;
    return OK;
}

#define LINK_NUMBER(function, key) \
    EXPORT int function(Gpu *device, unsigned link, unsigned *result) \
    { \
        int64_t value; \
        ENTER(device); \
        TRY(link_number(device, link, key, &value)); \
        *result = (unsigned)value; \
        return OK; \
    }

LINK_NUMBER(nvmlDeviceGetNvLinkState, "active")
LINK_NUMBER(nvmlDeviceGetNvLinkVersion, "version")
LINK_NUMBER(nvmlDeviceGetNvLinkRemoteDeviceType, "remote_type")

/* Capabilities: 0 P2P, 1 system memory, 2 and 3 atomics, 4 SLI, 5 valid. */
EXPORT int nvmlDeviceGetNvLinkCapability(Gpu *device, unsigned link, unsigned capability, unsigned *result)
{
    int64_t active;
    ENTER(device);
    TRY(link_number(device, link, "active", &active));
    if (capability > 5)
        return INVALID_ARGUMENT;
    *result = active && capability != 4;
    return OK;
}

/* Counters: 0 replay, 1 recovery, 2 CRC of flits, 3 CRC of data, 4 ECC. */
EXPORT int nvmlDeviceGetNvLinkErrorCounter(Gpu *device, unsigned link, unsigned counter, unsigned long long *result)
{
    static const char *const keys[] = {"replay_errors", "recovery_errors", "crc_errors", "crc_data_errors", "ecc_errors"};
    int64_t value;
    ENTER(device);
    if (counter > 4)
        return INVALID_ARGUMENT;
    TRY(link_number(device, link, keys[counter], &value));
    *result = (unsigned long long)value;
    return OK;
}

EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(Gpu *device, unsigned link, PciInfo *info)
{
    int64_t active;
    ENTER(device);
    TRY(link_number(device, link, "active", &active));
    return fill_pci(link_text(device, link, "remote_pci"), info);
}

typedef struct Fabric {
    unsigned char cluster[16];
    int status;
    uint32_t clique;
    unsigned char state;
} Fabric;

typedef struct FabricV {
    unsigned version;
    unsigned char cluster[16];
    int status;
    uint32_t clique;
    unsigned char state;
    uint32_t health_mask;
    unsigned char health_summary; /* version 3 only */
} FabricV;

static int fabric(const Gpu *device, FabricV *info)
{
    int64_t value;
    TRY(gpu_number(device, "fabric.state", &value));
    info->state = (unsigned char)value;
    memset(info->cluster, 0, sizeof info->cluster);
    info->status = gpu_number(device, "fabric.status", &value) == OK ? (int)value : 0;
    info->clique = gpu_number(device, "fabric.clique", &value) == OK ? (uint32_t)value : 0;
    info->health_mask = gpu_number(device, "fabric.health_mask", &value) == OK ? (uint32_t)value : 0;
    if (info->version >> 24 == 3)
        info->health_summary = gpu_number(device, "fabric.health_summary", &value) == OK ? (unsigned char)value : 0;
    return OK;
}

EXPORT int nvmlDeviceGetGpuFabricInfo(Gpu *device, Fabric *info)
{
    FabricV found = {.version = 0x2000024};
    ENTER(device);
    TRY(fabric(device, &found));
    *info = (Fabric){{0}, found.status, found.clique, found.state};
    return OK;
}

/* A driver of the scenario that knows version 2 only says so with fabric.highest_version 2. */
EXPORT int nvmlDeviceGetGpuFabricInfoV(Gpu *device, FabricV *info)
{
    int64_t highest = 3;
    ENTER(device);
    (void)gpu_number(device, "fabric.highest_version", &highest);
    if ((info->version != 0x2000024 && info->version != 0x3000028) || info->version >> 24 > highest)
        return VERSION_MISMATCH;
    return fabric(device, info);
}

/* What <kind>.<a>.<b> says, the lower index first, else <kind>.* */
static int between(const Gpu *one, const Gpu *two, const char *kind, const char *suffix, int64_t *value)
{
    char key[KEY_SIZE];
    int a = one->index < two->index ? one->index : two->index, b = one->index < two->index ? two->index : one->index;
    snprintf(key, sizeof key, "%s.%d.%d%s", kind, a, b, suffix);
    if (system_number(key, value) == OK)
        return OK;
    snprintf(key, sizeof key, "%s.*%s", kind, suffix);
    return system_number(key, value);
}

/* Levels: 0 internal, 10 one switch, 20 several switches, 30 host bridge, 40 NUMA node, 50 system. */
EXPORT int nvmlDeviceGetTopologyCommonAncestor(Gpu *one, Gpu *two, unsigned *level)
{
    int64_t value;
    ENTER(one);
    ENTER(two);
    TRY(between(one, two, "topology", "", &value));
    *level = (unsigned)value;
    return OK;
}

/* Kinds: 0 read, 1 write, 2 NVLink, 3 atomics, 4 PCI. Results: 0 ok, 4 disabled, 5 not supported, 6 unknown. */
EXPORT int nvmlDeviceGetP2PStatus(Gpu *one, Gpu *two, unsigned kind, unsigned *status)
{
    static const char *const suffixes[] = {".read", ".write", ".nvlink", ".atomics", ".pci"};
    int64_t value;
    ENTER(one);
    ENTER(two);
    if (kind > 4)
        return INVALID_ARGUMENT;
    *status = between(one, two, "p2p", suffixes[kind], &value) == OK ? (unsigned)value : 5;
    return OK;
}
