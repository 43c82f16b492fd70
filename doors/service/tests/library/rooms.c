/* A plug-in with WebSockets: each text goes to all sockets of the room in the path; bytes come back alone. */
#include "ringway.h"

#include <stdio.h>
#include <stdlib.h>

static const ringway_server *server;
static ringway_service service;
static _Atomic int open_sockets;

struct member {
    char room[64];
};

static int32_t create(const ringway_setup *setup, void **instance) {
    (void)instance;
    service = setup->service;
    return 0;
}

static int32_t on_request(void *instance, void *worker, const ringway_request *request) {
    (void)instance, (void)worker;
    ringway_bytes room = server->param(request, ringway_text("room"));
    if (server->route(request) == 2) {
        char text[32];
        ringway_bytes body = {text, (size_t)snprintf(text, sizeof text, "%d", open_sockets)};
        ringway_answer answer = {sizeof answer, 200, NULL, 0, body, RINGWAY_LENGTH_UNKNOWN};
        /* Who is not in a callback of a socket has none. */
        if (server->socket_send((const ringway_socket *)request, RINGWAY_TEXT, body) != RINGWAY_E_THREAD)
            abort();
        return server->answer(request, &answer) == RINGWAY_OK ? RINGWAY_DONE : -1;
    }
    struct member *member = calloc(1, sizeof *member);
    snprintf(member->room, sizeof member->room, "%.*s", (int)room.len, room.data);
    if (server->open_socket(request, member) != RINGWAY_OK)
        free(member);
    else if (server->open_socket(request, member) != RINGWAY_E_STATE)
        abort();
    return RINGWAY_DONE;
}

static void opened(void *instance, void *worker, const ringway_socket *socket, void *user) {
    (void)instance, (void)worker;
    struct member *member = user;
    open_sockets++;
    server->socket_join(socket, ringway_text(member->room));
    server->socket_send(socket, RINGWAY_TEXT, ringway_text("welcome"));
}

static void message(void *instance, void *worker, const ringway_socket *socket, void *user, uint32_t kind, ringway_bytes bytes) {
    (void)instance, (void)worker;
    struct member *member = user;
    if (kind == RINGWAY_BINARY) {
        server->socket_send(socket, kind, bytes);
    } else if (bytes.len == 5 && memcmp(bytes.data, "leave", 5) == 0) {
        server->socket_leave(socket, ringway_text(member->room));
        server->socket_send(socket, RINGWAY_TEXT, ringway_text("left"));
    } else if (bytes.len == 5 && memcmp(bytes.data, "close", 5) == 0) {
        server->socket_close(socket, 4001, ringway_text("as you like"));
    } else if (bytes.len == 8 && memcmp(bytes.data, "nonsense", 8) == 0) {
        ringway_bytes wrong = {"\xff", 1};
        int good = server->socket_send(socket, RINGWAY_TEXT, wrong) == RINGWAY_E_INVALID &&
                   server->socket_send(socket, 7, bytes) == RINGWAY_E_INVALID &&
                   server->socket_close(socket, 1005, bytes) == RINGWAY_E_INVALID &&
                   server->socket_leave(socket, ringway_text("elsewhere")) == RINGWAY_E_STATE &&
                   server->group_send(service + 1000, bytes, RINGWAY_TEXT, bytes) == RINGWAY_E_GONE;
        server->socket_send(socket, RINGWAY_TEXT, ringway_text(good ? "refused" : "taken"));
    } else {
        server->group_send(service, ringway_text(member->room), kind, bytes);
    }
}

static void closed(void *instance, void *worker, void *user, uint32_t code, ringway_bytes reason) {
    (void)instance, (void)worker, (void)code, (void)reason;
    open_sockets--;
    free(user);
}

static const ringway_socket_handler sockets = {
    .struct_size = sizeof sockets, .message_bytes_max = 1000, .opened = opened, .message = message, .closed = closed};

static const ringway_route routes[] = {{"GET", "/rooms/{room}", 1, 0}, {"GET", "/open", 2, 0}};

static const ringway_request_handler handler = {.struct_size = sizeof handler,
                                                .routes = routes,
                                                .routes_len = 2,
                                                .request = on_request,
                                                .socket = &sockets};

static const ringway_plugin plugin = {.struct_size = sizeof plugin,
                                      .abi = RINGWAY_ABI,
                                      .name = "rooms",
                                      .version = "1",
                                      .create = create,
                                      .request = &handler};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return &plugin;
}
