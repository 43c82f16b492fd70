/*
 * A chat over WebSockets: what one says, all hear. As a plug-in of `ringway run`, and with program.c as a program of its own.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway_service.h"

static const char page[] =
#include "chat.page"
    ;

static void show(ringway_call *call) {
    ringway_html(call, page);
}

static void handshake(ringway_call *call) {
    ringway_upgrade(call, NULL);
}

static void on_open(ringway_ws *ws) {
    ringway_join(ws, "chat");
}

static void on_message(ringway_ws *ws, uint32_t kind, ringway_bytes message) {
    ringway_broadcast(ws, "chat", kind, message);
}

static void setup(ringway_app *app) {
    ringway_get(app, "/", show);
    ringway_get(app, "/handshake/", handshake);
    ringway_on_open(app, on_open);
    ringway_on_message(app, on_message);
}

RINGWAY_SERVICE("chat", "1.0", setup)
