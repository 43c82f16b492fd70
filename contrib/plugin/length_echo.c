/*
 * Messages behind a length of four bytes, most significant first, come back as they are. The framing is the handler's own
 * (framing = "handler"): measure says how long a message is. Each connection counts, and the log hears of it at the end.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The longest message without its length. */
#define PAYLOAD_BYTES_MAX (1024u * 1024u)

struct service {
    ringway_service number;
};

static const ringway_server *server;

static int64_t measure(void *instance, void *worker, void *user, ringway_bytes input) {
    (void)instance, (void)worker, (void)user;
    if (input.len < 4)
        return RINGWAY_NEED_MORE;
    const unsigned char *head = (const unsigned char *)input.data;
    uint32_t payload = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    return payload <= PAYLOAD_BYTES_MAX ? 4 + (int64_t)payload : RINGWAY_WRONG;
}

/* The word that belongs to a connection is a number here. */
static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)instance, (void)worker;
    ringway_bytes all = {message.data, message.len};
    *user = (void *)((uintptr_t)*user + 1);
    return server->conn_send_in_place(conn, all) == RINGWAY_OK ? RINGWAY_GO_ON : RINGWAY_CLOSE;
}

static void closed(void *instance, void *worker, void *user, int32_t reason) {
    (void)worker;
    const struct service *service = instance;
    char line[96];
    int len = snprintf(line, sizeof line, "%" PRIuPTR " messages, ended for reason %" PRId32, (uintptr_t)user, reason);
    ringway_bytes text = {line, (size_t)len};
    server->log(service->number, RINGWAY_LOG_DEBUG, text);
}

static int32_t create(const ringway_setup *setup, void **instance) {
    struct service *service = malloc(sizeof *service);
    if (!service)
        return -1;
    service->number = setup->service;
    *instance = service;
    return 0;
}

static const ringway_connection_handler handler = {
    .struct_size = sizeof handler,
    .message_bytes_max = 4 + PAYLOAD_BYTES_MAX,
    .message = message,
    .closed = closed,
    .measure = measure,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "length-echo",
    .version = "1",
    .create = create,
    .destroy = free,
    .connection = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return RINGWAY_HAS(server, conn_send_in_place) ? &plugin : NULL;
}
