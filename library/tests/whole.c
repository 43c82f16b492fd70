/*
 * A program that makes a server of a table of its own, asks it over HTTP, does everything wrong that can be, and ends without
 * leaving anything. It says what is not as it should be.
 */
#include "ringway_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPECT(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, ringway_host_error()); \
            exit(1); \
        } \
    } while (0)

/* A call fails with that code, and words that have that in them. */
#define REFUSED(call, code, words) \
    do { \
        int32_t got = (call); \
        if (got != (code) || !strstr(ringway_host_error(), words)) { \
            fprintf(stderr, "line %d: %s: %d, %s\n", __LINE__, #call, got, ringway_host_error()); \
            exit(1); \
        } \
    } while (0)

static const ringway_server *server;
static ringway_host host;
static ringway_service number;
static atomic_int begun, ended, destroyed, misused;
static int word = 7;

/* Answers with the path; tries what no worker may. */
static int32_t on_request(void *instance, void *worker, const ringway_request *request) {
    ringway_answer answer = {sizeof answer, 200, NULL, 0, server->path(request), 0};
    (void)worker;
    EXPECT(*(int *)instance == 7);
    REFUSED(ringway_host_stop(host, 0), RINGWAY_E_THREAD, "worker");
    REFUSED(ringway_host_destroy(host), RINGWAY_E_THREAD, "worker");
    atomic_fetch_add(&misused, 1);
    return server->answer(request, &answer) == RINGWAY_OK ? RINGWAY_DONE : -1;
}

static int32_t worker_begins(void *data) {
    EXPECT(data == &word);
    REFUSED(ringway_host_start(host), RINGWAY_E_THREAD, "worker");
    atomic_fetch_add(&begun, 1);
    return 0;
}

static void worker_ends(void *data) {
    EXPECT(data == &word);
    atomic_fetch_add(&ended, 1);
}

/* A plug-in that is a part of this program, and one that does not like its settings. */
static int32_t create(const ringway_setup *setup, void **instance) {
    if (setup->config.len && memchr(setup->config.data, '!', setup->config.len)) {
        snprintf(setup->error, setup->error_bytes, "no exclamation marks");
        return 1;
    }
    REFUSED(ringway_host_listen(host, "0"), RINGWAY_E_STATE, "within");
    *instance = &word;
    return 0;
}

static void destroy(void *instance) {
    EXPECT(instance == &word);
    atomic_fetch_add(&destroyed, 1);
}

static const ringway_request_handler handler = {.struct_size = sizeof handler, .request = on_request};
static const ringway_request_handler lame = {.struct_size = sizeof lame};
static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "whole",
    .version = "1.0",
    .create = create,
    .destroy = destroy,
    .request = &handler,
};

static const ringway_plugin *entry(const ringway_server *from) {
    EXPECT(from == ringway_host_functions());
    return &plugin;
}

static const ringway_plugin *nothing(const ringway_server *from) {
    (void)from;
    return NULL;
}

/* What is answered for a path. */
static void ask(int port, const char *path, char *answer, size_t room) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    char request[256];
    size_t len = 0;
    ssize_t count;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", path);
    EXPECT(send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
    while (len + 1 < room && (count = recv(fd, answer + len, room - 1 - len, 0)) > 0)
        len += (size_t)count;
    answer[len] = 0;
    close(fd);
}

static void *in_another_thread(void *data) {
    (void)data;
    EXPECT(ringway_host_error()[0] == 0);
    REFUSED(ringway_host_start(host), RINGWAY_E_STATE, "serves already");
    return NULL;
}

static void wrong_before(void) {
    REFUSED(ringway_host_configure(0, ""), RINGWAY_E_GONE, "0 is no host");
    REFUSED(ringway_host_configure(host + 100, ""), RINGWAY_E_GONE, "never made");
    REFUSED(ringway_host_configure(host, NULL), RINGWAY_E_INVALID, "NULL");
    REFUSED(ringway_host_configure(host, "\xff"), RINGWAY_E_INVALID, "UTF-8");
    REFUSED(ringway_host_configure(host, "[server]\nworkers = \"many\"\n"), RINGWAY_E_INVALID, "line 2");
    REFUSED(ringway_host_configure(host, "[server]\nworkrs = 1\n"), RINGWAY_E_INVALID, "did you mean `workers`");
    REFUSED(ringway_host_configure(host, "["), RINGWAY_E_INVALID, "line 1");
    REFUSED(ringway_host_set(host, "server.wrkers", "1"), RINGWAY_E_INVALID, "did you mean `workers`");
    REFUSED(ringway_host_set(host, "server workers", "1"), RINGWAY_E_INVALID, "no key");
    REFUSED(ringway_host_set(host, NULL, "1"), RINGWAY_E_INVALID, "NULL");
    REFUSED(ringway_host_listen(host, "nowhere"), RINGWAY_E_INVALID, "no port");
    REFUSED(ringway_host_handler(host, NULL, "/", "a", NULL, NULL, NULL, NULL), RINGWAY_E_INVALID, "NULL");
    REFUSED(ringway_host_handler(host, NULL, "/", "a", &lame, NULL, NULL, NULL), RINGWAY_E_INVALID, "request` is missing");
    REFUSED(ringway_host_handler(host, NULL, "a", "a", &handler, NULL, NULL, NULL), RINGWAY_E_INVALID, "slash");
    REFUSED(ringway_host_plugin(host, NULL, "/", "a", NULL, NULL), RINGWAY_E_INVALID, "NULL");
    REFUSED(ringway_host_plugin(host, NULL, "/", "a", nothing, NULL), RINGWAY_E_INVALID, "gave no table");
    REFUSED(ringway_host_plugin(host, NULL, "/", "a", entry, "[config]\nx = \"!\""), RINGWAY_E_INVALID, "exclamation");
    REFUSED(ringway_host_plugin(host, NULL, "/", "a", entry, "sesions = {}"), RINGWAY_E_INVALID, "sesions");
    REFUSED(ringway_host_plugin(host, NULL, "/", "a", entry, "= 1"), RINGWAY_E_INVALID, "settings of a");
    REFUSED(ringway_host_plugin(host, NULL, "/", "a", entry, "sessions = { store = \"sqlite\" }"), RINGWAY_E_INVALID, "`data`");
    REFUSED(ringway_host_start(host), RINGWAY_E_STATE, "listen");
    REFUSED(ringway_host_stop(host, 0), RINGWAY_E_STATE, "not started");
    REFUSED(ringway_host_port(host, 0), RINGWAY_E_GONE, "no address 0");
}

/* A host that is destroyed while it serves, and one that cannot be started. */
static void others(int port) {
    char address[64];
    ringway_host other = ringway_host_create();
    EXPECT(ringway_host_listen(other, "127.0.0.1:0") == RINGWAY_OK);
    REFUSED(ringway_host_start(other), RINGWAY_E_STATE, "nothing to serve");
    EXPECT(ringway_host_site(other, "example.org", "/usr/include") == RINGWAY_OK);
    REFUSED(ringway_host_site(other, "example.org", "/"), RINGWAY_E_STATE, "already");
    EXPECT(ringway_host_set(other, "server.workers", "1") == RINGWAY_OK);
    EXPECT(ringway_host_start(other) == RINGWAY_OK);
    EXPECT(ringway_host_destroy(other) == RINGWAY_OK);
    REFUSED(ringway_host_destroy(other), RINGWAY_E_GONE, "destroyed");

    other = ringway_host_create();
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    EXPECT(ringway_host_listen(other, address) == RINGWAY_OK);
    EXPECT(ringway_host_site(other, NULL, "/nowhere at all") == RINGWAY_OK);
    REFUSED(ringway_host_start(other), RINGWAY_E_SERVER, "nowhere at all");
    EXPECT(ringway_host_destroy(other) == RINGWAY_OK);
}

int main(int argc, char **argv) {
    char answer[4096], small[4], address[64];
    pthread_t thread;
    int port;

    EXPECT(ringway_host_error()[0] == 0);
    EXPECT(ringway_host_version()[0] != 0);
    server = ringway_host_functions();
    host = ringway_host_create();
    EXPECT(host != 0);
    wrong_before();
    EXPECT(ringway_host_configure(host, "[server]\nworkers = 2\n") == RINGWAY_OK);
    REFUSED(ringway_host_configure(host, ""), RINGWAY_E_STATE, "already");
    EXPECT(ringway_host_set(host, "server.driver", argc > 1 ? argv[1] : "auto") == RINGWAY_OK);
    EXPECT(ringway_host_listen(host, "127.0.0.1:0") == RINGWAY_OK);
    EXPECT(ringway_host_workers(host, worker_begins, worker_ends, &word) == RINGWAY_OK);
    REFUSED(ringway_host_workers(host, NULL, NULL, NULL), RINGWAY_E_STATE, "already");
    EXPECT(ringway_host_handler(host, NULL, "/", "table", &handler, &word, NULL, &number) == RINGWAY_OK);
    REFUSED(ringway_host_handler(host, NULL, "/b", "table", &handler, &word, NULL, NULL), RINGWAY_E_STATE, "already");
    EXPECT(ringway_host_plugin(host, "localhost", "/plugin", "plugin", entry, "[config]\nx = 1\n") == RINGWAY_OK);
    EXPECT(number != 0);
    EXPECT(ringway_host_start(host) == RINGWAY_OK);
    REFUSED(ringway_host_start(host), RINGWAY_E_STATE, "serves already");
    REFUSED(ringway_host_set(host, "server.workers", "1"), RINGWAY_E_STATE, "serves already");
    EXPECT(pthread_create(&thread, NULL, in_another_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    port = ringway_host_port(host, 0);
    EXPECT(port > 0);
    REFUSED(ringway_host_port(host, 1), RINGWAY_E_GONE, "no address 1");
    REFUSED(ringway_host_address(host, 0, small, sizeof small), RINGWAY_E_LIMIT, "more than 4 bytes");
    REFUSED(ringway_host_address(host, 0, NULL, 9), RINGWAY_E_INVALID, "NULL");
    EXPECT(ringway_host_address(host, 0, address, sizeof address) == RINGWAY_OK && strtol(address + 10, NULL, 10) == port);
    for (int round = 0; round < 20; round++) {
        ask(port, "/some/where", answer, sizeof answer);
        EXPECT(strstr(answer, "200 OK") && strstr(answer, "\r\n\r\n/some/where"));
    }
    EXPECT(atomic_load(&misused) == 20);
    others(port);
    EXPECT(ringway_host_stop(host, 10000) == RINGWAY_OK);
    REFUSED(ringway_host_stop(host, 0), RINGWAY_E_STATE, "any more");
    REFUSED(ringway_host_start(host), RINGWAY_E_STATE, "started once");
    EXPECT(ringway_host_destroy(host) == RINGWAY_OK);
    REFUSED(ringway_host_destroy(host), RINGWAY_E_GONE, "destroyed");
    EXPECT(atomic_load(&begun) == 2 && atomic_load(&ended) == 2 && atomic_load(&destroyed) == 1);
    fprintf(stderr, "done\n");
    return 0;
}
