/*
 * A service in C: a greeting, a form that comes back, a counter, an answer from another thread, and one in pieces.
 *
 *   make && ringway run ...   with   library = ".../service.so"   in the configuration
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "ringway.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { HELLO = 1, ECHO, COUNTER, LATER, COUNT_DOWN };

/* An instance: one for each place in the configuration that names this library. */
struct service {
    ringway_service number;
    char greeting[64];
    atomic_ulong count;
    /* Threads that have something to answer, or had. */
    pthread_mutex_t lock;
    struct job *jobs;
};

static const ringway_server *server;

static const ringway_field plain = {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}};

static ringway_answer text_answer(uint32_t status, ringway_bytes body) {
    ringway_answer answer = {sizeof answer, status, &plain, 1, body, RINGWAY_LENGTH_UNKNOWN};
    return answer;
}

static int32_t say(const ringway_request *request, uint32_t status, ringway_bytes body) {
    ringway_answer answer = text_answer(status, body);
    return server->answer(request, &answer) == RINGWAY_OK ? RINGWAY_DONE : -1;
}

/* GET /hello/{name} */
static int32_t hello(struct service *service, const ringway_request *request) {
    ringway_bytes name = server->param(request, ringway_text("name"));
    char text[256];
    int len = snprintf(text, sizeof text, "%s, %.*s!\n", service->greeting, name.len > 100 ? 100 : (int)name.len, name.data);
    ringway_bytes body = {text, (size_t)len};
    return say(request, 200, body);
}

/* POST /echo, a form with `text` */
static int32_t echo(const ringway_request *request) {
    ringway_bytes text = server->form_value(request, ringway_text("text"));
    if (!text.data)
        return say(request, 400, ringway_text("the form has no text\n"));
    return say(request, 200, text);
}

/* GET /counter */
static int32_t counter(struct service *service, const ringway_request *request) {
    char text[32];
    unsigned long count = atomic_fetch_add(&service->count, 1) + 1;
    ringway_bytes body = {text, (size_t)snprintf(text, sizeof text, "%lu\n", count)};
    return say(request, 200, body);
}

/* A thread, and what it knows of the answer it is to give. */
struct job {
    ringway_later later;
    unsigned long lines;
    pthread_t thread;
    atomic_bool is_done;
    struct job *next;
};

/* Forgets the threads that are done, or all of them: a thread may not run on when its code is unmapped. */
static void reap(struct service *service, int all) {
    struct job **place = &service->jobs;
    while (*place) {
        struct job *job = *place;
        if (all || atomic_load(&job->is_done)) {
            *place = job->next;
            pthread_join(job->thread, NULL);
            free(job);
        } else {
            place = &job->next;
        }
    }
}

static void *answer_later(void *pointer) {
    struct job *job = pointer;
    ringway_answer answer = text_answer(200, ringway_text("from a thread\n"));
    /* If the client has left meanwhile this says so, and that is all. */
    server->answer_later(job->later, &answer);
    atomic_store(&job->is_done, 1);
    return NULL;
}

/* Says numbers, as fast as the client takes them. */
static void *count_down(void *pointer) {
    struct job *job = pointer;
    ringway_answer head = text_answer(200, ringway_text("counting\n"));
    int32_t result = server->begin(job->later, &head);
    while (result == RINGWAY_OK && job->lines > 0) {
        char text[32];
        ringway_bytes line = {text, (size_t)snprintf(text, sizeof text, "%lu\n", job->lines)};
        result = server->write(job->later, line);
        if (result == RINGWAY_OK)
            job->lines--;
        else if (result == RINGWAY_E_FULL)
            result = server->wait(job->later, 10000);
    }
    if (result == RINGWAY_OK)
        server->end(job->later);
    else
        server->abort(job->later);
    atomic_store(&job->is_done, 1);
    return NULL;
}

static int32_t in_thread(struct service *service, const ringway_request *request, void *(*run)(void *), unsigned long lines) {
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return say(request, 503, ringway_text("no memory\n"));
    job->lines = lines;
    job->later = server->later(request, NULL);
    pthread_mutex_lock(&service->lock);
    reap(service, 0);
    if (job->later && pthread_create(&job->thread, NULL, run, job) == 0) {
        job->next = service->jobs;
        service->jobs = job;
    } else {
        /* Also good for 0, which is none. */
        server->abort(job->later);
        free(job);
    }
    pthread_mutex_unlock(&service->lock);
    return RINGWAY_LATER;
}

static int32_t on_request(void *instance, void *worker, const ringway_request *request) {
    struct service *service = instance;
    (void)worker;
    switch (server->route(request)) {
    case HELLO:
        return hello(service, request);
    case ECHO:
        return echo(request);
    case COUNTER:
        return counter(service, request);
    case LATER:
        return in_thread(service, request, answer_later, 0);
    case COUNT_DOWN: {
        char digits[16] = "10";
        ringway_bytes from = server->query_value(request, ringway_text("from"));
        if (from.data)
            snprintf(digits, sizeof digits, "%.*s", (int)from.len, from.data);
        return in_thread(service, request, count_down, strtoul(digits, NULL, 10));
    }
    }
    return RINGWAY_PASS;
}

static int32_t create(const ringway_setup *setup, void **instance) {
    struct service *service = calloc(1, sizeof *service);
    if (!service)
        return -1;
    service->number = setup->service;
    snprintf(service->greeting, sizeof service->greeting, "Hello");
    /* The section is `greeting = "..."`, or nothing. */
    char config[256];
    snprintf(config, sizeof config, "%.*s", (int)setup->config.len, setup->config.data ? setup->config.data : "");
    if (config[0] && sscanf(config, " greeting = \"%63[^\"]\"", service->greeting) != 1) {
        snprintf(setup->error, setup->error_bytes, "the only setting is `greeting`, a text");
        free(service);
        return -1;
    }
    pthread_mutex_init(&service->lock, NULL);
    server->log(service->number, RINGWAY_LOG_INFO, ringway_text("the service in C is there"));
    *instance = service;
    return 0;
}

/* The library is unmapped behind this. */
static void destroy(void *instance) {
    struct service *service = instance;
    reap(service, 1);
    pthread_mutex_destroy(&service->lock);
    free(service);
}

static const ringway_route routes[] = {
    {"GET", "/hello/{name}", HELLO, 0},
    {"POST", "/echo", ECHO, 0},
    {"GET", "/counter", COUNTER, 0},
    {"GET", "/later", LATER, 0},
    {"GET", "/count-down", COUNT_DOWN, 0},
};

static const ringway_request_handler handler = {
    .struct_size = sizeof handler,
    .body_bytes_max = 64 * 1024,
    .routes = routes,
    .routes_len = sizeof routes / sizeof *routes,
    .request = on_request,
};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi = RINGWAY_ABI,
    .name = "c-service",
    .version = "1.0",
    .create = create,
    .destroy = destroy,
    .request = &handler,
};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return &plugin;
}
