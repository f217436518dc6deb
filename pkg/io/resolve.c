/* SPDX-License-Identifier: Apache-2.0 */
#include "io/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "base/attr.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"

#define FRESH_MS 30000
#define STALE_MS 300000      /* as long as nobody answers */
#define CHANNEL_AGE_MS 60000 /* then resolv.conf is read again */
#define TRY_MS 800 /* doubled at each try: a lost packet is repeated within the deadline */
#define TRIES 3
#define ADDRESSES_MAX 8
#define HOSTS_MAX 1024 /* answers kept */
#define ADDRESSES_TEXT (ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3))

struct host {
    struct resolver *resolver;
    char name[LIMIT_NAME + 1];
    struct resolve_wait *waiting;
    bool asking; /* c-ares holds a pointer to this host */
    int64_t answered_ms;
    char addresses[ADDRESSES_TEXT]; /* last good answer, "" = none */
    struct err err;                 /* of the last question */
};

struct resolve_wait {
    struct host *host;
    struct resolve_wait *next;
    struct loop_timer timer; /* the deadline; or no delay, once the answer is there */
    bool answered;
    resolve_fn *fn;
    void *ctx;
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    bool open;
    int64_t opened_ms;
    struct loop_timer timer; /* c-ares' own repeats */
    struct map hosts;        /* name -> struct host */
    size_t asking;
    int timeout_ms;
    char *servers;
};

/* --- c-ares on the loop --- */

static void on_ares_timer(void *ctx);

static void rearm(struct resolver *r)
{
    struct timeval tv;
    if (ares_timeout(r->channel, NULL, &tv) == NULL) {
        loop_timer_cancel(r->loop, &r->timer);
        return;
    }
    /* Up to the next millisecond: one too early would only spin. */
    loop_timer_in(r->loop, &r->timer, (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1);
}

static void on_ares_timer(void *ctx)
{
    struct resolver *r = ctx;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm(r);
}

static void on_ares_fd(void *ctx, int fd, unsigned events)
{
    struct resolver *r = ctx;
    bool in = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
    bool out = (events & EPOLLOUT) != 0;
    ares_process_fd(r->channel, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
    rearm(r);
}

static void on_socket_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = ctx;
    unsigned events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
    /* A failure shows as the deadline. */
    loop_watch(r->loop, fd, events, on_ares_fd, r, NULL);
}

static int channel_open(struct resolver *r, struct err *err)
{
    char lookups[] = "fb"; /* /etc/hosts, then DNS, whatever nsswitch.conf says */
    struct ares_options options = {
        .timeout = TRY_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
    };
    int rc = ares_init_options(&r->channel, &options,
                               ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                   ARES_OPT_SOCK_STATE_CB);
    if (rc != ARES_SUCCESS)
        return err_set(err, ERR_DNS, "cannot start name look-up: %s", ares_strerror(rc));
    r->open = true;
    r->opened_ms = loop_now_ms(r->loop);
    if (r->servers == NULL)
        return 0;
    rc = ares_set_servers_ports_csv(r->channel, r->servers);
    if (rc != ARES_SUCCESS)
        return err_set(err, ERR_INVALID, "DNS servers \"%s\": %s", r->servers, ares_strerror(rc));
    return 0;
}

static void channel_close(struct resolver *r)
{
    loop_timer_cancel(r->loop, &r->timer);
    if (r->open)
        ares_destroy(r->channel);
    r->open = false;
}

/* --- answers --- */

static void say_failure(struct host *h, int status)
{
    if (status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME)
        err_set(&h->err, ERR_DNS, "no address for host %s: %s; check the name", h->name,
                ares_strerror(status));
    else
        err_set(&h->err, ERR_DNS, "look-up of host %s failed: %s; check the DNS servers", h->name,
                ares_strerror(status));
}

static bool name_is_gone(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME;
}

/* Appends "1.2.3.4" or "[fd00::1]" to the list. */
static void append_address(char *list, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    size_t len = strlen(list);
    const char *comma = len == 0 ? "" : ",";
    if (address->sa_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)))
        snprintf(list + len, ADDRESSES_TEXT - len, "%s%s", comma, text);
    else if (address->sa_family == AF_INET6 &&
             inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text)))
        snprintf(list + len, ADDRESSES_TEXT - len, "%s[%s]", comma, text);
}

static void on_addresses(void *ctx, int status, int timeouts, struct ares_addrinfo *result)
{
    struct host *h = ctx;
    struct resolver *r = h->resolver;
    (void)timeouts;
    h->asking = false;
    r->asking--;
    err_clear(&h->err);
    if (status == ARES_SUCCESS) {
        int count = 0;
        h->addresses[0] = '\0';
        h->answered_ms = loop_now_ms(r->loop);
        for (const struct ares_addrinfo_node *n = result->nodes; n != NULL && count < ADDRESSES_MAX;
             n = n->ai_next, count++)
            append_address(h->addresses, n->ai_addr);
    } else if (name_is_gone(status)) {
        h->addresses[0] = '\0';
    }
    if (h->addresses[0] == '\0' || status != ARES_SUCCESS)
        say_failure(h, status == ARES_SUCCESS ? ARES_ENODATA : status);
    if (result != NULL)
        ares_freeaddrinfo(result);
    /* We may be inside ares_getaddrinfo, so inside resolve_start: the calls come from the loop. */
    for (struct resolve_wait *w = h->waiting; w != NULL; w = w->next) {
        w->answered = true;
        loop_timer_in(r->loop, &w->timer, 0);
    }
}

static bool answer_is_younger(const struct host *h, int64_t age_ms)
{
    return h->addresses[0] != '\0' && loop_now_ms(h->resolver->loop) - h->answered_ms < age_ms;
}

static void unlink_wait(struct resolve_wait *wait)
{
    struct resolve_wait **at = &wait->host->waiting;
    while (*at != wait)
        at = &(*at)->next;
    *at = wait->next;
    loop_timer_cancel(wait->host->resolver->loop, &wait->timer);
}

/* The answer is there, or the deadline is. */
static void on_wait_timer(void *ctx)
{
    struct resolve_wait *wait = ctx;
    struct host *h = wait->host;
    struct err err = h->err;
    if (!wait->answered)
        err_set(&err, ERR_DNS, "look-up of host %s: no answer within %d ms; check the DNS servers",
                h->name, h->resolver->timeout_ms);
    /* Copied: fn may start another look-up, which may drop this host. */
    char addresses[ADDRESSES_TEXT] = "";
    if (answer_is_younger(h, STALE_MS))
        memcpy(addresses, h->addresses, sizeof(addresses));
    resolve_fn *fn = wait->fn;
    void *fn_ctx = wait->ctx;
    unlink_wait(wait);
    free(wait);
    fn(fn_ctx, addresses[0] == '\0' ? NULL : addresses, &err);
}

/* --- hosts --- */

/* Drops the answers that nobody waits for and that are no longer fresh, or all but those in use
 * when there are too many. */
static void forget_hosts(struct resolver *r, bool all)
{
    size_t it = 0;
    const char *key = NULL;
    void *value = NULL;
    while (map_next(&r->hosts, &it, &key, &value)) {
        struct host *h = value;
        if (h->waiting != NULL || h->asking || (!all && answer_is_younger(h, FRESH_MS)))
            continue;
        map_remove(&r->hosts, key);
        free(h);
    }
}

static struct host *host_get(struct resolver *r, const char *name)
{
    struct host *h = map_get(&r->hosts, name);
    if (h != NULL)
        return h;
    if (r->hosts.count >= HOSTS_MAX)
        forget_hosts(r, false);
    if (r->hosts.count >= HOSTS_MAX)
        forget_hosts(r, true);
    h = calloc(1, sizeof(*h));
    if (h == NULL)
        return NULL;
    h->resolver = r;
    err_clean_text(h->name, sizeof(h->name), name);
    if (map_put(&r->hosts, name, h, NULL) != 0) {
        free(h);
        return NULL;
    }
    return h;
}

static void ask(struct host *h, const char *name)
{
    struct resolver *r = h->resolver;
    if (r->asking == 0 && r->open && loop_now_ms(r->loop) - r->opened_ms >= CHANNEL_AGE_MS)
        channel_close(r);
    if (!r->open && channel_open(r, &h->err) != 0) {
        channel_close(r);
        for (struct resolve_wait *w = h->waiting; w != NULL; w = w->next) {
            w->answered = true;
            loop_timer_in(r->loop, &w->timer, 0);
        }
        return;
    }
    const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    h->asking = true;
    r->asking++;
    ares_getaddrinfo(r->channel, name, NULL, &hints, on_addresses, h);
    rearm(r);
}

struct resolve_wait *resolve_start(struct resolver *r, const char *host, resolve_fn *fn, void *ctx)
{
    struct host *h = host_get(r, host);
    struct resolve_wait *wait = h == NULL ? NULL : calloc(1, sizeof(*wait));
    if (wait == NULL)
        return NULL;
    *wait = (struct resolve_wait){.host = h, .next = h->waiting, .fn = fn, .ctx = ctx};
    wait->timer = (struct loop_timer){.fire = on_wait_timer, .ctx = wait};
    h->waiting = wait;
    if (!h->asking && answer_is_younger(h, FRESH_MS)) {
        wait->answered = true;
        loop_timer_in(r->loop, &wait->timer, 0);
        return wait;
    }
    loop_timer_in(r->loop, &wait->timer, r->timeout_ms);
    if (!h->asking)
        ask(h, host);
    return wait;
}

void resolve_cancel(struct resolve_wait *wait)
{
    if (wait == NULL)
        return;
    unlink_wait(wait);
    free(wait);
}

struct resolver *resolver_new(struct loop *loop, int timeout_ms, const char *servers,
                              struct err *err)
{
    struct resolver *r = calloc(1, sizeof(*r));
    if (r == NULL || (servers != NULL && (r->servers = strdup(servers)) == NULL)) {
        free(r);
        err_set(err, ERR_NO_MEMORY, "no memory for the name resolver");
        return NULL;
    }
    r->loop = loop;
    r->timeout_ms = timeout_ms;
    r->timer = (struct loop_timer){.fire = on_ares_timer, .ctx = r};
    if (channel_open(r, err) != 0) {
        resolver_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (r == NULL)
        return;
    channel_close(r);
    forget_hosts(r, true);
    map_release(&r->hosts);
    free(r->servers);
    free(r);
}
