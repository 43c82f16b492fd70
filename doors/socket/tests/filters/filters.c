/* A filter of the tests: what it does, or does wrong, is its configuration. */
#include "ringway.h"

#include <pthread.h>
#include <stdlib.h>

struct filter {
    char mode[16];
};

static const ringway_server *server;

static int is(const void *instance, const char *mode) {
    return strcmp(((const struct filter *)instance)->mode, mode) == 0;
}

static int32_t create(const ringway_setup *setup, void **instance) {
    struct filter *filter = calloc(1, sizeof *filter);
    memcpy(filter->mode, setup->config.data, setup->config.len < 15 ? setup->config.len : 15);
    *instance = filter;
    return 0;
}

static int32_t accept_(void *instance, void *worker, ringway_filter *filter, void **user) {
    (void)worker;
    *user = calloc(1, 1);
    if (is(instance, "refuses"))
        return 1;
    if (is(instance, "greets"))
        return server->filter_down(filter, ringway_text("hello ")) == RINGWAY_OK ? 0 : -1;
    return 0;
}

static ringway_filter *stale;

static void *elsewhere(void *result) {
    *(int32_t *)result = server->filter_up(stale, ringway_text("no"));
    return NULL;
}

static int64_t pass(void *instance, ringway_filter *filter, ringway_bytes_mut bytes, int is_up) {
    int32_t (*on)(ringway_filter *, ringway_bytes) = is_up ? server->filter_up : server->filter_down;
    ringway_bytes all = {bytes.data, bytes.len};
    if (is(instance, "halves")) {
        all.len = (bytes.len + 1) / 2;
        return on(filter, all) == RINGWAY_OK ? (int64_t)all.len : -1;
    }
    if (is(instance, "copies")) {
        char *copy = malloc(bytes.len);
        memcpy(copy, bytes.data, bytes.len);
        ringway_bytes own = {copy, bytes.len};
        int32_t given = on(filter, own);
        free(copy);
        return given == RINGWAY_OK ? (int64_t)bytes.len : -1;
    }
    return on(filter, all) == RINGWAY_OK ? (int64_t)bytes.len : -1;
}

static int64_t read_(void *instance, void *worker, ringway_filter *filter, void **user, ringway_bytes_mut bytes) {
    (void)worker, (void)user;
    if (is(instance, "lies"))
        return (int64_t)bytes.len + 1;
    if (is(instance, "fails"))
        return -7;
    if (is(instance, "floods")) {
        static char much[1024 * 1024];
        ringway_bytes all = {much, sizeof much};
        if (server->filter_up(filter, all) != RINGWAY_OK || server->filter_up(filter, ringway_text("x")) != RINGWAY_E_LIMIT)
            abort();
        return -8;
    }
    if (is(instance, "wanders")) {
        /* A pointer that was another call's is no good, and none is on another thread. */
        int32_t result = 0;
        if (stale && server->filter_up(stale, ringway_text("no")) != RINGWAY_E_THREAD)
            abort();
        stale = filter;
        pthread_t thread;
        pthread_create(&thread, NULL, elsewhere, &result);
        pthread_join(thread, NULL);
        if (result != RINGWAY_E_THREAD)
            abort();
    }
    return pass(instance, filter, bytes, 1);
}

static int64_t write_(void *instance, void *worker, ringway_filter *filter, void **user, ringway_bytes_mut bytes) {
    (void)worker, (void)user;
    return pass(instance, filter, bytes, 0);
}

static int32_t ended(void *instance, void *worker, ringway_filter *filter, void **user) {
    (void)worker, (void)filter, (void)user;
    return is(instance, "cut") ? 5 : 0;
}

static int32_t finish(void *instance, void *worker, ringway_filter *filter, void **user) {
    (void)worker, (void)user;
    if (is(instance, "greets"))
        return server->filter_down(filter, ringway_text(" bye")) == RINGWAY_OK ? 0 : -1;
    return 0;
}

static uint32_t interest(void *instance, void *worker, void **user, uint32_t *after_ms) {
    (void)worker, (void)user;
    if (is(instance, "halves"))
        *after_ms = 1;
    return RINGWAY_WANTS_READ | RINGWAY_WANTS_WRITE;
}

static void close_(void *instance, void *worker, void *user) {
    (void)instance, (void)worker;
    free(user);
}

static const ringway_stream_filter filter = {
    .struct_size = sizeof filter, .accept = accept_, .read = read_, .write = write_,
    .ended = ended, .finish = finish, .interest = interest, .close = close_};

static const ringway_plugin plugin = {.struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "filters", .version = "1",
    .create = create, .destroy = free, .filter = &filter};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return &plugin;
}
