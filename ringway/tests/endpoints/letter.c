/*
 * A handler that answers each line with a letter before it; for tests. It waits when it is told to, and dies when it is told to.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _POSIX_C_SOURCE 200809L
#include "ringway.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MAX 4096u

static const ringway_server *server;

static int is(ringway_bytes_mut message, const char *word) {
    return message.len == strlen(word) && memcmp(message.data, word, message.len) == 0;
}

static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)instance, (void)worker, (void)user;
    if (is(message, "die"))
        abort();
    if (is(message, "wait")) {
        struct timespec time = {.tv_sec = 0, .tv_nsec = 500000000};
        nanosleep(&time, NULL);
    }
    if (message.len >= ANSWER_MAX)
        return RINGWAY_CLOSE;
    char answer[ANSWER_MAX];
    answer[0] = 'LETTER';
    memcpy(answer + 1, message.data, message.len);
    ringway_bytes bytes = {answer, message.len + 1};
    return server->conn_send(conn, bytes) == RINGWAY_OK ? RINGWAY_GO_ON : RINGWAY_CLOSE;
}

static const ringway_connection_handler handler = {
    .struct_size = sizeof handler,
    .message = message,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "letter-LETTER",
    .version = "1",
    .connection = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return RINGWAY_HAS(server, conn_send) ? &plugin : NULL;
}
