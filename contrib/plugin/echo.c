/*
 * An echo in C: what comes goes back, from where it lies, so nothing is copied. A peer that does not read is not read from.
 *
 *   make && ringway run ...   with   handler = "lib:.../echo.so"   in an [[endpoint]]
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

/* Bytes that may wait to be sent before no more are read. */
#define QUEUE_BYTES_MAX (256u * 1024u)

static const ringway_server *server;

static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)instance, (void)worker, (void)user;
    ringway_bytes all = {message.data, message.len};
    if (server->conn_send_in_place(conn, all) != RINGWAY_OK)
        return RINGWAY_CLOSE;
    if (server->conn_queued(conn) > QUEUE_BYTES_MAX) {
        server->conn_pause(conn);
        server->conn_when_sent(conn);
    }
    return RINGWAY_GO_ON;
}

static int32_t written(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)instance, (void)worker, (void)user;
    server->conn_resume(conn);
    return RINGWAY_GO_ON;
}

static const ringway_connection_handler handler = {
    .struct_size = sizeof handler,
    .message = message,
    .written = written,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "echo",
    .version = "1",
    .connection = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    /* An older server has no connections for libraries. */
    return RINGWAY_HAS(server, conn_queued) ? &plugin : NULL;
}
