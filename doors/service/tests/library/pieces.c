/* A plug-in that gives bodies back piece by piece: it asks for the next when the last is on its way. */
#include "ringway.h"

#include <stdlib.h>

static const ringway_server *server;

/* What waits for room. */
struct echo {
    char *piece;
    size_t len;
    int is_whole;
};

static int32_t on_request(void *instance, void *worker, const ringway_request *request) {
    (void)instance, (void)worker;
    struct echo *echo = calloc(1, sizeof *echo);
    ringway_answer head = {sizeof head, 200, NULL, 0, {NULL, 0}, RINGWAY_LENGTH_UNKNOWN};
    ringway_later later = server->later(request, echo);
    if (!later) {
        free(echo);
        return -1;
    }
    server->begin(later, &head);
    return RINGWAY_LATER;
}

/* Sends what waits; whether nothing waits any more. */
static int flush(ringway_later later, struct echo *echo) {
    ringway_bytes piece = {echo->piece, echo->len};
    if (echo->len && server->write(later, piece) == RINGWAY_E_FULL)
        return 0;
    free(echo->piece);
    echo->piece = NULL;
    echo->len = 0;
    if (echo->is_whole)
        server->end(later);
    return 1;
}

static int32_t on_body(void *instance, void *worker, ringway_later later, void *user, ringway_bytes piece) {
    (void)instance, (void)worker;
    struct echo *echo = user;
    if (!piece.data) {
        echo->is_whole = 1;
        flush(later, echo);
        return RINGWAY_MORE;
    }
    if (piece.len == 4 && memcmp(piece.data, "stop", 4) == 0) {
        echo->is_whole = 1;
        flush(later, echo);
        return RINGWAY_STOP;
    }
    if (piece.len == 4 && memcmp(piece.data, "junk", 4) == 0)
        return 4711;
    echo->piece = malloc(piece.len);
    echo->len = piece.len;
    memcpy(echo->piece, piece.data, piece.len);
    return flush(later, echo) ? RINGWAY_MORE : RINGWAY_PAUSE;
}

static void on_writable(void *instance, void *worker, ringway_later later, void *user) {
    (void)instance, (void)worker;
    if (flush(later, user))
        server->resume_body(later);
}

static void on_over(void *instance, void *worker, ringway_later later, void *user, int32_t how) {
    (void)instance, (void)worker, (void)later, (void)how;
    struct echo *echo = user;
    free(echo->piece);
    free(echo);
}

static const ringway_request_handler handler = {
    .struct_size = sizeof handler,
    .flags = RINGWAY_BODY_PIECES,
    .body_bytes_max = 1u << 30,
    .request = on_request,
    .body = on_body,
    .writable = on_writable,
    .over = on_over,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "pieces", .version = "1", .request = &handler};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return &plugin;
}
