/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: what its files share. It stands for the library of the driver in tests; there is no GPU behind it.
 */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_GPUS 64
#define MAX_LINKS 18
#define KEY_SIZE 160

/* Return codes, as the interface numbers them. */
enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    VERSION_MISMATCH = 25,
};

typedef struct Gpu {
    int index;
} Gpu;

/* scenario.c: values by key. NULL or NOT_SUPPORTED when the scenario does not name the key. */
const char *system_text(const char *key);
int system_number(const char *key, int64_t *value);
const char *gpu_text(const Gpu *gpu, const char *key);
int gpu_number(const Gpu *gpu, const char *key, int64_t *value);
int link_number(const Gpu *gpu, unsigned link, const char *key, int64_t *value);
const char *link_text(const Gpu *gpu, unsigned link, const char *key);
int copy_text(const char *text, char *to, unsigned size);

/* scenario.c: handles and what every call does first (re-read the scenario, hang, delay, fail as it says). */
int gpu_count(void);
Gpu *gpu_at(int index);
int set_initialised(int change);
int enter(const char *function, const Gpu *gpu, int needs_gpu);

#define ENTER_SYSTEM() \
    do { \
        int entered = enter(__func__, 0, 0); \
        if (entered != OK) \
            return entered; \
    } while (0)
#define ENTER(gpu) \
    do { \
        int entered = enter(__func__, gpu, 1); \
        if (entered != OK) \
            return entered; \
    } while (0)
/* Leave the function with the code when a value is not there. */
#define TRY(expression) \
    do { \
        int tried = (expression); \
        if (tried != OK) \
            return tried; \
    } while (0)

#endif
