/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: start, versions, handles, identity of a device.
 */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    int64_t code = OK;
    (void)flags;
    ENTER_SYSTEM();
    if (system_number("init_code", &code) == OK && code != OK)
        return (int)code;
    set_initialised(1);
    return OK;
}

EXPORT int nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlInit(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlShutdown(void)
{
    ENTER_SYSTEM();
    if (set_initialised(0) == 0)
        return UNINITIALIZED;
    set_initialised(-1);
    return OK;
}

EXPORT const char *nvmlErrorString(int code)
{
    switch (code) {
    case OK:
        return "Success";
    case UNINITIALIZED:
        return "Uninitialized";
    case INVALID_ARGUMENT:
        return "Invalid Argument";
    case NOT_SUPPORTED:
        return "Not Supported";
    case DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case GPU_IS_LOST:
        return "GPU is lost";
    case 18:
        return "Driver/library version mismatch";
    default:
        return "Unknown Error";
    }
}

#define NEEDS_INIT() \
    do { \
        if (set_initialised(0) == 0) \
            return UNINITIALIZED; \
    } while (0)

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned size)
{
    ENTER_SYSTEM();
    NEEDS_INIT();
    return copy_text(system_text("driver_version"), version, size);
}

EXPORT int nvmlSystemGetNVMLVersion(char *version, unsigned size)
{
    ENTER_SYSTEM();
    NEEDS_INIT();
    return copy_text(system_text("nvml_version"), version, size);
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    int64_t value;
    ENTER_SYSTEM();
    NEEDS_INIT();
    TRY(system_number("cuda_version", &value));
    *version = (int)value;
    return OK;
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned size)
{
    char key[KEY_SIZE];
    ENTER_SYSTEM();
    NEEDS_INIT();
    snprintf(key, sizeof key, "process_name.%u", pid);
    const char *text = system_text(key);
    return text ? copy_text(text, name, size) : NOT_FOUND;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER_SYSTEM();
    NEEDS_INIT();
    *count = (unsigned)gpu_count();
    return OK;
}

EXPORT int nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **device)
{
    if (index >= MAX_GPUS)
        return INVALID_ARGUMENT;
    ENTER(gpu_at((int)index));
    *device = gpu_at((int)index);
    return OK;
}

EXPORT int nvmlDeviceGetHandleByIndex(unsigned index, Gpu **device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

/* Find a device by one of its texts. */
static int find(const char *function, const char *key, const char *wanted, Gpu **device)
{
    TRY(enter(function, 0, 0));
    NEEDS_INIT();
    for (int index = 0; wanted && index < gpu_count(); index++) {
        const char *text = gpu_text(gpu_at(index), key);
        if (text && strcasecmp(text, wanted) == 0) {
            TRY(enter(function, gpu_at(index), 1));
            *device = gpu_at(index);
            return OK;
        }
    }
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **device)
{
    return find(__func__, "uuid", uuid, device);
}

EXPORT int nvmlDeviceGetHandleBySerial(const char *serial, Gpu **device)
{
    return find(__func__, "serial", serial, device);
}

/* The domain may have four or eight digits, as in 0000:18:00.0 and 00000000:18:00.0. */
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *address, Gpu **device)
{
    unsigned domain, bus, slot, function = 0;
    char text[40];
    if (!address || sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3)
        return INVALID_ARGUMENT;
    snprintf(text, sizeof text, "%04x:%02x:%02x.%x", domain, bus, slot, function);
    return find(__func__, "pci.address", text, device);
}

EXPORT int nvmlDeviceGetHandleByPciBusId(const char *address, Gpu **device)
{
    return nvmlDeviceGetHandleByPciBusId_v2(address, device);
}

/* Functions that hand out one text of the device. */
#define TEXT(function, key) \
    EXPORT int function(Gpu *device, char *text, unsigned size) \
    { \
        ENTER(device); \
        return copy_text(gpu_text(device, key), text, size); \
    }

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetVbiosVersion, "vbios_version")
TEXT(nvmlDeviceGetInforomImageVersion, "inforom_version")
TEXT(nvmlDeviceGetBoardPartNumber, "board_part_number")

EXPORT int nvmlDeviceGetInforomVersion(Gpu *device, unsigned object, char *text, unsigned size)
{
    static const char *const keys[] = {"inforom.oem", "inforom.ecc", "inforom.power"};
    ENTER(device);
    if (object > 2)
        return INVALID_ARGUMENT;
    return copy_text(gpu_text(device, keys[object]), text, size);
}

EXPORT int nvmlDeviceGetGspFirmwareVersion(Gpu *device, char *text)
{
    ENTER(device);
    return copy_text(gpu_text(device, "gsp_firmware_version"), text, 64);
}

EXPORT int nvmlDeviceGetIndex(Gpu *device, unsigned *index)
{
    ENTER(device);
    *index = (unsigned)device->index;
    return OK;
}
