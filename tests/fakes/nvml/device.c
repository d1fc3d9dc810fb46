/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: readings of one device that are a number or a pair of numbers.
 */
#include "fake_nvml.h"

#include <stdio.h>

typedef struct TemperatureReading {
    unsigned version, sensor;
    int celsius;
} TemperatureReading;

typedef struct MarginReading {
    unsigned version;
    int celsius;
} MarginReading;

/* Functions that hand out one number of the device. */
#define NUMBER(function, type, key) \
    EXPORT int function(Gpu *device, type *result) \
    { \
        int64_t value; \
        ENTER(device); \
        if (!result) \
            return INVALID_ARGUMENT; \
        TRY(gpu_number(device, key, &value)); \
        *result = (type)value; \
        return OK; \
    }

NUMBER(nvmlDeviceGetArchitecture, unsigned, "architecture")
NUMBER(nvmlDeviceGetBrand, unsigned, "brand")
NUMBER(nvmlDeviceGetBusType, unsigned, "bus_type")
NUMBER(nvmlDeviceGetNumGpuCores, unsigned, "cores")
NUMBER(nvmlDeviceGetMinorNumber, unsigned, "minor_number")
NUMBER(nvmlDeviceGetNumaNodeId, int, "numa_node_id")
NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, "memory.bus_width_bits")
NUMBER(nvmlDeviceGetPerformanceState, unsigned, "performance_state")
NUMBER(nvmlDeviceGetPowerState, unsigned, "performance_state")
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, "persistence_mode")
NUMBER(nvmlDeviceGetComputeMode, unsigned, "compute_mode")
NUMBER(nvmlDeviceGetDisplayMode, unsigned, "display_mode")
NUMBER(nvmlDeviceGetDisplayActive, unsigned, "display_active")
NUMBER(nvmlDeviceGetFanSpeed, unsigned, "fan_percent")
NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power.usage_mw")
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, "power.limit_mw")
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "power.default_limit_mw")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power.enforced_limit_mw")
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "power.energy_mj")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, "pcie.generation_current")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, "pcie.generation_max")
NUMBER(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, "pcie.generation_gpu_max")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "pcie.width_current")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, "pcie.width_max")
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, "pcie.replay_count")
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, unsigned, "retired.pending")
NUMBER(nvmlDeviceGetMultiGpuBoard, unsigned, "multi_gpu_board")
NUMBER(nvmlDeviceGetInforomConfigurationChecksum, unsigned, "inforom.checksum")
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "clock_event_reasons")
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "clock_event_reasons")
NUMBER(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, "clock_event_reasons_supported")
NUMBER(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, "clock_event_reasons_supported")
NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, "mig.max_devices")

static int pair(const Gpu *device, const char *first, unsigned *a, const char *second, unsigned *b)
{
    int64_t one, two;
    if (!a || !b)
        return INVALID_ARGUMENT;
    TRY(gpu_number(device, first, &one));
    TRY(gpu_number(device, second, &two));
    *a = (unsigned)one;
    *b = (unsigned)two;
    return OK;
}

/* Functions that hand out two numbers of the device. */
#define PAIR(function, first, second) \
    EXPORT int function(Gpu *device, unsigned *a, unsigned *b) \
    { \
        ENTER(device); \
        return pair(device, first, a, second, b); \
    }

PAIR(nvmlDeviceGetCudaComputeCapability, "compute_capability.major", "compute_capability.minor")
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, "power.min_limit_mw", "power.max_limit_mw")
PAIR(nvmlDeviceGetEccMode, "ecc.mode_current", "ecc.mode_pending")
PAIR(nvmlDeviceGetMigMode, "mig.current", "mig.pending")
PAIR(nvmlDeviceGetGspFirmwareMode, "gsp.enabled", "gsp.default")

EXPORT int nvmlDeviceGetUtilizationRates(Gpu *device, unsigned rates[2])
{
    ENTER(device);
    return rates ? pair(device, "utilization.gpu", &rates[0], "utilization.memory", &rates[1]) : INVALID_ARGUMENT;
}

EXPORT int nvmlDeviceValidateInforom(Gpu *device)
{
    int64_t code;
    ENTER(device);
    TRY(gpu_number(device, "inforom.validate_code", &code));
    return (int)code;
}

static int clock_of(const Gpu *device, unsigned type, const char *suffix, unsigned *clock)
{
    static const char *const names[] = {"graphics", "sm", "memory", "video"};
    char key[KEY_SIZE];
    int64_t value;
    if (type > 3 || !clock)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "clock.%s%s", names[type], suffix);
    TRY(gpu_number(device, key, &value));
    *clock = (unsigned)value;
    return OK;
}

EXPORT int nvmlDeviceGetClockInfo(Gpu *device, unsigned type, unsigned *clock)
{
    ENTER(device);
    return clock_of(device, type, "_mhz", clock);
}

EXPORT int nvmlDeviceGetMaxClockInfo(Gpu *device, unsigned type, unsigned *clock)
{
    ENTER(device);
    return clock_of(device, type, "_max_mhz", clock);
}

/* Ids: 0 current, 3 highest boost; the application clocks are not faked. */
EXPORT int nvmlDeviceGetClock(Gpu *device, unsigned type, unsigned id, unsigned *clock)
{
    ENTER(device);
    if (id != 0 && id != 3)
        return NOT_SUPPORTED;
    return clock_of(device, type, id ? "_max_mhz" : "_mhz", clock);
}

/* Sensor 0 is the GPU; sensor 1 exists on few cards only (key temperature.sensor1). */
static int temperature(const Gpu *device, unsigned sensor, int *result)
{
    int64_t value;
    if (sensor > 1 || !result)
        return INVALID_ARGUMENT;
    TRY(gpu_number(device, sensor ? "temperature.sensor1" : "temperature.gpu", &value));
    *result = (int)value;
    return OK;
}

EXPORT int nvmlDeviceGetTemperature(Gpu *device, unsigned sensor, int *result)
{
    ENTER(device);
    return sensor ? INVALID_ARGUMENT : temperature(device, sensor, result);
}

EXPORT int nvmlDeviceGetTemperatureV(Gpu *device, TemperatureReading *reading)
{
    ENTER(device);
    if (reading->version != 0x100000C)
        return VERSION_MISMATCH;
    return temperature(device, reading->sensor, &reading->celsius);
}

EXPORT int nvmlDeviceGetTemperatureThreshold(Gpu *device, unsigned kind, unsigned *result)
{
    static const char *const keys[] = {"temperature.shutdown", "temperature.slowdown", "temperature.memory_max",
                                       "temperature.gpu_max"};
    int64_t value;
    ENTER(device);
    if (kind > 7 || !result)
        return INVALID_ARGUMENT;
    if (kind > 3)
        return NOT_SUPPORTED;
    TRY(gpu_number(device, keys[kind], &value));
    *result = (unsigned)value;
    return OK;
}

EXPORT int nvmlDeviceGetMarginTemperature(Gpu *device, MarginReading *margin)
{
    int64_t value;
    ENTER(device);
    if (margin->version != 0x1000008)
        return VERSION_MISMATCH;
    TRY(gpu_number(device, "temperature.margin", &value));
    margin->celsius = (int)value;
    return OK;
}
