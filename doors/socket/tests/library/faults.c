/* A library that does what the first byte of a message asks for, wrong things above all, and answers with what it was told. */
#include "ringway.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const ringway_server *server;
static ringway_service service;
static ringway_conn *kept;
static ringway_key own;

static int64_t measure(void *instance, void *worker, void *user, ringway_bytes input) {
    (void)instance, (void)worker, (void)user;
    switch (input.data[0]) {
    case 'N': return -7;
    case 'H': return INT64_MAX;
    case 'Z': return RINGWAY_NEED_MORE;
    default: return 1;
    }
}

static void *elsewhere(void *conn) {
    ringway_bytes text = ringway_text("from another thread");
    return (void *)(intptr_t)server->conn_send(conn, text);
}

static void *posts(void *unused) {
    (void)unused;
    return (void *)(intptr_t)server->post_send(service, own, RINGWAY_BINARY, ringway_text("posted"));
}

static long on_a_thread(void *(*what)(void *), void *with) {
    pthread_t thread;
    void *said = NULL;
    pthread_create(&thread, NULL, what, with);
    pthread_join(thread, &said);
    return (long)(intptr_t)said;
}

static long act(ringway_conn *conn, ringway_bytes_mut message) {
    ringway_bytes all = {message.data, message.len}, much = {message.data, 65u << 20}, other = ringway_text("x");
    switch (message.data[0]) {
    case 'k': kept = conn; own = server->conn_key(conn); return 0;
    case 'o': return server->conn_send(kept, other);
    case 't': return on_a_thread(elsewhere, conn);
    case 'p': return on_a_thread(posts, NULL);
    case 'l': return server->conn_send(conn, much);
    case 'i': return server->conn_send_in_place(conn, other);
    case 'd': return server->conn_send_in_place(conn, all) * 10 + server->conn_send_in_place(conn, all);
    case 'f': return server->conn_send_file(conn, -1, 0, 1);
    case 'F': return server->conn_send_file(conn, 999999, 0, 1);
    case 'b': return server->broadcast(service, RINGWAY_BINARY, other);
    case 'K': return server->conn_send_as(conn, 9, other);
    case 'g': { ringway_key none = {{1, 2}}; return server->post_close(service, none); }
    case 'c': return server->connect(service, ringway_text("nowhere"), 0, NULL);
    case 'C': return server->connect(service, ringway_text("127.0.0.1:1"), 64, NULL);
    case 'q': return server->peer_send((ringway_peer *)conn, other);
    default: return 99;
    }
}

static int32_t message(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message) {
    (void)instance, (void)worker, (void)user;
    if (message.data[0] == 'u')
        return 7;
    char text[32];
    ringway_bytes said = {text, (size_t)snprintf(text, sizeof text, "%ld\n", act(conn, message))};
    server->conn_send(conn, said);
    return RINGWAY_GO_ON;
}

static void closed(void *instance, void *worker, void *user, int32_t reason) {
    (void)instance, (void)worker, (void)user;
    char text[32];
    ringway_bytes said = {text, (size_t)snprintf(text, sizeof text, "closed for %d", (int)reason)};
    server->log(service, RINGWAY_LOG_INFO, said);
}

static int32_t create(const ringway_setup *setup, void **instance) {
    service = setup->service;
    *instance = &service;
    return setup->kind == RINGWAY_KIND_CONNECTION ? 0 : -1;
}

static const ringway_connection_handler handler = {
    .struct_size = sizeof handler, .message = message, .closed = closed, .measure = measure, .message_bytes_max = 100};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "faults", .version = "1", .create = create, .connection = &handler};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return &plugin;
}
