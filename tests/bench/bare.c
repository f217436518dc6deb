/* SPDX-License-Identifier: Apache-2.0
 *
 * bare: sends requests by libcurl and does nothing else, so that what they cost by themselves can
 * be told from what an operator adds. `bare FILE`, where FILE is JSON:
 *
 *   {"ca": FILE, "lanes": [{"connections": 16, "warm": URL, "requests":
 *     [{"method": "PUT", "url": URL, "headers": ["Name: value"], "body": TEXT, "repeat": 1}]}]}
 *
 * Each lane is a thread with a multi handle of its own. Its connections are made first, by one GET
 * of `warm` on each; when all lanes have them the clock starts, and each lane sends its requests in
 * order, as many at a time as it has connections. Prints {"lanes": [{"ms", "codes", "connects"}],
 * "cpu_ms"}; connects are those made while the clock ran. Progress goes to stderr. */
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define LANES_MAX 4
#define CONNECTIONS_MAX 64
#define PROGRESS_MS 2000

struct lane {
    const json_t *requests;
    const char *ca, *warm;
    size_t connections, next, repeated;
    struct curl_slist **headers; /* of each request */
    CURLM *multi;
    CURL *easy[CONNECTIONS_MAX];
    long codes[600], connects, failed, done;
    double ms, told_ms;
};

static pthread_barrier_t warm;

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double cpu_ms(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

static void prepare(const struct lane *l, CURL *easy)
{
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_CAINFO, l->ca);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Puts the next request on this handle; false when there is none left. */
static int send_next(struct lane *l, CURL *easy)
{
    const json_t *r = json_array_get(l->requests, l->next);
    if (r == NULL)
        return 0;
    const char *body = text(r, "body");
    json_int_t repeat = json_integer_value(json_object_get(r, "repeat"));
    prepare(l, easy);
    curl_easy_setopt(easy, CURLOPT_URL, text(r, "url"));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, l->headers[l->next]);
    if (body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, text(r, "method"));
    if (++l->repeated >= (size_t)(repeat > 1 ? repeat : 1)) {
        l->repeated = 0;
        l->next++;
    }
    return curl_multi_add_handle(l->multi, easy) == CURLM_OK;
}

static void count(struct lane *l, CURL *easy, CURLcode result)
{
    long code = 0, connects = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    l->connects += connects;
    l->done++;
    if (result != CURLE_OK || code < 0 || code >= 600)
        l->failed++;
    else
        l->codes[code]++;
    if (now_ms() - l->told_ms > PROGRESS_MS) {
        l->told_ms = now_ms();
        (void)fprintf(stderr, "bare: %ld requests\n", l->done);
    }
}

/* Until every transfer is over; each that ends is followed by the next request where `more`. */
static void drive(struct lane *l, int more)
{
    int running = 1, left;
    while (running > 0) {
        CURLMsg *m;
        (void)curl_multi_perform(l->multi, &running);
        while ((m = curl_multi_info_read(l->multi, &left)) != NULL) {
            CURL *easy = m->easy_handle;
            CURLcode result = m->data.result;
            curl_multi_remove_handle(l->multi, easy);
            if (more) {
                count(l, easy, result);
                running += send_next(l, easy);
            }
        }
        if (running > 0)
            (void)curl_multi_poll(l->multi, NULL, 0, 100, NULL);
    }
}

static void *run(void *ctx)
{
    struct lane *l = ctx;
    for (size_t i = 0; i < l->connections; i++) {
        l->easy[i] = curl_easy_init();
        prepare(l, l->easy[i]);
        curl_easy_setopt(l->easy[i], CURLOPT_URL, l->warm);
        curl_multi_add_handle(l->multi, l->easy[i]);
    }
    drive(l, 0);
    (void)pthread_barrier_wait(&warm);
    double start_ms = now_ms();
    l->told_ms = start_ms;
    for (size_t i = 0; i < l->connections; i++)
        (void)send_next(l, l->easy[i]);
    drive(l, 1);
    l->ms = now_ms() - start_ms;
    return NULL;
}

static void lane_open(struct lane *l, const json_t *config, const char *ca)
{
    l->requests = json_object_get(config, "requests");
    l->warm = text(config, "warm");
    l->ca = ca;
    l->connections = (size_t)json_integer_value(json_object_get(config, "connections"));
    if (l->connections == 0 || l->connections > CONNECTIONS_MAX || l->warm == NULL)
        exit(2);
    l->headers = calloc(json_array_size(l->requests) + 1, sizeof(*l->headers));
    l->multi = curl_multi_init();
    if (l->headers == NULL || l->multi == NULL)
        exit(2);
    curl_multi_setopt(l->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)l->connections);
    curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)l->connections);
    curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    size_t i, k;
    const json_t *request, *header;
    json_array_foreach(l->requests, i, request)
    {
        json_array_foreach(json_object_get(request, "headers"), k, header)
        {
            l->headers[i] = curl_slist_append(l->headers[i], json_string_value(header));
        }
        l->headers[i] = curl_slist_append(l->headers[i], "Expect:");
    }
}

static json_t *lane_result(const struct lane *l)
{
    json_t *codes = json_object();
    char name[16];
    for (size_t i = 0; i < sizeof(l->codes) / sizeof(l->codes[0]); i++) {
        if (l->codes[i] == 0)
            continue;
        (void)snprintf(name, sizeof(name), "%zu", i);
        json_object_set_new(codes, name, json_integer(l->codes[i]));
    }
    if (l->failed > 0)
        json_object_set_new(codes, "failed", json_integer(l->failed));
    return json_pack("{s:f, s:o, s:I}", "ms", l->ms, "codes", codes, "connects",
                     (json_int_t)l->connects);
}

int main(int argc, char **argv)
{
    static struct lane lanes[LANES_MAX];
    pthread_t threads[LANES_MAX];
    json_error_t error;
    json_t *config = argc == 2 ? json_load_file(argv[1], 0, &error) : NULL;
    const json_t *list = json_object_get(config, "lanes");
    size_t lanes_count = json_array_size(list);
    if (lanes_count == 0 || lanes_count > LANES_MAX || curl_global_init(CURL_GLOBAL_ALL) != 0) {
        (void)fprintf(stderr, "usage: bare FILE (JSON; see bare.c)\n");
        return 2;
    }
    (void)pthread_barrier_init(&warm, NULL, (unsigned)lanes_count + 1);
    for (size_t i = 0; i < lanes_count; i++) {
        lane_open(&lanes[i], json_array_get(list, i), text(config, "ca"));
        if (pthread_create(&threads[i], NULL, run, &lanes[i]) != 0)
            return 2;
    }
    (void)pthread_barrier_wait(&warm);
    double before_ms = cpu_ms();
    json_t *results = json_array();
    for (size_t i = 0; i < lanes_count; i++) {
        (void)pthread_join(threads[i], NULL);
        json_array_append_new(results, lane_result(&lanes[i]));
    }
    json_t *result = json_pack("{s:o, s:f}", "lanes", results, "cpu_ms", cpu_ms() - before_ms);
    (void)json_dumpf(result, stdout, JSON_COMPACT);
    (void)putchar('\n');
    return 0;
}
