/*
 * A program that is a server: whatever service it is linked with, on libringway.so.
 *
 *   chat [ADDRESS [SETTINGS]]   127.0.0.1:8080 and none if none are said; ends on SIGINT and SIGTERM
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway_host.h"

#include <signal.h>
#include <stdio.h>

static int refuse(void) {
    fprintf(stderr, "%s\n", ringway_host_error());
    return 2;
}

int main(int argc, char **argv) {
    ringway_host host = ringway_host_create();
    char address[64];
    sigset_t ends;
    int signal;

    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);

    if (ringway_host_listen(host, argc > 1 ? argv[1] : "127.0.0.1:8080") != RINGWAY_OK ||
        ringway_host_plugin(host, NULL, "/", "service", ringway_plugin_entry, argc > 2 ? argv[2] : NULL) != RINGWAY_OK ||
        ringway_host_start(host) != RINGWAY_OK || ringway_host_address(host, 0, address, sizeof address) != RINGWAY_OK)
        return refuse();
    fprintf(stderr, "Serving at http://%s/\n", address);

    sigwait(&ends, &signal);
    if (ringway_host_stop(host, 10000) != RINGWAY_OK)
        return refuse();
    return ringway_host_destroy(host) == RINGWAY_OK ? 0 : 2;
}
