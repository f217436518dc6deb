/* SPDX-License-Identifier: Apache-2.0
 *
 * api: the simulated API server: JSON objects of one namespace by kind and name, with resource
 * versions, generations, preconditions, the status subresource, lists and watches with bookmarks.
 * A stored object is never changed, only replaced, so that history may share it. Of Events only the
 * names are kept. */
#ifndef KEYTURN_TESTS_SIM_API_H
#define KEYTURN_TESTS_SIM_API_H

#include <jansson.h>
#include "net.h"

enum api_kind {
    API_ROTATION,
    API_SECRET,
    API_CONFIG_MAP,
    API_POD,
    API_DEPLOYMENT,
    API_STATEFUL_SET,
    API_DAEMON_SET,
    API_EVENT,
    API_KIND_COUNT,
};

struct api *api_new(struct sim *s);
void api_free(struct api *a);

/* For the world itself. */
const json_t *api_find(const struct sim *s, enum api_kind kind, const char *name); /* or NULL */
json_t *api_copy(const struct sim *s, enum api_kind kind, const char *name); /* to be stored */
/* Makes or replaces the object; value is taken over, uid and versions are set here. */
void api_store(struct sim *s, enum api_kind kind, const char *name, json_t *value);
void api_remove(struct sim *s, enum api_kind kind, const char *name);

/* For net. */
void api_serve(struct sim *s, const struct net_request *r, struct net_answer *ret);
/* Takes the stream (status 200), or says in ret why not. */
void api_watch(struct sim *s, const struct net_request *r, struct sim_call *call,
               struct net_answer *ret);
void api_watch_gone(struct sim *s, struct sim_call *call);

/* Texts of an object, NULL when absent: api_text(o, "metadata", "name", NULL). */
const char *api_text(const json_t *object, ...) __attribute__((sentinel));

#endif
