/*
 * A stage hook in C: adds a field to every answer, takes "Server" away, refuses what asks for "/forbidden", and keeps count.
 *
 *   make && ringway run ...   with   [[site.hook]] library = ".../headers.so"   in the configuration
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* An instance: one for each [[site.hook]] that names this library. */
struct hook {
    ringway_service number;
    atomic_ulong requests, served, connections;
};

static const ringway_server *server;

static int has_text(ringway_bytes bytes, const char *text) {
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

static int32_t create(const ringway_setup *setup, void **instance) {
    struct hook *hook = calloc(1, sizeof *hook);
    if (!hook) {
        snprintf(setup->error, setup->error_bytes, "there is no memory");
        return -1;
    }
    hook->number = setup->service;
    *instance = hook;
    return 0;
}

static void destroy(void *instance) {
    free(instance);
}

static int32_t accepted(void *instance, void *worker, ringway_bytes peer) {
    struct hook *hook = instance;
    (void)worker, (void)peer;
    atomic_fetch_add(&hook->connections, 1);
    return RINGWAY_PASS;
}

static int32_t request(void *instance, void *worker, const ringway_request *request) {
    struct hook *hook = instance;
    (void)worker;
    unsigned long number = atomic_fetch_add(&hook->requests, 1) + 1;
    if (has_text(server->path(request), "/forbidden")) {
        ringway_answer answer = {sizeof answer, 403, NULL, 0, ringway_text("Not this one.\n"), RINGWAY_LENGTH_UNKNOWN};
        return server->answer(request, &answer) == RINGWAY_OK ? RINGWAY_DONE : -1;
    }
    if (has_text(server->path(request), "/slam"))
        return RINGWAY_REFUSE;
    char text[32];
    snprintf(text, sizeof text, "%lu", number);
    server->add_field(request, ringway_text("X-Request-Number"), ringway_text(text));
    return RINGWAY_PASS;
}

static int32_t answer(void *instance, void *worker, const ringway_request *request) {
    (void)instance, (void)worker;
    server->remove_field(request, ringway_text("Server"));
    if (server->answer_status(request) == 404) {
        /* Another page in its place. */
        ringway_answer other = {sizeof other, 404, NULL, 0, ringway_text("Nothing here.\n"), RINGWAY_LENGTH_UNKNOWN};
        return server->answer(request, &other) == RINGWAY_OK ? RINGWAY_DONE : -1;
    }
    if (server->answer_field(request, ringway_text("Content-Type")).data)
        server->add_field(request, ringway_text("X-Content-Type-Options"), ringway_text("nosniff"));
    return RINGWAY_PASS;
}

static void served(void *instance, void *worker, const ringway_served *served) {
    struct hook *hook = instance;
    (void)worker;
    atomic_fetch_add(&hook->served, 1);
    char line[256];
    int length = snprintf(line, sizeof line, "served %.*s with %u to %.*s", (int)(served->target.len % 100),
                          served->target.len ? served->target.data : "", served->status, (int)(served->peer.len % 100),
                          served->peer.len ? served->peer.data : "");
    ringway_bytes text = {line, length > 0 ? (size_t)length % sizeof line : 0};
    server->log(hook->number, RINGWAY_LOG_NOTICE, text);
}

static void closed(void *instance, void *worker, uint32_t requests) {
    struct hook *hook = instance;
    (void)worker;
    char line[64];
    int length = snprintf(line, sizeof line, "closed after %u requests", requests);
    ringway_bytes text = {line, length > 0 ? (size_t)length : 0};
    server->log(hook->number, RINGWAY_LOG_NOTICE, text);
}

static const ringway_stage_hook stages = {
    .struct_size = sizeof stages,
    .accepted = accepted,
    .request = request,
    .answer = answer,
    .served = served,
    .closed = closed,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "headers",
    .version = "1",
    .create = create,
    .destroy = destroy,
    .stage = &stages,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    /* An older server has no hooks. */
    return RINGWAY_HAS(server, pass_later) ? &plugin : NULL;
}
