/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/map.h"

#define SEPARATOR '\x1f' /* err_clean_text leaves none in a value */

static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
#define BOUNDS_COUNT ARRAY_LEN(bounds)

struct histogram {
    double sum;
    uint64_t count;
    uint64_t buckets[BOUNDS_COUNT]; /* each alone; summed up when rendered */
};

struct series {
    double value;
    struct histogram *histogram; /* NULL for other types */
    char key[]; /* each value followed by SEPARATOR: sorts and compares as a prefix */
};

struct metrics_family {
    enum metrics_type type;
    const char *name;
    const char *help;
    const char *const *labels;
    size_t labels_count;
    struct map by_key;     /* key -> struct series */
    struct series **order; /* all of them */
    size_t count, cap;
    bool unsorted; /* order has grown since it was last rendered */
    struct metrics_family *next;
};

struct metrics {
    struct metrics_family *first;
    struct metrics_family **last;
};

/* Room for every value, cut, with its separator, and the NUL. */
#define KEY_BYTES_MAX (METRICS_LABELS_MAX * (METRICS_VALUE_BYTES_MAX + 1) + 1)

struct metrics *metrics_new(void)
{
    struct metrics *m = calloc(1, sizeof(*m));
    if (m != NULL)
        m->last = &m->first;
    return m;
}

static void series_free(struct series *s)
{
    free(s->histogram);
    free(s);
}

static void family_free(struct metrics_family *f)
{
    for (size_t n = 0; n < f->count; n++)
        series_free(f->order[n]);
    map_release(&f->by_key);
    free(f->order);
    free(f);
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    struct metrics_family *next = NULL;
    for (struct metrics_family *f = m->first; f != NULL; f = next) {
        next = f->next;
        family_free(f);
    }
    free(m);
}

static struct series *series_new(struct metrics_family *f, const char *key)
{
    if (f->count == f->cap) {
        size_t cap = f->cap == 0 ? 8 : f->cap * 2;
        struct series **order = reallocarray(f->order, cap, sizeof(struct series *));
        if (order == NULL)
            return NULL;
        f->order = order;
        f->cap = cap;
    }
    size_t size = strlen(key) + 1;
    struct series *s = calloc(1, sizeof(*s) + size);
    if (s == NULL)
        return NULL;
    memcpy(s->key, key, size);
    if (f->type == METRICS_HISTOGRAM) {
        s->histogram = calloc(1, sizeof(*s->histogram));
        if (s->histogram == NULL)
            goto failed;
    }
    if (map_put(&f->by_key, key, s, NULL) != 0)
        goto failed;
    f->order[f->count++] = s;
    f->unsorted = true;
    return s;
failed:
    series_free(s);
    return NULL;
}

static void make_key(const char *const *values, size_t count, char ret[KEY_BYTES_MAX])
{
    size_t len = 0;
    for (size_t n = 0; n < count; n++) {
        err_clean_text(ret + len, METRICS_VALUE_BYTES_MAX + 1, values[n]);
        len += strlen(ret + len);
        ret[len++] = SEPARATOR;
    }
    ret[len] = '\0';
}

/* The series of these values, made when it is new. NULL out of memory. */
static struct series *find(struct metrics_family *f, const char *const *values)
{
    static const char *const overflow[METRICS_LABELS_MAX] = {"overflow", "overflow", "overflow",
                                                             "overflow", "overflow", "overflow"};
    char key[KEY_BYTES_MAX];
    make_key(values, f->labels_count, key);
    struct series *s = map_get(&f->by_key, key);
    if (s != NULL)
        return s;
    if (f->count >= METRICS_SERIES_MAX) {
        make_key(overflow, f->labels_count, key);
        s = map_get(&f->by_key, key);
    }
    return s != NULL ? s : series_new(f, key);
}

struct metrics_family *metrics_family(struct metrics *m, enum metrics_type type, const char *name,
                                      const char *help, const char *const *labels)
{
    size_t count = 0;
    while (labels != NULL && labels[count] != NULL)
        count++;
    if (m == NULL || count > METRICS_LABELS_MAX)
        return NULL;
    for (struct metrics_family *f = m->first; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0)
            return f->type == type && f->labels_count == count ? f : NULL;
    }
    struct metrics_family *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return NULL;
    f->type = type;
    f->name = name;
    f->help = help;
    f->labels = labels;
    f->labels_count = count;
    *m->last = f;
    m->last = &f->next;
    if (count == 0 && type != METRICS_GAUGE)
        (void)find(f, NULL); /* out of memory: it appears with its first number */
    return f;
}

void metrics_add(struct metrics_family *f, const char *const *values, double by)
{
    if (f == NULL || f->type == METRICS_HISTOGRAM || (f->type == METRICS_COUNTER && !(by >= 0)))
        return;
    struct series *s = find(f, values);
    if (s != NULL)
        s->value += by;
}

void metrics_set(struct metrics_family *f, const char *const *values, double to)
{
    if (f == NULL || f->type == METRICS_HISTOGRAM)
        return;
    struct series *s = find(f, values);
    if (s != NULL)
        s->value = to;
}

void metrics_observe(struct metrics_family *f, const char *const *values, double seconds)
{
    if (f == NULL || f->type != METRICS_HISTOGRAM || !isfinite(seconds))
        return;
    struct series *s = find(f, values);
    if (s == NULL)
        return;
    struct histogram *h = s->histogram;
    h->sum += seconds;
    h->count++;
    for (size_t n = 0; n < BOUNDS_COUNT; n++) {
        if (seconds <= bounds[n]) {
            h->buckets[n]++;
            break;
        }
    }
}

void metrics_forget(struct metrics_family *f, const char *const *values, unsigned count)
{
    if (f == NULL || count > f->labels_count)
        return;
    char prefix[KEY_BYTES_MAX];
    make_key(values, count, prefix);
    size_t len = strlen(prefix);
    size_t kept = 0;
    for (size_t n = 0; n < f->count; n++) {
        struct series *s = f->order[n];
        if (strncmp(s->key, prefix, len) != 0) {
            f->order[kept++] = s;
            continue;
        }
        map_remove(&f->by_key, s->key);
        series_free(s);
    }
    f->count = kept;
}

static int compare_series(const void *a, const void *b)
{
    const struct series *const *x = a;
    const struct series *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static void append_number(struct buf *out, double v)
{
    char text[32];
    if (isnan(v)) {
        buf_append_text(out, "NaN");
    } else if (isinf(v)) {
        buf_append_text(out, v > 0 ? "+Inf" : "-Inf");
    } else if (v > -1e15 && v < 1e15 && v == (double)(long long)v) {
        buf_appendf(out, "%lld", (long long)v);
    } else {
        (void)snprintf(text, sizeof(text), "%.15g",
                       v); /* the short form, unless it loses something */
        if (strtod(text, NULL) != v)
            (void)snprintf(text, sizeof(text), "%.17g", v);
        buf_append_text(out, text);
    }
}

static void append_escaped(struct buf *out, const char *text, size_t len, bool quotes)
{
    for (size_t n = 0; n < len; n++) {
        if (text[n] == '\n')
            buf_append_text(out, "\\n");
        else if (text[n] == '\\')
            buf_append_text(out, "\\\\");
        else if (text[n] == '"' && quotes)
            buf_append_text(out, "\\\"");
        else
            buf_append_char(out, text[n]);
    }
}

/* `{a="x",b="y"` with no closing bracket, or nothing at all without labels. */
static void append_labels(struct buf *out, const struct metrics_family *f, const struct series *s)
{
    const char *value = s->key;
    for (size_t n = 0; n < f->labels_count; n++) {
        size_t len = strcspn(value, "\x1f");
        buf_appendf(out, "%c%s=\"", n == 0 ? '{' : ',', f->labels[n]);
        append_escaped(out, value, len, true);
        buf_append_char(out, '"');
        value += len + 1;
    }
}

static void append_head(struct buf *out, const struct metrics_family *f, const struct series *s,
                        const char *suffix)
{
    buf_appendf(out, "%s%s", f->name, suffix);
    append_labels(out, f, s);
    buf_append_text(out, f->labels_count > 0 ? "} " : " ");
}

static void append_histogram(struct buf *out, const struct metrics_family *f,
                             const struct series *s)
{
    const struct histogram *h = s->histogram;
    uint64_t below = 0;
    for (size_t n = 0; n <= BOUNDS_COUNT; n++) {
        buf_appendf(out, "%s_bucket", f->name);
        append_labels(out, f, s);
        buf_append_text(out, f->labels_count > 0 ? ",le=\"" : "{le=\"");
        below = n < BOUNDS_COUNT ? below + h->buckets[n] : h->count;
        append_number(out, n < BOUNDS_COUNT ? bounds[n] : (double)INFINITY);
        buf_appendf(out, "\"} %llu\n", (unsigned long long)below);
    }
    append_head(out, f, s, "_sum");
    append_number(out, h->sum);
    buf_append_char(out, '\n');
    append_head(out, f, s, "_count");
    buf_appendf(out, "%llu\n", (unsigned long long)h->count);
}

static const char *type_name(enum metrics_type type)
{
    switch (type) {
    case METRICS_COUNTER: return "counter";
    case METRICS_GAUGE: return "gauge";
    case METRICS_HISTOGRAM: return "histogram";
    }
    return "untyped";
}

static void render_family(struct metrics_family *f, struct buf *out)
{
    if (f->count == 0)
        return;
    if (f->unsorted)
        qsort(f->order, f->count, sizeof(struct series *), compare_series);
    f->unsorted = false;
    buf_appendf(out, "# HELP %s ", f->name);
    append_escaped(out, f->help, strlen(f->help), false);
    buf_appendf(out, "\n# TYPE %s %s\n", f->name, type_name(f->type));
    for (size_t n = 0; n < f->count; n++) {
        const struct series *s = f->order[n];
        if (f->type == METRICS_HISTOGRAM) {
            append_histogram(out, f, s);
            continue;
        }
        append_head(out, f, s, "");
        append_number(out, s->value);
        buf_append_char(out, '\n');
    }
}

void metrics_render(const struct metrics *m, struct buf *out)
{
    for (struct metrics_family *f = m->first; f != NULL; f = f->next)
        render_family(f, out);
}
