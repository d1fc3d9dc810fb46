/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: values by field number, and how long clocks were held back.
 */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <stdio.h>
#include <time.h>

enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, SIGNED_INT = 5 };

typedef struct FieldValue {
    uint32_t field, scope;
    int64_t timestamp, latency;
    unsigned type;
    int code;
    union {
        double d;
        unsigned ui;
        unsigned long ul;
        unsigned long long ull;
        long long sll;
        int si;
        unsigned short us;
    } value;
} FieldValue;

/* Fields that are another name of a key. A link key is that of the link in the scope. */
static const struct {
    unsigned field;
    unsigned type;
    int of_link;
    const char *key;
} FIELDS[] = {
    {74, UNSIGNED_LONG_LONG, 0, "event_ns.sw_power_cap"},
    {75, UNSIGNED_LONG_LONG, 0, "event_ns.sw_thermal"},
    {76, UNSIGNED_LONG_LONG, 0, "event_ns.sync_boost"},
    {82, UNSIGNED_INT, 0, "temperature.memory"},
    {83, UNSIGNED_LONG_LONG, 0, "power.energy_mj"},
    {91, UNSIGNED_INT, 0, "nvlink.count"},
    {94, UNSIGNED_INT, 0, "pcie.replay_count"},
    {142, UNSIGNED_INT, 0, "row_remap.corrected"},
    {143, UNSIGNED_INT, 0, "row_remap.uncorrected"},
    {144, UNSIGNED_INT, 0, "row_remap.pending"},
    {145, UNSIGNED_INT, 0, "row_remap.failed"},
    {161, UNSIGNED_LONG_LONG, 1, "replay_errors"},
    {162, UNSIGNED_LONG_LONG, 1, "recovery_errors"},
    {163, UNSIGNED_LONG_LONG, 1, "crc_errors"},
    {165, UNSIGNED_INT, 1, "active"},
    {166, UNSIGNED_INT, 1, "version"},
    {169, UNSIGNED_INT, 0, "pcie.l0_to_recovery_count"},
    {173, UNSIGNED_INT, 0, "pcie.correctable_errors"},
    {186, UNSIGNED_INT, 0, "power.usage_mw"},
    {193, SIGNED_INT, 0, "temperature.shutdown_tlimit"},
    {194, SIGNED_INT, 0, "temperature.slowdown_tlimit"},
    {195, SIGNED_INT, 0, "temperature.memory_max_tlimit"},
    {196, SIGNED_INT, 0, "temperature.gpu_max_tlimit"},
    {221, UNSIGNED_LONG_LONG, 1, "symbol_errors"},
    {230, UNSIGNED_INT, 0, "recovery_action"},
    {269, UNSIGNED_LONG_LONG, 0, "event_ns.sw_thermal"},
    {270, UNSIGNED_LONG_LONG, 0, "event_ns.hw_thermal"},
    {271, UNSIGNED_LONG_LONG, 0, "event_ns.hw_power_brake"},
};

/* Drivers 575.0 to 580.81 number 269, 270, 271 as 251, 252, 253; older ones do not know them. 0: not known. */
static unsigned field_of_today(unsigned field)
{
    const char *driver = system_text("driver_version");
    unsigned major = 0, minor = 0;
    if (!driver || sscanf(driver, "%u.%u", &major, &minor) != 2)
        return field;
    if (field < 251 || field > 271 || major > 580 || (major == 580 && minor >= 82))
        return field;
    if (major < 575 || field > 253)
        return 0;
    return field + 18;
}

/* The scenario may name any field by its number: field.<number>, with the type that the table above gives it.
 * field_code.<number> makes this entry alone fail. */
static void fill(const Gpu *device, FieldValue *entry)
{
    char key[KEY_SIZE];
    int64_t value = 0, code;
    snprintf(key, sizeof key, "field.%u", entry->field);
    entry->code = gpu_number(device, key, &value);
    entry->type = UNSIGNED_LONG_LONG;
    unsigned wanted = field_of_today(entry->field);
    for (unsigned at = 0; at < sizeof FIELDS / sizeof *FIELDS; at++) {
        if (FIELDS[at].field != wanted)
            continue;
        entry->type = FIELDS[at].type;
        if (entry->code != OK)
            entry->code = FIELDS[at].of_link ? link_number(device, entry->scope, FIELDS[at].key, &value)
                                             : gpu_number(device, FIELDS[at].key, &value);
    }
    snprintf(key, sizeof key, "field_code.%u", entry->field);
    entry->value.sll = 0;
    if (gpu_number(device, key, &code) == OK)
        entry->code = (int)code;
    if (entry->code != OK)
        return;
    if (entry->type == SIGNED_INT)
        entry->value.si = (int)value;
    else if (entry->type == UNSIGNED_INT)
        entry->value.ui = (unsigned)value;
    else
        entry->value.ull = (unsigned long long)value;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

EXPORT int nvmlDeviceGetFieldValues(Gpu *device, int count, FieldValue *values)
{
    ENTER(device);
    if (count < 1 || !values)
        return INVALID_ARGUMENT;
    for (int at = 0; at < count; at++) {
        fill(device, &values[at]);
        values[at].timestamp = now_us();
        values[at].latency = 1;
    }
    return OK;
}

typedef struct ViolationTime {
    unsigned long long reference_us, violation_ns;
} ViolationTime;

/* Policies: 0 power, 1 thermal (software and hardware), 2 sync boost, 3 board limit. */
EXPORT int nvmlDeviceGetViolationStatus(Gpu *device, unsigned policy, ViolationTime *time)
{
    static const char *const keys[] = {"event_ns.sw_power_cap", "event_ns.sw_thermal", "event_ns.sync_boost",
                                       "event_ns.board_limit"};
    int64_t value, hardware = 0;
    ENTER(device);
    if (policy > 11 || !time)
        return INVALID_ARGUMENT;
    if (policy > 3)
        return NOT_SUPPORTED;
    TRY(gpu_number(device, keys[policy], &value));
    if (policy == 1)
        (void)gpu_number(device, "event_ns.hw_thermal", &hardware);
    *time = (ViolationTime){(unsigned long long)now_us(), (unsigned long long)(value + hardware)};
    return OK;
}
