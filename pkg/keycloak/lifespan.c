/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/lifespan.h"

#include "base/date.h"
#include "keycloak/admin.h"
#include "keycloak/words.h"

#define AGAIN_MS (3600LL * 1000)
#define RETRY_MS (60LL * 1000)
#define LONGEST_MS (60LL * 1000) /* of one reading: the keys wait for it */
/* A client is about 2 KiB. A page that is too large for LIMIT_KEYCLOAK_ANSWER is asked for in
 * halves.
 */
#define PAGE_CLIENTS 250
#define CLIENTS_MAX 10000

#define REPAIR "or set spec.overlap.retire to a duration instead of auto"

static void ask_clients(struct feed *f);

bool lifespan_due(const struct feed *f)
{
    bool wanted = false;
    for (const struct source *s = f->subscribers; s != NULL; s = s->next)
        wanted = wanted || s->wants_lifespan;
    return wanted && !f->admin->write.rode && loop_clock_ms() >= f->admin->lifespan.due_ms;
}

static void end_bad(struct feed *f, const struct err *err)
{
    struct lifespan *l = &f->admin->lifespan;
    if (err->class == ERR_FORBIDDEN)
        admin_token_is_old(f); /* a role that is given comes with a new one */
    l->result.known = l->result.known && err_is_transient(err->class);
    l->result.err = *err;
    l->due_ms = loop_clock_ms() + RETRY_MS;
    admin_go_on(f);
}

static void end_without_memory(struct feed *f)
{
    struct err err = {0};
    err_set(&err, ERR_NO_MEMORY, "lifespans: out of memory");
    end_bad(f, &err);
}

/* --- what they amount to -------------------------------------------------------------------- */

static void take(struct source_lifespan *ret, int64_t seconds, const char *owner,
                 const char *setting)
{
    char words[DATE_TEXT_MAX];
    if (seconds <= ret->seconds)
        return;
    ret->seconds = seconds;
    date_duration_words(seconds, words);
    (void)text_format(ret->why, sizeof(ret->why), "%s: %s %s", owner, setting, words);
}

void lifespan_longest(const struct realm_lifespans *found, struct source_lifespan *ret)
{
    char client[sizeof(found->client) + 8];
    (void)text_format(client, sizeof(client), "client %s", found->client);
    ret->seconds = -1;
    take(ret, found->access_s, "realm", "accessTokenLifespan");
    take(ret, found->session_s, "realm",
         found->remembered ? "ssoSessionMaxLifespanRememberMe" : "ssoSessionMaxLifespan");
    if (found->implicit)
        take(ret, found->implicit_s, "realm", "accessTokenLifespanForImplicitFlow");
    if (found->client_setting != NULL)
        take(ret, found->client_s, client, found->client_setting);
}

static void end_good(struct feed *f)
{
    struct lifespan *l = &f->admin->lifespan;
    lifespan_longest(&l->found, &l->result);
    l->result.known = true;
    l->result.read_ms = l->begun_ms;
    err_clear(&l->result.err);
    l->due_ms = loop_clock_ms() + AGAIN_MS;
    admin_go_on(f);
}

/* --- asking --------------------------------------------------------------------------------- */

/* True: the answer is no 200, and the reading has ended or begun anew. */
static bool is_over(struct feed *f, const struct http_response *response, const char *what,
                    const char *role)
{
    struct admin *a = f->admin;
    struct err err = {0};
    f->call = NULL;
    int status = response->err.class == ERR_NONE ? response->status : 0;
    if (status == 200)
        return false;
    if (status == 401 && !a->minted) {
        admin_mint(f); /* and from the start */
        return true;
    }
    if (status == 401 || status == 403)
        words_role(&f->key, a->client_id, status, what, role, &err);
    else
        words_answer(&f->key, what, response, &err);
    end_bad(f, &err);
    return true;
}

static void smaller_page(struct feed *f)
{
    struct lifespan *l = &f->admin->lifespan;
    struct err err = {0};
    f->call = NULL;
    if (l->page > 1) {
        l->page /= 2;
        ask_clients(f);
        return;
    }
    err_set(
        &err, ERR_LIMIT,
        "clients: a client of realm \"%.63s\" has more than 1 MiB of settings (it is number %zu in "
        "the list): make them fewer, " REPAIR,
        f->key.realm, l->first + 1);
    end_bad(f, &err);
}

static void on_clients(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct lifespan *l = &f->admin->lifespan;
    struct err err = {0};
    struct err cause = {0};
    size_t count = 0;
    if (response->err.class == ERR_LIMIT) {
        smaller_page(f);
        return;
    }
    if (is_over(f, response, "clients", "view-clients"))
        return;
    if (client_lifespans_decode(response->body, &l->found, &count, &cause) != 0) {
        words_content(&f->key, "clients", &cause, &err);
        end_bad(f, &err);
    } else if (count == 0 && l->first == 0) {
        /* Each realm has clients: who sees none lacks the role. */
        words_role(&f->key, f->admin->client_id, 403, "clients", "view-clients", &err);
        end_bad(f, &err);
    } else if (count == 0) {
        end_good(f);
    } else {
        l->first += l->page;
        ask_clients(f);
    }
}

/* Until a page is empty: one that is not full may only leave out what we are not shown. */
static void ask_clients(struct feed *f)
{
    struct lifespan *l = &f->admin->lifespan;
    struct err err = {0};
    char path[96];
    if (l->first >= CLIENTS_MAX) {
        err_set(&err, ERR_LIMIT,
                "clients: realm \"%.63s\" has more than %d, too many to read their lifespans: have "
                "fewer, " REPAIR,
                f->key.realm, CLIENTS_MAX);
        end_bad(f, &err);
        return;
    }
    if (loop_clock_ms() - l->begun_ms > LONGEST_MS) {
        err_set(&err, ERR_TIMEOUT,
                "clients: realm \"%.63s\" does not show all of them within %lld s: make the server "
                "faster, " REPAIR,
                f->key.realm, LONGEST_MS / 1000);
        end_bad(f, &err);
        return;
    }
    (void)text_format(path, sizeof(path), "/clients?first=%zu&max=%zu", l->first, l->page);
    const struct admin_request request = {.method = "GET", .path = path};
    if (admin_ask(f, &request, on_clients) != 0)
        end_without_memory(f);
}

static void on_realm(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct lifespan *l = &f->admin->lifespan;
    struct err err = {0};
    struct err cause = {0};
    if (is_over(f, response, "realm", "view-realm"))
        return;
    if (realm_lifespans_decode(response->body, &l->found, &cause) == 0) {
        l->first = 0;
        l->page = PAGE_CLIENTS;
        ask_clients(f);
        return;
    }
    if (cause.class == ERR_FORBIDDEN)
        words_role(&f->key, f->admin->client_id, 403, "realm", "view-realm", &err);
    else
        words_content(&f->key, "realm", &cause, &err);
    end_bad(f, &err);
}

void lifespan_read(struct feed *f)
{
    const struct admin_request request = {.method = "GET", .path = ""};
    f->admin->lifespan.begun_ms = loop_clock_ms();
    if (admin_ask(f, &request, on_realm) != 0)
        end_without_memory(f);
}
