/*
 * An echo of datagrams (protocol = "udp").
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

static const ringway_server *server;

static int32_t datagram(void *instance, void *worker, ringway_peer *peer, void **user, ringway_bytes_mut payload) {
    (void)instance, (void)worker, (void)user;
    ringway_bytes all = {payload.data, payload.len};
    /* One for which there is no room is lost, as datagrams are. */
    server->peer_send(peer, all);
    return RINGWAY_GO_ON;
}

static const ringway_connection_handler handler = {
    .struct_size = sizeof handler,
    .datagram = datagram,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "udp-echo",
    .version = "1",
    .connection = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return RINGWAY_HAS(server, peer_send) ? &plugin : NULL;
}
