/*
 * ringway_host.h: Ringway inside of a program of one's own (libringway.so).
 *
 *     ringway_host host = ringway_host_create();
 *     ringway_host_listen(host, "127.0.0.1:8080");
 *     ringway_host_plugin(host, NULL, "/", "chat", ringway_plugin_entry, NULL);
 *     if (ringway_host_start(host) != RINGWAY_OK)
 *         fprintf(stderr, "%s\n", ringway_host_error());
 *     ...
 *     ringway_host_stop(host, 10000);
 *     ringway_host_destroy(host);
 *
 * What answers requests is what ringway.h says of libraries, in the program itself: nothing is loaded. A source file that is a
 * plug-in is a part of a program as it is.
 *
 * A host is a server with threads of its own, on which all signals are blocked but those of faults. There may be several. It is a
 * number: one that is none, or no longer, is told RINGWAY_E_GONE and does no harm.
 *
 * Functions say RINGWAY_OK or one of RINGWAY_E_*; ringway_host_error then says why, in words. They may be called from any thread
 * but the workers (RINGWAY_E_THREAD there: a worker that waited for itself would wait forever). Texts end with NUL, are UTF-8, and
 * are copied.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RINGWAY_HOST_H
#define RINGWAY_HOST_H

#include "ringway.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A server in this program. 0 is none. */
typedef uint64_t ringway_host;

/* The one function of a plug-in, as ringway.h declares it. */
typedef const ringway_plugin *(*ringway_entry)(const ringway_server *server);

/* Longest text that is taken, in bytes. */
#define RINGWAY_HOST_TEXT_BYTES_MAX (16u * 1024 * 1024)

/* Makes a server that serves nothing yet; 0: it cannot be. */
ringway_host ringway_host_create(void);

/* What a configuration file of `ringway run` would say, as TOML; once. Paths in it are relative to the current directory. It may
 * hold endpoints and sites, or leave these to the functions below. */
int32_t ringway_host_configure(ringway_host host, const char *toml);

/* One setting more, or another value for one: "server.workers", "2". What is no value of TOML is a text. */
int32_t ringway_host_set(ringway_host host, const char *key, const char *value);

/* An address to listen on: "8080" (loopback), ":8080" (every address), "127.0.0.1:0" (a free port), "unix:/path". */
int32_t ringway_host_listen(ringway_host host, const char *address);

/* A site: what is answered for a name, such as "example.org", "*.example.org"; NULL: whatever no other site is for. root is a
 * directory whose files are served where nothing else is; it may be NULL. */
int32_t ringway_host_site(ringway_host host, const char *name, const char *root);

/* Has a plug-in of this program answer below a path ("/" is everything, "/chat" is /chat and what is below) of a site (NULL: as
 * above; one that is not there is made). name is what logs, console and messages call it, once a host. settings are those that a
 * configuration would have in [[service]], as TOML, such as
 *     sessions = { store = "memory" }
 *     [config]
 *     greeting = "Hello"
 * config is what the plug-in gets as text; NULL: no settings. Its create is called now; its destroy by ringway_host_destroy. */
int32_t ringway_host_plugin(ringway_host host, const char *site, const char *path, const char *name, ringway_entry entry,
                            const char *settings);

/* The same with a table alone: its functions get instance. Unless service is NULL, the number is put there by which the
 * handler may log and reach groups. The table and the instance must be there until ringway_host_destroy. */
int32_t ringway_host_handler(ringway_host host, const char *site, const char *path, const char *name,
                             const ringway_request_handler *handler, void *instance, const char *settings,
                             ringway_service *service);

/* Has start called on each worker, before anything of the program's is there, and stop when nothing is there any more: for what
 * belongs to threads. Either may be NULL. Not 0 from start: the worker cannot begin, and the server does not start. A worker
 * that nothing of the program's answers on is none of its matter. */
int32_t ringway_host_workers(ringway_host host, int32_t (*start)(void *data), void (*stop)(void *data), void *data);

/* Starts serving; returns when every address listens. Once a host. */
int32_t ringway_host_start(ringway_host host);

/* The address of that index, from 0, with the port that it got: "127.0.0.1:41123". RINGWAY_E_GONE: there are no more;
 * RINGWAY_E_LIMIT: it has more than text_bytes bytes with its NUL. */
int32_t ringway_host_address(ringway_host host, size_t index, char *text, size_t text_bytes);

/* The port of the address of that index; 0 where it has none. */
int32_t ringway_host_port(ringway_host host, size_t index);

/* Stops: no new connections, what is under way is finished, at the latest after so many milliseconds. Returns when all workers
 * have ended. RINGWAY_E_STATE: it does not serve, or no more. RINGWAY_E_SERVER: a worker had died. */
int32_t ringway_host_stop(ringway_host host, uint32_t within_ms);

/* The end of it: stopped at once if it still serves, plug-ins destroyed, all memory given back. */
int32_t ringway_host_destroy(ringway_host host);

/* What a handler may call, as ringway_plugin_entry gets it. */
const ringway_server *ringway_host_functions(void);

/* Why the last function on this thread failed that did; valid until the next call on this thread. Never NULL. */
const char *ringway_host_error(void);

/* The version, for people. */
const char *ringway_host_version(void);

#ifdef __cplusplus
}
#endif

#endif
