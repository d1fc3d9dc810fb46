/* Copyright (c) 2026, local_llm.ops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fake libnvidia-ml: the scenario file, read again whenever it changes, and the faults that any call may show.
 * The format is described in README.md beside this file.
 */
#define _GNU_SOURCE
#include "fake_nvml.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PATH "/etc/fake-nvml/scenario"

typedef struct Entry {
    const char *key;
    const char *value;
} Entry;

typedef struct Table {
    Entry *entries; /* open addressing; size is a power of two */
    size_t size;
    int has_hooks; /* the scenario names an error, hang or delay */
    struct stat seen;
} Table;

static Table *current;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Gpu gpus[MAX_GPUS];
static int initialised;

static size_t hash(const char *key)
{
    size_t value = 1469598103934665603u;
    for (; *key; key++)
        value = (value ^ (unsigned char)*key) * 1099511628211u;
    return value;
}

static Entry *slot(const Table *table, const char *key)
{
    size_t at = hash(key) & (table->size - 1);
    while (table->entries[at].key && strcmp(table->entries[at].key, key) != 0)
        at = (at + 1) & (table->size - 1);
    return &table->entries[at];
}

static void put_line(Table *table, char *line)
{
    line += strspn(line, " \t");
    if (!*line || *line == '#')
        return;
    char *value = line + strcspn(line, " \t");
    if (*value)
        *value++ = '\0';
    value += strspn(value, " \t");
    for (size_t end = strlen(value); end && strchr(" \t\r", value[end - 1]); end--)
        value[end - 1] = '\0';
    if (strstr(line, "error.") || strstr(line, "hang.") || strstr(line, "delay."))
        table->has_hooks = 1;
    Entry *entry = slot(table, line);
    entry->key = line;
    entry->value = value;
}

/* Tables that were replaced are kept: another thread may still read them, and a test's process is short. */
static Table *load(const char *path, const struct stat *seen)
{
    Table *table = calloc(1, sizeof *table);
    FILE *file = fopen(path, "re");
    char *text = calloc(1, (size_t)seen->st_size + 1);
    size_t length = file && text ? fread(text, 1, (size_t)seen->st_size, file) : 0;
    if (file)
        fclose(file);
    if (!table || !text)
        abort();
    size_t lines = 1;
    for (size_t at = 0; at < length; at++)
        lines += text[at] == '\n';
    for (table->size = 64; table->size < lines * 2; table->size *= 2)
        continue;
    table->entries = calloc(table->size, sizeof *table->entries);
    if (!table->entries)
        abort();
    table->seen = *seen;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")))
        put_line(table, line);
    return table;
}

static int unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_size == b->st_size &&
           a->st_ino == b->st_ino;
}

/* Make the scenario current; 0 when there is no file. */
static int refresh(void)
{
    const char *path = getenv("FAKE_NVML_SCENARIO");
    struct stat seen;
    int found = stat(path && *path ? path : DEFAULT_PATH, &seen) == 0;
    pthread_mutex_lock(&lock);
    if (found && (!current || !unchanged(&current->seen, &seen)))
        current = load(path && *path ? path : DEFAULT_PATH, &seen);
    pthread_mutex_unlock(&lock);
    return found;
}

const char *system_text(const char *key)
{
    return current ? slot(current, key)->value : NULL;
}

static int to_number(const char *text, int64_t *value)
{
    char *end = NULL;
    if (!text || !*text)
        return NOT_SUPPORTED;
    long long signed_value = strtoll(text, &end, 0);
    *value = *text == '-' ? signed_value : (int64_t)strtoull(text, &end, 0);
    return *end ? NOT_SUPPORTED : OK;
}

int system_number(const char *key, int64_t *value)
{
    return to_number(system_text(key), value);
}

/* What gpu.<index>.<key> says, else gpu.*.<key>. The value "-" takes a default back: not supported. */
const char *gpu_text(const Gpu *gpu, const char *key)
{
    char full[KEY_SIZE];
    snprintf(full, sizeof full, "gpu.%d.%s", gpu->index, key);
    const char *value = system_text(full);
    if (!value) {
        snprintf(full, sizeof full, "gpu.*.%s", key);
        value = system_text(full);
    }
    return value && strcmp(value, "-") != 0 ? value : NULL;
}

int gpu_number(const Gpu *gpu, const char *key, int64_t *value)
{
    return to_number(gpu_text(gpu, key), value);
}

/* What nvlink.<link>.<key> of the GPU says, else nvlink.*.<key>. */
const char *link_text(const Gpu *gpu, unsigned link, const char *key)
{
    char full[KEY_SIZE];
    snprintf(full, sizeof full, "nvlink.%u.%s", link, key);
    const char *value = gpu_text(gpu, full);
    if (!value) {
        snprintf(full, sizeof full, "nvlink.*.%s", key);
        value = gpu_text(gpu, full);
    }
    return value;
}

int link_number(const Gpu *gpu, unsigned link, const char *key, int64_t *value)
{
    int64_t count = 0;
    if (link >= MAX_LINKS)
        return INVALID_ARGUMENT;
    if (gpu_number(gpu, "nvlink.count", &count) != OK || link >= count)
        return NOT_SUPPORTED;
    return to_number(link_text(gpu, link, key), value);
}

int copy_text(const char *text, char *to, unsigned size)
{
    if (!text)
        return NOT_SUPPORTED;
    if (!to)
        return INVALID_ARGUMENT;
    if (strlen(text) + 1 > size)
        return INSUFFICIENT_SIZE;
    memcpy(to, text, strlen(text) + 1);
    return OK;
}

int gpu_count(void)
{
    int64_t count = 0;
    if (system_number("count", &count) != OK || count < 0)
        return 0;
    return count > MAX_GPUS ? MAX_GPUS : (int)count;
}

Gpu *gpu_at(int index)
{
    gpus[index].index = index;
    return &gpus[index];
}

int set_initialised(int change)
{
    return initialised += change;
}

static void hang(const char *kind)
{
    if (strcmp(kind, "sleep") != 0) { /* "stubborn": only SIGKILL ends it */
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
    }
    if (strcmp(kind, "dstate") == 0 && vfork() == 0) {
        /* The parent of a vfork waits in state D until its child has ended; the child ends with the parent. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    for (;;)
        pause();
}

/* The value of <hook>.<function> for this GPU, else for all; also under the name without _v2, _v3... and under "*". */
static const char *hook(const char *kind, const char *function, const Gpu *gpu)
{
    char base[KEY_SIZE], key[KEY_SIZE];
    snprintf(base, sizeof base, "%s", function);
    char *suffix = strrchr(base, '_');
    if (suffix && suffix[1] == 'v')
        *suffix = '\0';
    const char *names[] = {function, base, "*"};
    for (int at = 0; at < 3; at++) {
        snprintf(key, sizeof key, "%s.%.100s", kind, names[at]);
        const char *value = gpu ? gpu_text(gpu, key) : NULL;
        if (!value && at < 2)
            value = system_text(key);
        if (value)
            return value;
    }
    return NULL;
}

int enter(const char *function, const Gpu *gpu, int needs_gpu)
{
    int64_t code = OK;
    int found = refresh();
    if (!found)
        return DRIVER_NOT_LOADED;
    if (gpu && (gpu < gpus || gpu >= gpus + MAX_GPUS))
        return INVALID_ARGUMENT;
    if (current->has_hooks) {
        const char *text = hook("delay", function, gpu);
        if (text) {
            double seconds = strtod(text, NULL);
            struct timespec span = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
            nanosleep(&span, NULL);
        }
        if ((text = hook("hang", function, gpu)))
            hang(text);
        if (to_number(hook("error", function, gpu), &code) == OK && code != OK)
            return (int)code;
    }
    if (needs_gpu && !initialised)
        return UNINITIALIZED;
    if (needs_gpu && (!gpu || gpu->index >= gpu_count()))
        return INVALID_ARGUMENT;
    return OK;
}
