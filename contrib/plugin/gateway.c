/*
 * A gateway: every connection gets one of its own to the place that the configuration names, as in  target = "127.0.0.1:5432",
 * and what comes on one goes out on the other. Both live on one worker, so what they share needs no lock.
 *
 * Nobody is read from faster than the other end reads: a side that has passed on a piece pauses until the other side has sent it.
 * To reach the other side is to post to its key, which does no harm when that has ended.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

#include <stdio.h>
#include <stdlib.h>

#define TARGET_BYTES_MAX 256

struct gateway {
    ringway_service number;
    size_t target_len;
    char target[TARGET_BYTES_MAX];
};

struct pair;

/* One end of a pair, and the word of its connection. */
struct side {
    struct pair *pair;
    ringway_key key;
    int is_open, has_ended, is_over;
    int waits; /* what it has passed on is not sent yet */
};

struct pair {
    struct side sides[2];
};

static const ringway_server *server;

static struct side *other(struct side *side) {
    return &side->pair->sides[side == side->pair->sides];
}

static int32_t opened(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)worker;
    struct gateway *gateway = instance;
    struct side *side = *user;
    if (side) { /* the one that was asked for below */
        side->is_open = 1;
        side->key = server->conn_key(conn);
        if (other(side)->is_over)
            return RINGWAY_CLOSE;
        server->post_nudge(gateway->number, other(side)->key);
        return RINGWAY_GO_ON;
    }
    struct pair *pair = calloc(1, sizeof *pair);
    if (!pair)
        return RINGWAY_CLOSE;
    pair->sides[0].pair = pair->sides[1].pair = pair;
    pair->sides[0].key = server->conn_key(conn);
    pair->sides[0].is_open = 1;
    *user = &pair->sides[0];
    server->conn_pause(conn);
    ringway_bytes target = {gateway->target, gateway->target_len};
    if (server->connect(gateway->number, target, 0, &pair->sides[1]) == RINGWAY_OK)
        return RINGWAY_GO_ON;
    pair->sides[1].is_over = 1;
    return RINGWAY_CLOSE;
}

static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)worker;
    struct gateway *gateway = instance;
    struct side *side = *user;
    ringway_bytes piece = {message.data, message.len};
    side->waits = 1;
    server->conn_pause(conn);
    if (server->post_send(gateway->number, other(side)->key, RINGWAY_BINARY, piece) != RINGWAY_OK)
        return RINGWAY_CLOSE;
    server->post_nudge(gateway->number, other(side)->key);
    return RINGWAY_GO_ON;
}

/* Everything is sent: the other side may read on. */
static int32_t written(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)worker, (void)conn;
    struct gateway *gateway = instance;
    struct side *side = *user;
    if (other(side)->waits) {
        other(side)->waits = 0;
        server->post_nudge(gateway->number, other(side)->key);
    }
    return RINGWAY_GO_ON;
}

static int32_t nudged(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)instance, (void)worker;
    struct side *side = *user;
    if (other(side)->waits)
        server->conn_when_sent(conn);
    if (!side->waits && other(side)->is_open)
        server->conn_resume(conn);
    return RINGWAY_GO_ON;
}

/* The end of what one side sends is the end of what the other gets. */
static int32_t ended(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)worker, (void)conn;
    struct gateway *gateway = instance;
    struct side *side = *user;
    side->has_ended = 1;
    server->post_shut(gateway->number, other(side)->key);
    if (!other(side)->has_ended && !other(side)->is_over)
        return RINGWAY_GO_ON;
    server->post_close(gateway->number, other(side)->key);
    return RINGWAY_CLOSE;
}

static void closed(void *instance, void *worker, void *user, int32_t reason) {
    (void)worker, (void)reason;
    struct gateway *gateway = instance;
    struct side *side = user;
    if (!side)
        return;
    side->is_over = 1;
    if (other(side)->is_over)
        free(side->pair);
    else
        server->post_close(gateway->number, other(side)->key);
}

/* The part between quotes of the configuration's line  target = "..." */
static int32_t create(const ringway_setup *setup, void **instance) {
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway)
        return -1;
    gateway->number = setup->service;
    char config[1024];
    snprintf(config, sizeof config, "%.*s", (int)setup->config.len, setup->config.data ? setup->config.data : "");
    const char *line = strstr(config, "target");
    if (!line || sscanf(line, "target = \"%255[^\"]\"", gateway->target) != 1) {
        snprintf(setup->error, setup->error_bytes, "the gateway needs a target, such as target = \"127.0.0.1:5432\"");
        free(gateway);
        return -1;
    }
    gateway->target_len = strlen(gateway->target);
    *instance = gateway;
    return 0;
}

static const ringway_connection_handler handler = {
    .struct_size = sizeof handler,
    .opened = opened,
    .message = message,
    .ended = ended,
    .written = written,
    .nudged = nudged,
    .closed = closed,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "gateway",
    .version = "1",
    .create = create,
    .destroy = free,
    .connection = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return RINGWAY_HAS(server, connect) ? &plugin : NULL;
}
