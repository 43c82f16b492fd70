/*
 * A chat by lines (framing = "lines"): the first line is a name, and every other goes to everybody who has one. Over
 * framing = "websocket" the same library is a chat for browsers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES_MAX 32
#define LINE_BYTES_MAX 512

struct service {
    ringway_service number;
};

static const ringway_server *server;

/* Who speaks. The word of a connection that has no name yet is NULL. */
struct member {
    size_t len;
    char name[NAME_BYTES_MAX];
};

/* Says "NAME MIDDLE LINE" to all. */
static void tell(const struct service *service, const struct member *member, const char *middle, ringway_bytes line) {
    char text[NAME_BYTES_MAX + LINE_BYTES_MAX + 16];
    int len = snprintf(text, sizeof text, "%.*s%s%.*s", (int)member->len, member->name, middle,
                       line.len > LINE_BYTES_MAX ? LINE_BYTES_MAX : (int)line.len, line.data ? line.data : "");
    ringway_bytes all = {text, (size_t)len};
    server->group_send(service->number, ringway_text("members"), RINGWAY_TEXT, all);
}

/* A line without what a terminal adds to it. */
static ringway_bytes trimmed(ringway_bytes_mut message) {
    ringway_bytes line = {message.data, message.len};
    while (line.len > 0 && (unsigned char)line.data[line.len - 1] <= ' ')
        line.len--;
    return line;
}

static int32_t opened(void *instance, void *worker, ringway_conn *conn, void **user) {
    (void)instance, (void)worker, (void)user;
    server->conn_send_as(conn, RINGWAY_TEXT, ringway_text("What is your name?"));
    return RINGWAY_GO_ON;
}

static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)worker;
    struct member *member = *user;
    ringway_bytes line = trimmed(message), none = {NULL, 0};
    if (member) {
        tell(instance, member, ": ", line);
        return RINGWAY_GO_ON;
    }
    if (line.len == 0 || line.len > NAME_BYTES_MAX) {
        server->conn_send_as(conn, RINGWAY_TEXT, ringway_text("A name has 1 to 32 bytes. What is yours?"));
        return RINGWAY_GO_ON;
    }
    member = malloc(sizeof *member);
    if (!member || server->conn_join(conn, ringway_text("members")) != RINGWAY_OK) {
        free(member);
        return RINGWAY_CLOSE;
    }
    memcpy(member->name, line.data, member->len = line.len);
    *user = member;
    tell(instance, member, " is here", none);
    return RINGWAY_GO_ON;
}

static void closed(void *instance, void *worker, void *user, int32_t reason) {
    (void)worker, (void)reason;
    ringway_bytes none = {NULL, 0};
    if (user)
        tell(instance, user, " has left", none);
    free(user);
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
    .message_bytes_max = LINE_BYTES_MAX,
    .opened = opened,
    .message = message,
    .closed = closed,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "chat",
    .version = "1",
    .create = create,
    .destroy = free,
    .connection = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return RINGWAY_HAS(server, conn_join) ? &plugin : NULL;
}
