/*
 * What ringway_service.h has beside WebSockets: parameters, queries, forms, cookies, sessions, files, an answer from a thread.
 *
 *   [[service]]
 *   name = "visits"
 *   library = "visits.so"
 *   files = "pages"
 *   sessions = { store = "memory" }
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway_service.h"

#include <pthread.h>

/* GET /greet/{name}?times=2 */
static void greet(ringway_call *call) {
    const char *times = ringway_query(call, "times");
    ringway_sayf(call, "Hello, %s! %s\n", ringway_param(call, "name"), times ? times : "once");
}

/* GET /visits: how often this browser was here, as its session knows. */
static void visits(ringway_call *call) {
    const char *before = ringway_session(call, "visits");
    char count[32];
    snprintf(count, sizeof count, "%lu", (before ? strtoul(before, NULL, 10) : 0) + 1);
    if (ringway_session_set(call, "visits", count) != RINGWAY_OK)
        ringway_refuse(call, 500, "there are no sessions here\n");
    else
        ringway_sayf(call, "%s\n", count);
}

/* POST /log-in, a form with `name` */
static void log_in(ringway_call *call) {
    const char *name = ringway_form(call, "name");
    if (!name || !*name)
        ringway_refuse(call, 400, "the form has no name\n");
    else if (ringway_log_in(call, name) != RINGWAY_OK)
        ringway_refuse(call, 500, "there are no sessions here\n");
    else
        ringway_redirect(call, "who");
}

/* POST /log-out */
static void log_out(ringway_call *call) {
    ringway_log_out(call);
    ringway_redirect(call, "who");
}

/* GET /who */
static void who(ringway_call *call) {
    const char *user = ringway_session_user(call);
    ringway_sayf(call, "%s\n", user ? user : "nobody");
}

/* GET /theme: what a cookie says; POST: sets it. */
static void theme(ringway_call *call) {
    const char *kept = ringway_cookie(call, "theme");
    ringway_sayf(call, "%s\n", kept ? kept : "light");
}

static void set_theme(ringway_call *call) {
    const char *wanted = ringway_form(call, "theme");
    if (!wanted || ringway_set_cookie(call, "theme", wanted, 3600) != RINGWAY_OK)
        ringway_refuse(call, 400, "this is no theme\n");
    else
        ringway_say(call, "kept\n");
}

/* GET /pages/{*name} */
static void pages(ringway_call *call) {
    if (ringway_file(call, ringway_param(call, "name")) != RINGWAY_OK)
        ringway_refuse(call, 404, "there are no files here\n");
}

/* GET /slow: from a thread. An instance's threads end before it does. */
static void *answer(void *promise) {
    ringway_later later = *(ringway_later *)promise;
    ringway_answer slow = {sizeof slow, 200, NULL, 0, {"slowly\n", 7}, RINGWAY_LENGTH_UNKNOWN};
    ringway_the_app.server->answer_later(later, &slow);
    return NULL;
}

struct slow {
    pthread_mutex_t lock;
    pthread_t thread;
    ringway_later later;
    int runs;
};

static void slow(ringway_call *call) {
    struct slow *slow = call->instance->data;
    pthread_mutex_lock(&slow->lock);
    if (slow->runs)
        pthread_join(slow->thread, NULL);
    ringway_session_set(call, "slow", "yes");
    slow->later = ringway_promise(call, NULL);
    slow->runs = slow->later && pthread_create(&slow->thread, NULL, answer, &slow->later) == 0;
    if (!slow->runs)
        ringway_the_app.server->abort(slow->later);
    pthread_mutex_unlock(&slow->lock);
}

static int32_t create(ringway_instance *instance, const ringway_setup *setup) {
    struct slow *slow = calloc(1, sizeof *slow);
    if (!slow) {
        snprintf(setup->error, setup->error_bytes, "there is no memory");
        return -1;
    }
    pthread_mutex_init(&slow->lock, NULL);
    instance->data = slow;
    return 0;
}

static void destroy(ringway_instance *instance) {
    struct slow *slow = instance->data;
    if (slow->runs)
        pthread_join(slow->thread, NULL);
    pthread_mutex_destroy(&slow->lock);
    free(slow);
}

static void setup(ringway_app *app) {
    ringway_use_sessions(app);
    ringway_on_create(app, create);
    ringway_on_destroy(app, destroy);
    ringway_get(app, "/greet/{name}", greet);
    ringway_get(app, "/visits", visits);
    ringway_post(app, "/log-in", log_in);
    ringway_post(app, "/log-out", log_out);
    ringway_get(app, "/who", who);
    ringway_get(app, "/theme", theme);
    ringway_post(app, "/theme", set_theme);
    ringway_get(app, "/pages/{*name}", pages);
    ringway_get(app, "/slow", slow);
}

RINGWAY_SERVICE("visits", "1.0", setup)
