/*
 * A stream filter in C: every byte on the wire is the byte of the protocol XOR a key, in both directions. It changes bytes where
 * they lie, so nothing is copied.
 *
 *   make && ringway run ...   with   filters = ["lib:.../xor.so?90"]   in an [[endpoint]]; the key is 1 to 255, 90 if none is said
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

#include <stdio.h>
#include <stdlib.h>

struct filter {
    unsigned char key;
};

static const ringway_server *server;

static int32_t create(const ringway_setup *setup, void **instance) {
    char text[16] = "90";
    if (setup->config.len >= sizeof text) {
        snprintf(setup->error, setup->error_bytes, "the key is a number from 1 to 255");
        return -1;
    }
    if (setup->config.len > 0) {
        memcpy(text, setup->config.data, setup->config.len);
        text[setup->config.len] = 0;
    }
    char *end;
    long key = strtol(text, &end, 10);
    if (*end || key < 1 || key > 255) {
        snprintf(setup->error, setup->error_bytes, "the key is a number from 1 to 255, not %s", text);
        return -1;
    }
    struct filter *filter = malloc(sizeof *filter);
    if (!filter)
        return -1;
    filter->key = (unsigned char)key;
    *instance = filter;
    return 0;
}

static void destroy(void *instance) {
    free(instance);
}

static void change(const struct filter *filter, ringway_bytes_mut bytes) {
    for (size_t at = 0; at < bytes.len; at++)
        bytes.data[at] = (char)((unsigned char)bytes.data[at] ^ filter->key);
}

static int64_t take(void *instance, void *worker, ringway_filter *filter, void **user, ringway_bytes_mut bytes) {
    (void)worker, (void)user;
    change(instance, bytes);
    ringway_bytes all = {bytes.data, bytes.len};
    return server->filter_up(filter, all) == RINGWAY_OK ? (int64_t)bytes.len : -1;
}

static int64_t give(void *instance, void *worker, ringway_filter *filter, void **user, ringway_bytes_mut bytes) {
    (void)worker, (void)user;
    change(instance, bytes);
    ringway_bytes all = {bytes.data, bytes.len};
    return server->filter_down(filter, all) == RINGWAY_OK ? (int64_t)bytes.len : -1;
}

static const ringway_stream_filter filter = {
    .struct_size = sizeof filter,
    .read = take,
    .write = give,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "xor",
    .version = "1",
    .create = create,
    .destroy = destroy,
    .filter = &filter,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    /* An older server has no filters. */
    return RINGWAY_HAS(server, filter_down) ? &plugin : NULL;
}
