/*
 * ringway.h: plug-ins for Ringway, in C or in whatever speaks C.
 *
 * A plug-in is a shared library with one symbol, ringway_plugin_entry. The server calls it once and gets a table of what the
 * plug-in does; it gives a table of what the plug-in may ask for. There are four kinds of plug-in, numbered below.
 *
 * Versions. Every table begins with its size, as its author's compiler saw it, and grows at its end only. RINGWAY_ABI changes
 * when something that was there changes its meaning; then older plug-ins are refused with a clear message. Who is older sees
 * less: use RINGWAY_HAS(server, member) before you call what a server may not have yet.
 *
 * Threads. A plug-in runs on the server's workers, several at once. A worker serves thousands of connections: whatever may
 * wait belongs on a thread of the plug-in's own, which answers later (ringway_server.later). An instance is shared by all
 * workers; the state of a worker (worker_start) belongs to one and needs no lock.
 *
 * Memory. What the server gives, such as a path, is valid until the callback returns. What a plug-in gives is copied before
 * the function returns. Texts are not ended by NUL unless it is said.
 *
 * Replacing. Every version of a library is loaded from a copy of its own, so its file may be replaced while it runs. A version
 * is unmapped when its last user is gone: destroy must join the plug-in's own threads before it returns, because there is no
 * code behind it for them to run.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RINGWAY_H
#define RINGWAY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a library shows of itself, also where everything else is hidden (-fvisibility=hidden, as it should be). */
#if defined(__GNUC__)
#define RINGWAY_EXPORT __attribute__((visibility("default")))
#else
#define RINGWAY_EXPORT
#endif

/* The number of this interface. */
#define RINGWAY_ABI 1u

/* Whether a table that the other side gave has a member: it may be of an older version. */
#define RINGWAY_HAS(table, member) \
    ((table)->struct_size >= (uint32_t)((const char *)(&(table)->member + 1) - (const char *)(table)))

/* Kinds of plug-in. */
#define RINGWAY_KIND_CONNECTION 1u /* a protocol of its own on a connection */
#define RINGWAY_KIND_REQUEST    2u /* answers HTTP requests */
#define RINGWAY_KIND_STAGE      3u /* is asked before or told after HTTP requests are answered */
#define RINGWAY_KIND_FILTER     4u /* stands between a connection's transport and its protocol */

/* What functions of the server say. */
#define RINGWAY_OK         0
#define RINGWAY_E_GONE    -1 /* nobody waits for it any more: answered, given up, or never there */
#define RINGWAY_E_STATE   -2 /* not now: answered already, not begun, or begun already */
#define RINGWAY_E_INVALID -3 /* an argument makes no sense, or cannot be sent */
#define RINGWAY_E_LIMIT   -4 /* more than the server takes */
#define RINGWAY_E_FULL    -5 /* no room now: nothing was taken; wait until writable is called, or use wait */
#define RINGWAY_E_THREAD  -6 /* not on this thread */
#define RINGWAY_E_TIME    -7 /* the time is up */
#define RINGWAY_E_SERVER  -8 /* the server failed; its log says more */

/* What a request callback says. Everything else is a fault of the plug-in, and is answered 500. */
#define RINGWAY_DONE  0 /* it has answered */
#define RINGWAY_LATER 1 /* it has called later, and answers by that */
#define RINGWAY_PASS  2 /* not its own: whoever is next in the configuration is asked */
#define RINGWAY_REFUSE 3 /* of stage hooks: close the connection without a word */

/* What a body callback says. */
#define RINGWAY_MORE  0 /* the next piece, please */
#define RINGWAY_PAUSE 1 /* the next piece after resume_body */
#define RINGWAY_STOP  2 /* no more of it */

/* Kinds of message of a WebSocket. */
#define RINGWAY_TEXT   1u /* UTF-8 */
#define RINGWAY_BINARY 2u

/* How it was over (ringway_request_handler.over). */
#define RINGWAY_OVER_ANSWERED 0 /* the answer is with the connection */
#define RINGWAY_OVER_GONE     1 /* the client is gone */
#define RINGWAY_OVER_LATE     2 /* no answer came in time; the client was told 504 */
#define RINGWAY_OVER_BODY     3 /* the request's body could not be read to its end; the client was told so */
#define RINGWAY_OVER_ABORTED  4 /* given up by the plug-in or for a fault of it */

/* What a callback of a connection says. Everything else is a fault of the plug-in, and resets the connection. */
#define RINGWAY_GO_ON 0
#define RINGWAY_CLOSE 1 /* close it when everything is sent */

/* What a measure callback says instead of a number of bytes. */
#define RINGWAY_NEED_MORE 0 /* the size cannot be known yet */
#define RINGWAY_WRONG    -1 /* no message begins like this: the connection is reset */

/* Why a connection has ended. Of a WebSocket it is its code: 1000 to 4999. */
#define RINGWAY_CLOSED_PEER        0 /* the peer has finished, and everything was sent */
#define RINGWAY_CLOSED_HANDLER     1 /* the handler wanted it */
#define RINGWAY_CLOSED_BROKEN      2 /* it broke, or was reset */
#define RINGWAY_CLOSED_TIME        3 /* the peer was silent, or did not read, for too long */
#define RINGWAY_CLOSED_LIMIT       4 /* the peer has sent a message that is too long or wrong */
#define RINGWAY_CLOSED_SERVER      5 /* the server ends, or wanted it */
#define RINGWAY_CLOSED_FAULT       6 /* for a fault of the handler */
#define RINGWAY_CLOSED_UNREACHABLE 7 /* a connection outward that never was */

/* ringway_server.conn_flags */
#define RINGWAY_CONN_TLS      1u /* it is encrypted */
#define RINGWAY_CONN_OUTBOUND 2u /* connect has made it */
#define RINGWAY_CONN_ENDED    4u /* the peer has finished sending */

/* ringway_server.conn_session: what is asked for */
#define RINGWAY_SESSION_VERSION     1u /* "TLSv1.3" */
#define RINGWAY_SESSION_SERVER_NAME 2u /* the name that the client asked for */
#define RINGWAY_SESSION_PROTOCOL    3u /* the application protocol that was agreed on (ALPN) */
#define RINGWAY_SESSION_CLIENT      4u /* the subject of the client's certificate, which was verified */

/* ringway_server.connect, flags */
#define RINGWAY_CONNECT_MAINTAIN 1u /* have it made anew, ever later, when it cannot be made or has ended */
#define RINGWAY_CONNECT_TLS      2u /* encrypted, with the name verified */

/* How grave a message is. */
#define RINGWAY_LOG_ERROR  1
#define RINGWAY_LOG_WARN   2
#define RINGWAY_LOG_NOTICE 3
#define RINGWAY_LOG_INFO   4
#define RINGWAY_LOG_DEBUG  5

/* ringway_request_handler.flags */
#define RINGWAY_BODY_PIECES  1u /* bodies come by the body callback; else the server collects them first */
#define RINGWAY_NEEDS_CLIENT 2u /* answers that are waited for are given up when the client leaves */
#define RINGWAY_SESSIONS     4u /* the browser's session is found before the handler is asked */

/* ringway_connection_handler.flags */
#define RINGWAY_BROADCAST 1u /* broadcast reaches its connections, which costs some memory for each */

/* ringway_server.flags */
#define RINGWAY_REQUEST_TLS      1u /* the connection is encrypted */
#define RINGWAY_REQUEST_HAS_BODY 2u /* a body came with the request, or comes */

/* ringway_server.set_cookie, flags. Without any it goes over TLS (and to localhost) only, is out of scripts' reach, not sent with
 * other sites' requests but for links, and for the whole site. */
#define RINGWAY_COOKIE_PLAIN   1u /* without TLS too */
#define RINGWAY_COOKIE_SCRIPTS 2u /* scripts of the page may read it */
#define RINGWAY_COOKIE_STRICT  4u /* not with links of other sites either */

/* A length that nobody knows yet. */
#define RINGWAY_LENGTH_UNKNOWN UINT64_MAX

/* What a stream filter wants (ringway_stream_filter.interest) */
#define RINGWAY_WANTS_READ  1u /* bytes from below */
#define RINGWAY_WANTS_WRITE 2u /* bytes from above */

/* ringway_server.filter_flags */
#define RINGWAY_FILTER_TLS 1u /* there is TLS below: the wire does not see what the filter sees */

/* Some bytes. data is NULL where there are none, as for a field that was not sent. */
typedef struct ringway_bytes {
    const char *data;
    size_t len;
} ringway_bytes;

/* Some bytes that may be changed where they lie. */
typedef struct ringway_bytes_mut {
    char *data;
    size_t len;
} ringway_bytes_mut;

/* A text that is ended by NUL, as bytes. */
static inline ringway_bytes ringway_text(const char *text) {
    ringway_bytes bytes = {text, text ? strlen(text) : 0};
    return bytes;
}

/* A request, while the callback lasts that was given it. */
typedef struct ringway_request ringway_request;

/* A WebSocket, while the callback lasts that was given it. */
typedef struct ringway_socket ringway_socket;

/* A connection, while the callback lasts that was given it. */
typedef struct ringway_conn ringway_conn;

/* Who has sent a datagram, while the callback lasts that was given it. */
typedef struct ringway_peer ringway_peer;

/* A connection as a stream filter has it, while the callback lasts that was given it. */
typedef struct ringway_filter ringway_filter;

/* A connection's name, good on any thread. One whose connection has ended does no harm. Zeros are none. */
typedef struct ringway_key {
    uint64_t words[2];
} ringway_key;

/* An answer that is owed: a number, good on any thread. One that is no longer good does no harm. 0 is none. */
typedef uint64_t ringway_later;

/* An instance, as its server knows it. */
typedef uint64_t ringway_service;

/* A field line of an answer. */
typedef struct ringway_field {
    ringway_bytes name;
    ringway_bytes value;
} ringway_field;

/* An answer, or the beginning of one (ringway_server.begin). */
typedef struct ringway_answer {
    uint32_t struct_size;        /* sizeof(ringway_answer) */
    uint32_t status;             /* 200 to 599 */
    const ringway_field *fields; /* Date, Server, Connection and the body's length are the server's to say */
    size_t fields_len;
    ringway_bytes body;          /* of begin: the first piece */
    uint64_t length;             /* of begin: bytes of the whole body, or RINGWAY_LENGTH_UNKNOWN; else unused */
} ringway_answer;

/* What the server does for plug-ins. It lasts as long as the process. */
typedef struct ringway_server {
    uint32_t struct_size;
    uint32_t abi;        /* RINGWAY_ABI of the server */
    const char *version; /* of the server, for people; ended by NUL */

    /* Says something to whoever runs the server; any thread. One line; the server adds the instance's name. */
    void (*log)(ringway_service service, uint32_t level, ringway_bytes text);

    /* About a request: on the thread of the callback that was given it, until that returns. */
    ringway_bytes (*method)(const ringway_request *request);
    ringway_bytes (*target)(const ringway_request *request); /* as it was sent */
    /* Below where the plug-in is mounted; decoded and normal: no dots, no doubled slashes. */
    ringway_bytes (*path)(const ringway_request *request);
    ringway_bytes (*query)(const ringway_request *request);  /* behind the '?', as it was sent */
    ringway_bytes (*field)(const ringway_request *request, ringway_bytes name); /* the first of that name */
    int32_t (*field_at)(const ringway_request *request, size_t index, ringway_bytes *name, ringway_bytes *value);
    ringway_bytes (*peer)(const ringway_request *request);   /* "192.0.2.1:4711"; none for Unix sockets */
    ringway_bytes (*user)(const ringway_request *request);   /* who the client has proved to be */
    uint32_t (*flags)(const ringway_request *request);
    uint32_t (*route)(const ringway_request *request);       /* ringway_route.number of the one that was taken */
    ringway_bytes (*param)(const ringway_request *request, ringway_bytes name); /* of the route's pattern, decoded */
    ringway_bytes (*query_value)(const ringway_request *request, ringway_bytes name); /* the first, decoded */
    ringway_bytes (*form_value)(const ringway_request *request, ringway_bytes name);  /* of a urlencoded body */
    ringway_bytes (*body)(const ringway_request *request);   /* all of it, without RINGWAY_BODY_PIECES */

    /* Answers, on the thread of the callback. */
    int32_t (*answer)(const ringway_request *request, const ringway_answer *answer);

    /* Promises an answer. The callback then returns RINGWAY_LATER. user comes back in the other callbacks. The answer is
     * waited for as long as the configuration says (30 s), then it is nobody's. 0: it cannot be. */
    ringway_later (*later)(const ringway_request *request, void *user);

    /* By a promise, on any thread. Whoever answers twice, or too late, is told so and does no harm. */
    int32_t (*answer_later)(ringway_later later, const ringway_answer *answer);
    /* Begins an answer whose body comes in pieces. */
    int32_t (*begin)(ringway_later later, const ringway_answer *head);
    /* Adds a piece; RINGWAY_E_FULL takes nothing of it, and has writable called when there is room. */
    int32_t (*write)(ringway_later later, ringway_bytes piece);
    /* The body is complete. */
    int32_t (*end)(ringway_later later);
    /* There will be no answer, or no more of it: the client is told 500, or its connection breaks. */
    int32_t (*abort)(ringway_later later);
    /* Waits until there is room, at most so long. Not on a worker: RINGWAY_E_THREAD. */
    int32_t (*wait)(ringway_later later, uint32_t timeout_ms);
    /* Has the next piece of the request's body come, after RINGWAY_PAUSE. */
    int32_t (*resume_body)(ringway_later later);

    /* Has a request become a WebSocket, whose events have user; the callback then returns RINGWAY_DONE. RINGWAY_E_INVALID: the
     * request is no handshake, or a page of another site's; the server tells the client so, and user is not heard of again. */
    int32_t (*open_socket)(const ringway_request *request, void *user);

    /* About a WebSocket: on the thread of the callback that was given it, until that returns. */
    /* Sends a message; RINGWAY_E_FULL: too much waits to be sent, and nothing of it is taken. */
    int32_t (*socket_send)(const ringway_socket *socket, uint32_t kind, ringway_bytes message);
    int32_t (*socket_close)(const ringway_socket *socket, uint32_t code, ringway_bytes reason);
    /* Groups have names, and are of one instance. What joins nothing hears of nothing. */
    int32_t (*socket_join)(const ringway_socket *socket, ringway_bytes group);
    int32_t (*socket_leave)(const ringway_socket *socket, ringway_bytes group);

    /* Sends a message to all members of a group, on all workers; any thread. Who does not keep up misses messages. */
    int32_t (*group_send)(ringway_service service, ringway_bytes group, uint32_t kind, ringway_bytes message);

    /* About a connection: on the thread of the callback that was given it, until that returns (else RINGWAY_E_THREAD). */
    /* Sends a message, with a frame around it where the endpoint's framing has frames. The bytes are copied. RINGWAY_E_FULL: too
     * much waits to be sent, and nothing of it is taken; conn_when_sent tells of room. */
    int32_t (*conn_send)(ringway_conn *conn, ringway_bytes message);
    /* The same; of a WebSocket RINGWAY_TEXT, or RINGWAY_BINARY. */
    int32_t (*conn_send_as)(ringway_conn *conn, uint32_t kind, ringway_bytes message);
    /* Sends a part of the message that the callback was given, where it lies and as it is when the callback returns: nothing is
     * copied. Once a message (else RINGWAY_E_STATE); the part is not to be touched after that. */
    int32_t (*conn_send_in_place)(ringway_conn *conn, ringway_bytes part);
    /* Sends bytes as they are, without a frame. */
    int32_t (*conn_send_raw)(ringway_conn *conn, ringway_bytes bytes);
    /* Sends a message that is a part of an open file; the descriptor stays the caller's. */
    int32_t (*conn_send_file)(ringway_conn *conn, int fd, uint64_t offset, uint64_t bytes);
    /* Has written called once, when all that was sent until now is with the kernel. */
    int32_t (*conn_when_sent)(ringway_conn *conn);
    /* Sends nothing more, once everything is sent; the peer may go on. */
    int32_t (*conn_shut)(ringway_conn *conn);
    /* Closes it once everything is sent. */
    int32_t (*conn_close)(ringway_conn *conn);
    /* Resets it. */
    int32_t (*conn_abort)(ringway_conn *conn);
    /* Has no more messages come, and come again. */
    int32_t (*conn_pause)(ringway_conn *conn);
    int32_t (*conn_resume)(ringway_conn *conn);
    /* Has timeout called once, so many milliseconds from now; 0: not. */
    int32_t (*conn_set_timeout)(ringway_conn *conn, uint32_t timeout_ms);
    uint64_t (*conn_queued)(const ringway_conn *conn); /* bytes that were sent and are not with the kernel */
    uint32_t (*conn_flags)(const ringway_conn *conn);  /* RINGWAY_CONN_* */
    uint32_t (*conn_kind)(const ringway_conn *conn);   /* of this message: RINGWAY_TEXT, or RINGWAY_BINARY */
    ringway_bytes (*conn_peer)(const ringway_conn *conn); /* "192.0.2.1:4711"; none for Unix sockets */
    ringway_bytes (*conn_session)(const ringway_conn *conn, uint32_t what); /* RINGWAY_SESSION_* */
    ringway_key (*conn_key)(const ringway_conn *conn);
    /* Groups have names, and are of one instance; group_send sends to them. */
    int32_t (*conn_join)(ringway_conn *conn, ringway_bytes group);
    int32_t (*conn_leave)(ringway_conn *conn, ringway_bytes group);

    /* By a connection's name, on any thread, in the order of the calls. RINGWAY_OK: it is on its way there; RINGWAY_E_GONE: there
     * is no such connection; RINGWAY_E_FULL: too much is on its way there, and nothing of it is taken. */
    int32_t (*post_send)(ringway_service service, ringway_key key, uint32_t kind, ringway_bytes message);
    int32_t (*post_shut)(ringway_service service, ringway_key key);
    int32_t (*post_close)(ringway_service service, ringway_key key);
    /* Has nudged called, on the connection's worker. */
    int32_t (*post_nudge)(ringway_service service, ringway_key key);
    /* Sends a message to all connections of the endpoint, on all workers; any thread. Who does not keep up misses messages.
     * RINGWAY_E_STATE: the handler has no RINGWAY_BROADCAST. */
    int32_t (*broadcast)(ringway_service service, uint32_t kind, ringway_bytes message);
    /* Has a connection made outward, to "host:port" or "unix:/path", on the worker of the callback that this is called in,
     * worker_start and tick included. Its events are those of any other, with user for its word; closed is called although it
     * could not be made. With RINGWAY_CONNECT_MAINTAIN every one that is made has user for its word, closed tells of those
     * that were, and another version of the library has to ask for its own. */
    int32_t (*connect)(ringway_service service, ringway_bytes to, uint32_t flags, void *user);

    /* About datagrams: on the thread of the callback that was given the peer, until that returns. */
    ringway_bytes (*peer_address)(const ringway_peer *peer); /* "192.0.2.1:4711" */
    /* Sends a datagram to the peer. RINGWAY_E_FULL: it is lost. */
    int32_t (*peer_send)(ringway_peer *peer, ringway_bytes payload);
    /* Sends one elsewhere: to "192.0.2.1:4711". */
    int32_t (*peer_send_to)(ringway_peer *peer, ringway_bytes address, ringway_bytes payload);

    /* For stage hooks, about a request: on the thread of the callback that was given it, until that returns. */
    /* Adds a field line: in request to whatever the answer will be, in answer to the answer that is there. */
    int32_t (*add_field)(const ringway_request *request, ringway_bytes name, ringway_bytes value);
    /* In answer: takes all field lines of that name away. */
    int32_t (*remove_field)(const ringway_request *request, ringway_bytes name);
    /* In request: says who the client has proved to be; logs and handlers see it. */
    int32_t (*set_user)(const ringway_request *request, ringway_bytes user);
    uint32_t (*answer_status)(const ringway_request *request); /* in answer; else 0 */
    ringway_bytes (*answer_field)(const ringway_request *request, ringway_bytes name); /* in answer: the first of that name */
    /* By a promise that request has made, on any thread: the request goes on. user, unless it has no bytes, is who the client has
     * proved to be, and the field lines are added to whatever the answer will be. */
    int32_t (*pass_later)(ringway_later later, ringway_bytes user, const ringway_field *fields, size_t fields_len);

    /* For stream filters: on the thread of the callback that was given the filter, until that returns. */
    /* Gives bytes on, up to the protocol or down to the wire. A part of what the callback was given is not copied. RINGWAY_E_LIMIT:
     * more than 1 MiB in one callback; nothing of it is taken. */
    int32_t (*filter_up)(ringway_filter *filter, ringway_bytes bytes);
    int32_t (*filter_down)(ringway_filter *filter, ringway_bytes bytes);
    ringway_bytes (*filter_peer)(const ringway_filter *filter); /* "192.0.2.1:4711"; none for Unix sockets */
    uint32_t (*filter_flags)(const ringway_filter *filter);     /* RINGWAY_FILTER_* */

    /* For request handlers, about a request: on the thread of the callback that was given it, until that returns. add_field is
     * theirs too, before the answer or the promise of one. */
    ringway_bytes (*cookie)(const ringway_request *request, ringway_bytes name); /* the first of that name */
    /* Has the browser keep a cookie for so many seconds; less than 0: until it is closed, 0: no longer. RINGWAY_COOKIE_*. */
    int32_t (*set_cookie)(const ringway_request *request, ringway_bytes name, ringway_bytes value, int64_t max_age_s,
                          uint32_t flags);
    /* The browser's session: with RINGWAY_SESSIONS, where the configuration has `sessions`; else RINGWAY_E_STATE, and no value. It
     * was found before the callback was called, and what that changes is kept before the answer is sent, whenever that is. */
    ringway_bytes (*session_value)(const ringway_request *request, ringway_bytes name);
    /* Sets a value, which is UTF-8; data NULL takes it away. RINGWAY_E_LIMIT: the session would be too large. */
    int32_t (*session_set)(const ringway_request *request, ringway_bytes name, ringway_bytes value);
    ringway_bytes (*session_user)(const ringway_request *request); /* who has logged in */
    /* Somebody has proved who he is: the session is his, under a new id, with what was in it. */
    int32_t (*session_log_in)(const ringway_request *request, ringway_bytes user);
    /* Ends the session, with all that is in it. */
    int32_t (*session_log_out)(const ringway_request *request);
    /* Answers with a file below the directory that `files` of the configuration names, as the request asks: in whole, in part, or
     * 304; 404 where it is not there. RINGWAY_E_STATE: there is no such directory. */
    int32_t (*answer_file)(const ringway_request *request, ringway_bytes path);
} ringway_server;

/* What an instance is made of. Valid until create returns. */
typedef struct ringway_setup {
    uint32_t struct_size;
    uint32_t kind;           /* RINGWAY_KIND_*: where it is used */
    ringway_service service; /* its number, for log */
    ringway_bytes name;      /* its name in the configuration */
    ringway_bytes config;    /* its own section of the configuration, as text */
    char *error;             /* room for the reason why it cannot be made, ended by NUL */
    size_t error_bytes;
} ringway_setup;

/* A route of a request handler. */
typedef struct ringway_route {
    const char *method;  /* such as "GET"; NULL: any. Ended by NUL */
    const char *pattern; /* such as "/greet/{name}" or "/files/{*rest}". Ended by NUL */
    uint32_t number;     /* whatever the plug-in likes to know it by */
    uint32_t reserved;   /* 0 */
} ringway_route;

/* The events of WebSockets that a request handler has opened; on the socket's worker. Members that may be NULL say so. */
typedef struct ringway_socket_handler {
    uint32_t struct_size;
    uint32_t message_bytes_max; /* longest message; 0: 1 MiB */

    /* It is open; may be NULL. */
    void (*opened)(void *instance, void *worker, const ringway_socket *socket, void *user);
    /* A message has come, whole. */
    void (*message)(void *instance, void *worker, const ringway_socket *socket, void *user, uint32_t kind, ringway_bytes message);
    /* It has ended: the last that is heard of it, once for each; may be NULL. 1006: without a word. */
    void (*closed)(void *instance, void *worker, void *user, uint32_t code, ringway_bytes reason);
} ringway_socket_handler;

/* Kind 2: answers requests. Members that may be NULL say so. */
typedef struct ringway_request_handler {
    uint32_t struct_size;
    uint32_t flags;          /* RINGWAY_BODY_PIECES, RINGWAY_NEEDS_CLIENT */
    uint64_t body_bytes_max; /* longest body of a request; 0: 1 MiB, of one in pieces what the server takes of any */
    const ringway_route *routes; /* without any every request is asked for; with them what none matches is passed on */
    size_t routes_len;

    /* Makes the state of a worker, on its thread, before any of its requests; may be NULL. Not 0: it cannot be made. */
    int32_t (*worker_start)(void *instance, void **worker);
    /* The worker is done with it; may be NULL. */
    void (*worker_stop)(void *instance, void *worker);

    /* Answers a request: RINGWAY_DONE, RINGWAY_LATER, RINGWAY_PASS. */
    int32_t (*request)(void *instance, void *worker, const ringway_request *request);

    /* With RINGWAY_BODY_PIECES, after later: a piece of the body; none at its end (data is NULL). RINGWAY_MORE, ... */
    int32_t (*body)(void *instance, void *worker, ringway_later later, void *user, ringway_bytes piece);
    /* There is room for more after RINGWAY_E_FULL; may be NULL. */
    void (*writable)(void *instance, void *worker, ringway_later later, void *user);
    /* A promise is over, kept or not: the last that is heard of it, once for each; may be NULL. RINGWAY_OVER_*. */
    void (*over)(void *instance, void *worker, ringway_later later, void *user, int32_t how);

    /* What WebSockets do; NULL where there are none. */
    const ringway_socket_handler *socket;
} ringway_request_handler;

/*
 * Kind 1: speaks a protocol on the connections, or by the datagrams, of an endpoint. Members may be NULL, but message or datagram.
 * user is the place of a word that the plug-in keeps with each connection (or peer); NULL at first. What callbacks return is
 * RINGWAY_GO_ON or RINGWAY_CLOSE, unless something else is said.
 */
typedef struct ringway_connection_handler {
    uint32_t struct_size;
    uint32_t flags;             /* RINGWAY_BROADCAST */
    uint32_t tick_ms;           /* how often tick is called; 0: never */
    uint32_t reserved;          /* 0 */
    uint64_t message_bytes_max; /* longest message; 0: what the configuration says, and never more than that */

    /* Makes the state of a worker, on its thread, before any of its connections. Not 0: it cannot be made. */
    int32_t (*worker_start)(void *instance, void **worker);
    /* The worker is done with it. */
    void (*worker_stop)(void *instance, void *worker);

    /* A connection is there, its TLS handshake done. */
    int32_t (*opened)(void *instance, void *worker, ringway_conn *conn, void **user);
    /* A message has come, whole; without framing what was received. It may be changed where it lies. */
    int32_t (*message)(void *instance, void *worker, ringway_conn *conn, void **user, ringway_bytes_mut message);
    /* The peer has finished sending. NULL: RINGWAY_CLOSE. */
    int32_t (*ended)(void *instance, void *worker, ringway_conn *conn, void **user);
    /* All that was sent is with the kernel, as conn_when_sent wants to know. */
    int32_t (*written)(void *instance, void *worker, ringway_conn *conn, void **user);
    /* The time is up that conn_set_timeout gave. NULL: RINGWAY_CLOSE. */
    int32_t (*timeout)(void *instance, void *worker, ringway_conn *conn, void **user);
    /* post_nudge was called, once at least. */
    int32_t (*nudged)(void *instance, void *worker, ringway_conn *conn, void **user);
    /* The server drains, or the endpoint is removed; the peer may finish what it has begun. NULL: RINGWAY_CLOSE. */
    int32_t (*draining)(void *instance, void *worker, ringway_conn *conn, void **user);
    /* An urgent byte has come (urgent = "separate"). */
    int32_t (*urgent)(void *instance, void *worker, ringway_conn *conn, void **user, uint32_t byte);
    /* A connection has ended: the last that is heard of it, once for each. RINGWAY_CLOSED_*. */
    void (*closed)(void *instance, void *worker, void *user, int32_t reason);
    /* Every tick_ms, on each worker. */
    void (*tick)(void *instance, void *worker);

    /* Where framing = "handler": bytes of the message that input begins with, all of them, which may be more than are there;
     * RINGWAY_NEED_MORE or RINGWAY_WRONG. */
    int64_t (*measure)(void *instance, void *worker, void *user, ringway_bytes input);

    /* A datagram has come. The peer's word is kept as long as the configuration says; RINGWAY_CLOSE forgets it. */
    int32_t (*datagram)(void *instance, void *worker, ringway_peer *peer, void **user, ringway_bytes_mut payload);
    /* A peer is forgotten whose word was not NULL: it was silent for too long, or others took its place. */
    void (*expired)(void *instance, void *worker, void *user);
} ringway_connection_handler;

/* What was served (ringway_stage_hook.served). Texts are none where they are not known. */
typedef struct ringway_served {
    uint32_t struct_size;
    uint32_t status;      /* of the answer */
    uint64_t body_bytes;  /* of the answer */
    uint64_t duration_us; /* from the request's arrival to the answer's hand-over */
    ringway_bytes method; /* none where the request could not be read */
    ringway_bytes target; /* as it was sent */
    ringway_bytes peer;   /* "192.0.2.1:4711"; none for Unix sockets */
    ringway_bytes user;   /* who the client has proved to be */
    ringway_bytes site;   /* the site's name in the configuration */
} ringway_served;

/*
 * Kind 3: is asked or told at the stages of HTTP requests: of a whole site, or of one of its routes (which is asked by request and
 * answer alone). Members may be NULL; who has none of them does nothing.
 */
typedef struct ringway_stage_hook {
    uint32_t struct_size;
    uint32_t flags; /* 0 */

    /* Makes the state of a worker, on its thread, before any of its requests. Not 0: it cannot be made. */
    int32_t (*worker_start)(void *instance, void **worker);
    /* The worker is done with it. */
    void (*worker_stop)(void *instance, void *worker);

    /* A connection was accepted. RINGWAY_PASS keeps it, RINGWAY_REFUSE closes it without a word. No peer: a Unix socket. */
    int32_t (*accepted)(void *instance, void *worker, ringway_bytes peer);
    /* The head of a request is there. RINGWAY_PASS: the next stage decides; RINGWAY_DONE: it has answered; RINGWAY_LATER: it
     * answers by later, or has the request go on by pass_later; RINGWAY_REFUSE: the connection is closed without an answer. */
    int32_t (*request)(void *instance, void *worker, const ringway_request *request);
    /* The answer is made: answer_status and answer_field show it, add_field and remove_field change it. RINGWAY_PASS: it goes on;
     * RINGWAY_DONE: answer has put another one in its place. */
    int32_t (*answer)(void *instance, void *worker, const ringway_request *request);
    /* A promise is over, kept or not: the last that is heard of it, once for each. RINGWAY_OVER_*. */
    void (*over)(void *instance, void *worker, ringway_later later, void *user, int32_t how);
    /* An answer was handed to its connection. */
    void (*served)(void *instance, void *worker, const ringway_served *served);
    /* A connection has ended that served so many requests. */
    void (*closed)(void *instance, void *worker, uint32_t requests);
} ringway_stage_hook;

/*
 * Kind 4: stands between the transport of a connection (or another filter) below and its protocol (or another filter) above.
 * It is a machine: bytes from below come to read, bytes from above to write, and what it makes of them it gives on by
 * filter_up and filter_down, in any callback that gets the filter. Members but read and write may be NULL. user is the place of
 * a word that the plug-in keeps with each connection; NULL at first. A negative number from any callback ends the connection.
 *
 * read and write return how many of the bytes they have taken. What they leave comes again, with what came meanwhile behind it:
 * when there is more, or when interest asks for it. As long as a filter leaves what comes from above, nothing more comes from
 * there; and the same of what it does not want to read. More than was given is a lie, which ends the connection.
 */
typedef struct ringway_stream_filter {
    uint32_t struct_size;
    uint32_t flags; /* 0 */

    /* Makes the state of a worker, on its thread, before any of its connections. Not 0: it cannot be made. */
    int32_t (*worker_start)(void *instance, void **worker);
    /* The worker is done with it. */
    void (*worker_stop)(void *instance, void *worker);

    /* A connection is there; it may speak first. Not 0: it is not wanted. */
    int32_t (*accept)(void *instance, void *worker, ringway_filter *filter, void **user);
    /* Bytes from below; they may be changed where they lie. */
    int64_t (*read)(void *instance, void *worker, ringway_filter *filter, void **user, ringway_bytes_mut bytes);
    /* Bytes from above; the same. */
    int64_t (*write)(void *instance, void *worker, ringway_filter *filter, void **user, ringway_bytes_mut bytes);
    /* The same in pieces, where several are there; without it each comes to write. */
    int64_t (*writev)(void *instance, void *worker, ringway_filter *filter, void **user, const ringway_bytes_mut *pieces,
                      size_t pieces_len);
    /* A range of an open file is to go down; the filter above all others is asked. How many of its bytes it has seen to itself;
     * 0: the server reads them and gives them to write, as it does without this. The descriptor is good until it returns. */
    int64_t (*send_file)(void *instance, void *worker, ringway_filter *filter, void **user, int fd, uint64_t offset,
                         uint64_t bytes);
    /* No more bytes come from below. Not 0: something is missing, and the connection is broken. */
    int32_t (*ended)(void *instance, void *worker, ringway_filter *filter, void **user);
    /* No more bytes come from above: last words go down now. */
    int32_t (*finish)(void *instance, void *worker, ringway_filter *filter, void **user);
    /* What it wants now: RINGWAY_WANTS_READ, RINGWAY_WANTS_WRITE; without this always both. It is asked after each of the callbacks
     * above, and again in *after_ms at the latest where it puts something there (1 to 60000). */
    uint32_t (*interest)(void *instance, void *worker, void **user, uint32_t *after_ms);
    /* The connection is over: the last that is heard of it, once for each that accept was called for. */
    void (*close)(void *instance, void *worker, void *user);
} ringway_stream_filter;

/* What a library is. It lasts, with all it points to, as long as the library is loaded. */
typedef struct ringway_plugin {
    uint32_t struct_size; /* sizeof(ringway_plugin) */
    uint32_t abi;         /* RINGWAY_ABI */
    const char *name;     /* 1 to 64 printable characters; ended by NUL */
    const char *version;  /* for people, the same */

    /* Makes an instance: one for each place in the configuration that names the library. 0, or not: with the reason in
     * setup->error. May be NULL. */
    int32_t (*create)(const ringway_setup *setup, void **instance);
    /* Nobody uses it any more. Ends what threads it has. May be NULL. On a thread that may wait. */
    void (*destroy)(void *instance);
    /* Whether it is well: 0, or not, with a line for people in text (ended by NUL). May be NULL. Any thread. */
    int32_t (*health)(void *instance, char *text, size_t text_bytes);

    /* What it does, by kind; NULL where it does not. */
    const ringway_connection_handler *connection;
    const ringway_request_handler *request;
    const ringway_stage_hook *stage;
    const ringway_stream_filter *filter;
} ringway_plugin;

/* The one symbol of a library: its table, or NULL if it does not like this server (say why to standard error). */
RINGWAY_EXPORT const ringway_plugin *ringway_plugin_entry(const ringway_server *server);

#ifdef __cplusplus
}
#endif

#endif
