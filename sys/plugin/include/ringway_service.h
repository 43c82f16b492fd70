/*
 * ringway_service.h: services in C, the pleasant way. It stands on ringway.h and is nothing but it: no library is needed, and the
 * same source is a plug-in that `ringway run` loads (a [[service]] with `library`) and a part of a program on libringway.so
 * (ringway_host_plugin).
 *
 *     #include "ringway_service.h"
 *
 *     static void hello(ringway_call *call) {
 *         ringway_sayf(call, "Hello, %s!\n", ringway_param(call, "name"));
 *     }
 *
 *     static void setup(ringway_app *app) {
 *         ringway_get(app, "/hello/{name}", hello);
 *     }
 *
 *     RINGWAY_SERVICE("hello", "1.0", setup)
 *
 * A handler answers once, before it returns (or promises to: ringway_promise), and must not wait. Handlers run on several threads
 * at once. What a call or a socket gives is valid until the handler returns. Texts end with NUL here: a value with a NUL in it is
 * as if it had ended there; ringway.h has it whole. One source file of a library includes this and has RINGWAY_SERVICE.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RINGWAY_SERVICE_H
#define RINGWAY_SERVICE_H

#include "ringway.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Functions that a service does not use are no mistake of its. */
#if defined(__GNUC__)
#define RINGWAY_INLINE static inline __attribute__((unused))
#define RINGWAY_PRINTS(text, rest) __attribute__((format(printf, text, rest)))
#else
#define RINGWAY_INLINE static inline
#define RINGWAY_PRINTS(text, rest)
#endif

/* Most routes of a service. */
#ifndef RINGWAY_ROUTES_MAX
#define RINGWAY_ROUTES_MAX 128
#endif

/* Room for values that a handler asks for as texts, and for what it prints, in bytes. */
#ifndef RINGWAY_CALL_BYTES
#define RINGWAY_CALL_BYTES 8192
#endif

/* How long a cookie lives that is forgotten when the browser is closed. */
#define RINGWAY_UNTIL_CLOSED -1

/* An instance of a service: one for each place in a configuration that names it. */
typedef struct ringway_instance {
    ringway_service number; /* for ringway.h's functions */
    void *data;             /* what on_create has put there */
} ringway_instance;

/* A request, while its handler runs. */
typedef struct ringway_call {
    const ringway_request *request; /* for ringway.h's functions */
    ringway_instance *instance;
    int32_t said;
    size_t used;
    char memory[RINGWAY_CALL_BYTES];
} ringway_call;

/* A WebSocket, while its handler runs. */
typedef struct ringway_ws {
    const ringway_socket *socket; /* for ringway.h's functions; NULL in on_close */
    ringway_instance *instance;
    void *user; /* what ringway_upgrade was given */
} ringway_ws;

typedef void (*ringway_call_handler)(ringway_call *call);

/* What a service is; setup fills it in, once. */
typedef struct ringway_app {
    const ringway_server *server;
    size_t routes_len;
    ringway_route routes[RINGWAY_ROUTES_MAX];
    ringway_call_handler handlers[RINGWAY_ROUTES_MAX];
    int32_t (*create)(ringway_instance *instance, const ringway_setup *setup);
    void (*destroy)(ringway_instance *instance);
    void (*opened)(ringway_ws *ws);
    void (*message)(ringway_ws *ws, uint32_t kind, ringway_bytes message);
    void (*closed)(ringway_ws *ws, uint32_t code);
    void (*over)(void *user, int32_t how);
    ringway_request_handler requests;
    ringway_socket_handler sockets;
    ringway_plugin plugin;
    const char *wrong; /* what setup has done wrong */
} ringway_app;

/* The service of this library. */
static ringway_app ringway_the_app;

/* ---- What setup says ---- */

/* Has a handler answer requests of a method ("GET"; NULL: any) below a pattern: "/greet/{name}", "/files/{*rest}". */
RINGWAY_INLINE void ringway_on(ringway_app *app, const char *method, const char *pattern, ringway_call_handler handler) {
    size_t at = app->routes_len;
    if (!pattern || !handler) {
        app->wrong = "a route has no pattern or no handler";
    } else if (at == RINGWAY_ROUTES_MAX) {
        app->wrong = "there are more than RINGWAY_ROUTES_MAX routes";
    } else {
        app->routes[at].method = method;
        app->routes[at].pattern = pattern;
        app->routes[at].number = (uint32_t)at;
        app->handlers[at] = handler;
        app->routes_len = at + 1;
    }
}

RINGWAY_INLINE void ringway_get(ringway_app *app, const char *pattern, ringway_call_handler handler) {
    ringway_on(app, "GET", pattern, handler);
}

RINGWAY_INLINE void ringway_post(ringway_app *app, const char *pattern, ringway_call_handler handler) {
    ringway_on(app, "POST", pattern, handler);
}

/* Longest body of a request, in bytes; else 1 MiB. */
RINGWAY_INLINE void ringway_body_max(ringway_app *app, uint64_t bytes) {
    app->requests.body_bytes_max = bytes;
}

/* Has the server find the browser's session before each handler, and keep what the handler has changed of it before the answer
 * is sent; where they are kept, `sessions` of the configuration says. */
RINGWAY_INLINE void ringway_use_sessions(ringway_app *app) {
    app->requests.flags |= RINGWAY_SESSIONS;
}

/* Called for each instance: 0, or not with the reason in setup->error. setup->config is its own section of the configuration. */
RINGWAY_INLINE void ringway_on_create(ringway_app *app, int32_t (*create)(ringway_instance *, const ringway_setup *)) {
    app->create = create;
}

/* The end of each instance. */
RINGWAY_INLINE void ringway_on_destroy(ringway_app *app, void (*destroy)(ringway_instance *)) {
    app->destroy = destroy;
}

/* Called when a WebSocket is open, with each of its messages, and at its end. */
RINGWAY_INLINE void ringway_on_open(ringway_app *app, void (*opened)(ringway_ws *)) {
    app->opened = opened;
}

RINGWAY_INLINE void ringway_on_message(ringway_app *app, void (*message)(ringway_ws *, uint32_t, ringway_bytes)) {
    app->message = message;
}

RINGWAY_INLINE void ringway_on_close(ringway_app *app, void (*closed)(ringway_ws *, uint32_t)) {
    app->closed = closed;
}

/* Called when a promise is over, kept or not, with what it was made with: RINGWAY_OVER_*. */
RINGWAY_INLINE void ringway_on_over(ringway_app *app, void (*over)(void *, int32_t)) {
    app->over = over;
}

/* ---- What a request brings: a text that ends, or NULL where there is none ---- */

/* A copy that ends with NUL, in the call's own memory; NULL where there is nothing, or no room. */
RINGWAY_INLINE const char *ringway_ended(ringway_call *call, ringway_bytes bytes) {
    char *place = call->memory + call->used;
    if (!bytes.data || bytes.len >= sizeof call->memory - call->used)
        return NULL;
    memcpy(place, bytes.data, bytes.len);
    place[bytes.len] = 0;
    call->used += bytes.len + 1;
    return place;
}

/* Of the route's pattern. */
RINGWAY_INLINE const char *ringway_param(ringway_call *call, const char *name) {
    return ringway_ended(call, ringway_the_app.server->param(call->request, ringway_text(name)));
}

/* Of the query, decoded. */
RINGWAY_INLINE const char *ringway_query(ringway_call *call, const char *name) {
    return ringway_ended(call, ringway_the_app.server->query_value(call->request, ringway_text(name)));
}

/* Of a form that was sent, decoded. */
RINGWAY_INLINE const char *ringway_form(ringway_call *call, const char *name) {
    return ringway_ended(call, ringway_the_app.server->form_value(call->request, ringway_text(name)));
}

/* Of a field of its head. */
RINGWAY_INLINE const char *ringway_head(ringway_call *call, const char *name) {
    return ringway_ended(call, ringway_the_app.server->field(call->request, ringway_text(name)));
}

RINGWAY_INLINE const char *ringway_cookie(ringway_call *call, const char *name) {
    return ringway_ended(call, ringway_the_app.server->cookie(call->request, ringway_text(name)));
}

RINGWAY_INLINE const char *ringway_path(ringway_call *call) {
    return ringway_ended(call, ringway_the_app.server->path(call->request));
}

/* Whose address it comes from; NULL on Unix sockets. */
RINGWAY_INLINE const char *ringway_peer_of(ringway_call *call) {
    return ringway_ended(call, ringway_the_app.server->peer(call->request));
}

/* All of its body. */
RINGWAY_INLINE ringway_bytes ringway_body(ringway_call *call) {
    return ringway_the_app.server->body(call->request);
}

/* ---- The session, where setup has said ringway_use_sessions ---- */

RINGWAY_INLINE const char *ringway_session(ringway_call *call, const char *name) {
    return ringway_ended(call, ringway_the_app.server->session_value(call->request, ringway_text(name)));
}

/* NULL takes the value away. */
RINGWAY_INLINE int32_t ringway_session_set(ringway_call *call, const char *name, const char *value) {
    return ringway_the_app.server->session_set(call->request, ringway_text(name), ringway_text(value));
}

/* Who has logged in; NULL: nobody. */
RINGWAY_INLINE const char *ringway_session_user(ringway_call *call) {
    return ringway_ended(call, ringway_the_app.server->session_user(call->request));
}

/* Somebody has proved who he is: the session is his, under another id. */
RINGWAY_INLINE int32_t ringway_log_in(ringway_call *call, const char *user) {
    return ringway_the_app.server->session_log_in(call->request, ringway_text(user));
}

/* The session ends, with all that is in it. */
RINGWAY_INLINE int32_t ringway_log_out(ringway_call *call) {
    return ringway_the_app.server->session_log_out(call->request);
}

/* ---- Answers ---- */

/* Adds a field line to the answer that follows. */
RINGWAY_INLINE int32_t ringway_add(ringway_call *call, const char *name, const char *value) {
    return ringway_the_app.server->add_field(call->request, ringway_text(name), ringway_text(value));
}

/* Has the browser keep a cookie for so many seconds (RINGWAY_UNTIL_CLOSED; 0 takes it away): over TLS and to localhost only, out
 * of scripts' reach, not with other sites' requests, for the whole site. ringway.h has a choice. */
RINGWAY_INLINE int32_t ringway_set_cookie(ringway_call *call, const char *name, const char *value, int64_t max_age_s) {
    return ringway_the_app.server->set_cookie(call->request, ringway_text(name), ringway_text(value), max_age_s, 0);
}

/* Answers; type may be NULL. What cannot be sent is answered 500 by the server. */
RINGWAY_INLINE int32_t ringway_reply(ringway_call *call, uint32_t status, const char *type, ringway_bytes body) {
    ringway_field field;
    ringway_answer answer;
    int32_t result;
    memset(&answer, 0, sizeof answer);
    field.name = ringway_text("Content-Type");
    field.value = ringway_text(type);
    answer.struct_size = sizeof answer;
    answer.status = status;
    answer.fields = &field;
    answer.fields_len = type ? 1 : 0;
    answer.body = body;
    result = ringway_the_app.server->answer(call->request, &answer);
    if (result == RINGWAY_OK)
        call->said = RINGWAY_DONE;
    return result;
}

/* Answers with a text. */
RINGWAY_INLINE int32_t ringway_say(ringway_call *call, const char *text) {
    return ringway_reply(call, 200, "text/plain; charset=utf-8", ringway_text(text));
}

/* Answers with a page. */
RINGWAY_INLINE int32_t ringway_html(ringway_call *call, const char *page) {
    return ringway_reply(call, 200, "text/html; charset=utf-8", ringway_text(page));
}

/* Answers with what printf would print, as far as there is room in the call. */
RINGWAY_INLINE int32_t ringway_sayf(ringway_call *call, const char *format, ...) RINGWAY_PRINTS(2, 3);
RINGWAY_INLINE int32_t ringway_sayf(ringway_call *call, const char *format, ...) {
    char *place = call->memory + call->used;
    size_t room = sizeof call->memory - call->used;
    va_list arguments;
    int len;
    va_start(arguments, format);
    len = vsnprintf(place, room, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= room)
        return RINGWAY_E_LIMIT;
    return ringway_say(call, place);
}

/* Answers with a status and a few words. */
RINGWAY_INLINE int32_t ringway_refuse(ringway_call *call, uint32_t status, const char *words) {
    return ringway_reply(call, status, "text/plain; charset=utf-8", ringway_text(words));
}

/* Sends the client elsewhere, to be asked for with GET. */
RINGWAY_INLINE int32_t ringway_redirect(ringway_call *call, const char *location) {
    ringway_bytes nothing = {NULL, 0};
    int32_t result = ringway_add(call, "Location", location);
    return result == RINGWAY_OK ? ringway_reply(call, 303, NULL, nothing) : result;
}

/* Answers with a file below the directory that `files` of the configuration names: conditions, ranges, 404 and all. */
RINGWAY_INLINE int32_t ringway_file(ringway_call *call, const char *path) {
    int32_t result = ringway_the_app.server->answer_file(call->request, ringway_text(path));
    if (result == RINGWAY_OK)
        call->said = RINGWAY_DONE;
    return result;
}

/* Not this service's: whoever is next in the configuration is asked. */
RINGWAY_INLINE void ringway_pass(ringway_call *call) {
    call->said = RINGWAY_PASS;
}

/* Promises an answer, which ringway.h's functions give, on any thread; 0: it cannot be. */
RINGWAY_INLINE ringway_later ringway_promise(ringway_call *call, void *user) {
    ringway_later later = ringway_the_app.server->later(call->request, user);
    if (later)
        call->said = RINGWAY_LATER;
    return later;
}

/* ---- WebSockets ---- */

/* Has a request become a WebSocket, whose handlers see user. Where it is no handshake the server says so to the client. */
RINGWAY_INLINE int32_t ringway_upgrade(ringway_call *call, void *user) {
    int32_t result = ringway_the_app.server->open_socket(call->request, user);
    if (result == RINGWAY_OK || result == RINGWAY_E_INVALID)
        call->said = RINGWAY_DONE;
    return result;
}

RINGWAY_INLINE int32_t ringway_send(ringway_ws *ws, uint32_t kind, ringway_bytes message) {
    return ringway_the_app.server->socket_send(ws->socket, kind, message);
}

/* Groups are of one instance, over all workers. */
RINGWAY_INLINE int32_t ringway_join(ringway_ws *ws, const char *group) {
    return ringway_the_app.server->socket_join(ws->socket, ringway_text(group));
}

RINGWAY_INLINE int32_t ringway_leave(ringway_ws *ws, const char *group) {
    return ringway_the_app.server->socket_leave(ws->socket, ringway_text(group));
}

RINGWAY_INLINE int32_t ringway_close(ringway_ws *ws, uint32_t code, const char *reason) {
    return ringway_the_app.server->socket_close(ws->socket, code, ringway_text(reason));
}

/* Sends to all of a group; from any thread. */
RINGWAY_INLINE int32_t ringway_tell(ringway_instance *instance, const char *group, uint32_t kind, ringway_bytes message) {
    return ringway_the_app.server->group_send(instance->number, ringway_text(group), kind, message);
}

/* The same where a socket is at hand, which hears it too if it is of the group. */
RINGWAY_INLINE int32_t ringway_broadcast(ringway_ws *ws, const char *group, uint32_t kind, ringway_bytes message) {
    return ringway_tell(ws->instance, group, kind, message);
}

/* ---- Words for whoever runs the server; any thread ---- */

RINGWAY_INLINE void ringway_log(ringway_instance *instance, uint32_t level, const char *text) {
    ringway_the_app.server->log(instance->number, level, ringway_text(text));
}

/* ---- What is behind it ---- */

RINGWAY_INLINE int32_t ringway_app_create(const ringway_setup *setup, void **place) {
    ringway_instance *instance = (ringway_instance *)calloc(1, sizeof *instance);
    int32_t result = 0;
    if (!instance) {
        snprintf(setup->error, setup->error_bytes, "there is no memory");
        return -1;
    }
    instance->number = setup->service;
    if (ringway_the_app.create)
        result = ringway_the_app.create(instance, setup);
    if (result == 0)
        *place = instance;
    else
        free(instance);
    return result;
}

RINGWAY_INLINE void ringway_app_destroy(void *instance) {
    if (ringway_the_app.destroy)
        ringway_the_app.destroy((ringway_instance *)instance);
    free(instance);
}

RINGWAY_INLINE int32_t ringway_app_request(void *instance, void *worker, const ringway_request *request) {
    uint32_t route = ringway_the_app.server->route(request);
    ringway_call call;
    (void)worker;
    if (route >= ringway_the_app.routes_len)
        return RINGWAY_PASS;
    call.request = request;
    call.instance = (ringway_instance *)instance;
    call.said = -1;
    call.used = 0;
    ringway_the_app.handlers[route](&call);
    return call.said;
}

RINGWAY_INLINE void ringway_app_over(void *instance, void *worker, ringway_later later, void *user, int32_t how) {
    (void)instance, (void)worker, (void)later;
    if (ringway_the_app.over)
        ringway_the_app.over(user, how);
}

RINGWAY_INLINE void ringway_app_opened(void *instance, void *worker, const ringway_socket *socket, void *user) {
    ringway_ws ws;
    ws.socket = socket;
    ws.instance = (ringway_instance *)instance;
    ws.user = user;
    (void)worker;
    if (ringway_the_app.opened)
        ringway_the_app.opened(&ws);
}

RINGWAY_INLINE void ringway_app_message(void *instance, void *worker, const ringway_socket *socket, void *user, uint32_t kind,
                                        ringway_bytes message) {
    ringway_ws ws;
    ws.socket = socket;
    ws.instance = (ringway_instance *)instance;
    ws.user = user;
    (void)worker;
    if (ringway_the_app.message)
        ringway_the_app.message(&ws, kind, message);
}

RINGWAY_INLINE void ringway_app_closed(void *instance, void *worker, void *user, uint32_t code, ringway_bytes reason) {
    ringway_ws ws;
    ws.socket = NULL;
    ws.instance = (ringway_instance *)instance;
    ws.user = user;
    (void)worker, (void)reason;
    if (ringway_the_app.closed)
        ringway_the_app.closed(&ws, code);
}

/* The table of this library, or NULL with a word to standard error. A program may ask several times. */
RINGWAY_INLINE const ringway_plugin *ringway_app_entry(const ringway_server *server, const char *name, const char *version,
                                                       void (*setup)(ringway_app *)) {
    ringway_app *app = &ringway_the_app;
    if (app->server)
        return app->wrong ? NULL : &app->plugin;
    if (!server || server->abi != RINGWAY_ABI || !RINGWAY_HAS(server, answer_file)) {
        fprintf(stderr, "%s: this server's ringway.h is older than the one that it was built with\n", name);
        return NULL;
    }
    app->server = server;
    setup(app);
    if (app->wrong) {
        fprintf(stderr, "%s: %s\n", name, app->wrong);
        return NULL;
    }
    app->sockets.struct_size = sizeof app->sockets;
    app->sockets.opened = ringway_app_opened;
    app->sockets.message = ringway_app_message;
    app->sockets.closed = ringway_app_closed;
    app->requests.struct_size = sizeof app->requests;
    app->requests.routes = app->routes;
    app->requests.routes_len = app->routes_len;
    app->requests.request = ringway_app_request;
    app->requests.over = ringway_app_over;
    app->requests.socket = app->opened || app->message || app->closed ? &app->sockets : NULL;
    app->plugin.struct_size = sizeof app->plugin;
    app->plugin.abi = RINGWAY_ABI;
    app->plugin.name = name;
    app->plugin.version = version;
    app->plugin.create = ringway_app_create;
    app->plugin.destroy = ringway_app_destroy;
    app->plugin.request = &app->requests;
    return &app->plugin;
}

/* Makes this file a service, once a library: its name, its version, and void setup(ringway_app *). */
#define RINGWAY_SERVICE(name, version, setup)                                                                                 \
    const ringway_plugin *ringway_plugin_entry(const ringway_server *server) {                                                \
        return ringway_app_entry(server, name, version, setup);                                                               \
    }

#ifdef __cplusplus
}
#endif

#endif
