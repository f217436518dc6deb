/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim.h"

#define LINES 60
#define LINE_MAX 400

const char *const fault_names[FAULT_COUNT] = {
    [FAULT_REQUEST_LOST] = "request lost",
    [FAULT_ANSWER_LOST] = "answer lost",
    [FAULT_SENT_TWICE] = "sent twice",
    [FAULT_SLOW] = "slow",
    [FAULT_CONFLICT] = "conflict (409)",
    [FAULT_BUSY] = "busy (429)",
    [FAULT_BROKEN] = "server error (5xx)",
    [FAULT_GONE] = "versions gone (410)",
    [FAULT_WATCH_CUT] = "watch cut",
    [FAULT_WATCH_SILENT] = "watch silent",
    [FAULT_WATCH_LATE] = "watch late",
    [FAULT_WATCH_STALE] = "watch stale",
    [FAULT_KILLED] = "operator killed",
    [FAULT_REPLACED] = "leader replaced",
    [FAULT_STEP_BACK] = "Keycloak steps back",
    [FAULT_STATUS_WIPED] = "status wiped",
    [FAULT_POD_LOST] = "pod lost",
};

struct trace {
    char lines[LINES][LINE_MAX];
    uint64_t count, digest;
    char why[LINE_MAX];
    bool loud;
};

struct trace *trace_new(bool loud)
{
    struct trace *t = sim_must(calloc(1, sizeof(*t)));
    t->digest = 0xcbf29ce484222325ULL;
    t->loud = loud;
    return t;
}

void trace_free(struct trace *t)
{
    free(t);
}

uint64_t trace_digest(const struct trace *t)
{
    return t->digest;
}

const char *trace_why(const struct trace *t)
{
    return t->why;
}

void trace_print(const struct trace *t)
{
    for (uint64_t i = t->count > LINES ? t->count - LINES : 0; i < t->count; i++)
        printf("  %s\n", t->lines[i % LINES]);
}

void sim_say(struct sim *s, const char *fmt, ...)
{
    struct trace *t = s->trace;
    char *line = t->lines[t->count++ % LINES];
    int64_t now_ms = sim_now_ms();
    va_list args;
    int used = snprintf(line, LINE_MAX, "%4lld:%02d.%03d ", (long long)(now_ms / 60000),
                        (int)(now_ms / 1000 % 60), (int)(now_ms % 1000));
    va_start(args, fmt);
    (void)vsnprintf(line + used, LINE_MAX - (size_t)used, fmt, args);
    va_end(args);
    for (const char *c = line; *c != '\0'; c++)
        t->digest = (t->digest ^ (unsigned char)*c) * 0x100000001b3ULL;
    if (t->loud)
        puts(line);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    va_list args;
    if (s->failed)
        return;
    s->failed = true;
    va_start(args, fmt);
    (void)vsnprintf(s->trace->why, sizeof(s->trace->why), fmt, args);
    va_end(args);
    sim_say(s, "FAILED: %s", s->trace->why);
}

/* splitmix64 */
uint64_t sim_random(struct sim *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t sim_below(struct sim *s, uint64_t limit)
{
    return limit > 0 ? sim_random(s) % limit : 0;
}

int64_t sim_between(struct sim *s, int64_t least, int64_t most)
{
    return least + (int64_t)sim_below(s, (uint64_t)(most - least + 1));
}

bool sim_chance(struct sim *s, unsigned of_hundred)
{
    return sim_below(s, 100) < of_hundred;
}

bool sim_fault(struct sim *s, enum fault fault)
{
    if (s->calm || s->rates[fault] == 0 || sim_below(s, 10000) >= s->rates[fault])
        return false;
    s->tally.injected[fault]++;
    return true;
}

void sim_hit(struct sim *s, enum fault fault)
{
    s->tally.hit[fault]++;
}

void *sim_must(void *p)
{
    if (p == NULL) {
        (void)fputs("sim: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

char *sim_copy(const char *text)
{
    return text != NULL ? sim_must(strdup(text)) : NULL;
}
