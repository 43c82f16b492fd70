/* A plug-in that does everything wrong that the interface lets it: each path is a mistake. */
#include "ringway.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const ringway_server *server;

/* What functions of the server said last, for /last to tell. */
static _Atomic int said[4];

/* What was promised and is over, by how. */
static _Atomic unsigned over[5];

/* A promise that was over long ago. */
static _Atomic ringway_later stale;

static ringway_answer plain(uint32_t status, const char *body) {
    ringway_answer answer = {sizeof answer, status, NULL, 0, ringway_text(body), RINGWAY_LENGTH_UNKNOWN};
    return answer;
}

static int is(const ringway_request *request, const char *path) {
    ringway_bytes own = server->path(request);
    return own.len == strlen(path) && memcmp(own.data, path, own.len) == 0;
}

static int32_t say(const ringway_request *request, const char *text) {
    ringway_answer answer = plain(200, text);
    return server->answer(request, &answer) == RINGWAY_OK ? RINGWAY_DONE : 99;
}

static void *from_elsewhere(void *request) {
    /* Another thread's request is nobody's: no field, no answer, no promise. */
    ringway_answer answer = plain(200, "stolen");
    said[0] = server->answer(request, &answer);
    said[1] = server->path(request).data != NULL;
    said[2] = server->later(request, NULL) != 0;
    return NULL;
}

static int32_t bad_answers(const ringway_request *request) {
    static const ringway_field split = {{"X-A", 3}, {"b\r\nX-C: d", 9}}, name = {{"a b", 3}, {"c", 1}};
    static const ringway_field length = {{"content-LENGTH", 14}, {"5", 1}}, none = {{NULL, 7}, {"c", 1}};
    static const ringway_field large = {{"a", 1}, {"b", (size_t)1 << 40}};
    const ringway_field *fields[] = {&split, &name, &length, &none, &large};
    int refused = 0;
    for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
        ringway_answer answer = plain(200, "x");
        answer.fields = fields[at];
        answer.fields_len = 1;
        refused += server->answer(request, &answer) < 0;
    }
    static const uint32_t statuses[] = {0, 100, 101, 199, 600, 65736, 4294967295u};
    for (size_t at = 0; at < sizeof statuses / sizeof *statuses; at++) {
        ringway_answer answer = plain(statuses[at], "x");
        refused += server->answer(request, &answer) < 0;
    }
    ringway_answer answer = plain(204, "x");
    refused += server->answer(request, &answer) < 0;
    answer = plain(200, "x");
    answer.struct_size = 4;
    refused += server->answer(request, &answer) < 0;
    answer = plain(200, "x");
    answer.fields_len = SIZE_MAX;
    refused += server->answer(request, &answer) < 0;
    answer = plain(200, "x");
    answer.fields_len = 1;
    refused += server->answer(request, &answer) < 0;
    answer = plain(200, "x");
    answer.body.len = SIZE_MAX;
    refused += server->answer(request, &answer) < 0;
    answer = plain(200, "x");
    answer.body.data = NULL;
    refused += server->answer(request, &answer) < 0;
    refused += server->answer(request, NULL) < 0;
    char text[16];
    snprintf(text, sizeof text, "%d", refused);
    return say(request, text);
}

static int32_t odd_questions(const ringway_request *request) {
    ringway_bytes nonsense = {NULL, 5}, huge = {"x", SIZE_MAX}, name, value;
    int nothing = server->field(request, nonsense).data == NULL && server->param(request, huge).data == NULL &&
                  server->query_value(NULL, ringway_text("a")).data == NULL &&
                  server->path((const ringway_request *)"12345678").data == NULL &&
                  server->field_at(request, 0, NULL, &value) == RINGWAY_E_INVALID &&
                  server->field_at(request, 100000, &name, &value) == RINGWAY_E_GONE &&
                  server->field_at(request, 0, &name, &value) == RINGWAY_OK && name.len == 4 &&
                  server->field(request, ringway_text("\xff\xfe")).data == NULL;
    server->log(12345, 77, huge);
    return say(request, nothing ? "nothing" : "something");
}

static int32_t old_promises(const ringway_request *request) {
    ringway_answer answer = plain(200, "late");
    ringway_later numbers[] = {0, 1, UINT64_MAX, stale};
    int gone = 0;
    for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++) {
        gone += server->answer_later(numbers[at], &answer) == RINGWAY_E_GONE;
        gone += server->write(numbers[at], ringway_text("x")) == RINGWAY_E_GONE;
        gone += server->end(numbers[at]) == RINGWAY_E_GONE;
        gone += server->abort(numbers[at]) == RINGWAY_E_GONE;
        gone += server->resume_body(numbers[at]) == RINGWAY_E_GONE;
        gone += server->wait(numbers[at], 1) == RINGWAY_E_THREAD;
    }
    char text[16];
    snprintf(text, sizeof text, "%d", gone);
    return say(request, text);
}

static int32_t promises(const ringway_request *request) {
    ringway_answer answer = plain(200, "once");
    ringway_later later = server->later(request, NULL);
    stale = later;
    if (is(request, "/later/never"))
        return RINGWAY_LATER;
    if (is(request, "/later/twice")) {
        said[0] = server->answer_later(later, &answer);
        said[1] = server->answer_later(later, &answer);
        said[2] = server->begin(later, &answer);
        said[3] = server->write(later, ringway_text("more"));
        return RINGWAY_LATER;
    }
    if (is(request, "/later/both")) {
        said[0] = server->answer(request, &answer);
        said[1] = server->later(request, NULL) != 0;
        server->answer_later(later, &answer);
        return RINGWAY_LATER;
    }
    if (is(request, "/later/done"))
        return RINGWAY_DONE;
    if (is(request, "/later/abort")) {
        said[0] = server->abort(later);
        said[1] = server->abort(later);
        return RINGWAY_LATER;
    }
    if (is(request, "/later/unbegun")) {
        said[0] = server->write(later, ringway_text("x"));
        said[1] = server->end(later);
        said[2] = server->answer_later(later, &answer);
        return RINGWAY_LATER;
    }
    answer.length = is(request, "/later/short") ? 10 : is(request, "/later/long") ? 3 : RINGWAY_LENGTH_UNKNOWN;
    said[0] = server->begin(later, &answer);
    if (is(request, "/later/silent"))
        return RINGWAY_LATER;
    if (is(request, "/later/broken")) {
        said[1] = server->abort(later);
        return RINGWAY_LATER;
    }
    if (is(request, "/later/flood")) {
        static char block[65536];
        ringway_bytes piece = {block, sizeof block};
        int taken = 0;
        while ((said[1] = server->write(later, piece)) == RINGWAY_OK)
            taken++;
        said[2] = taken;
        piece.len = (size_t)1 << 24;
        said[3] = server->write(later, piece);
        return RINGWAY_LATER;
    }
    said[1] = server->end(later);
    said[2] = server->end(later);
    if (said[1] != RINGWAY_OK) /* Of the wrong length: sent as it is, then. */
        server->abort(later);
    return RINGWAY_LATER;
}

static int32_t on_request(void *instance, void *worker, const ringway_request *request) {
    (void)instance;
    (void)worker;
    ringway_bytes path = server->path(request);
    if (path.len > 7 && memcmp(path.data, "/later/", 7) == 0)
        return promises(request);
    if (is(request, "/nothing"))
        return RINGWAY_DONE;
    if (is(request, "/unpromised"))
        return RINGWAY_LATER;
    if (is(request, "/unknown"))
        return 12345;
    if (is(request, "/twice")) {
        ringway_answer answer = plain(201, "twice");
        int32_t first = server->answer(request, &answer);
        return first == RINGWAY_OK && server->answer(request, &answer) == RINGWAY_E_STATE ? RINGWAY_DONE : 99;
    }
    if (is(request, "/answered-and-passed")) {
        say(request, "x");
        return RINGWAY_PASS;
    }
    if (is(request, "/pass"))
        return RINGWAY_PASS;
    if (is(request, "/bad-answers"))
        return bad_answers(request);
    if (is(request, "/odd-questions"))
        return odd_questions(request);
    if (is(request, "/old-promises"))
        return old_promises(request);
    if (is(request, "/elsewhere")) {
        pthread_t thread;
        pthread_create(&thread, NULL, from_elsewhere, (void *)request);
        pthread_join(thread, NULL);
        return say(request, "mine");
    }
    if (is(request, "/last")) {
        char text[64];
        snprintf(text, sizeof text, "%d %d %d %d", said[0], said[1], said[2], said[3]);
        for (int at = 0; at < 4; at++)
            said[at] = 0;
        return say(request, text);
    }
    if (is(request, "/over")) {
        char text[64];
        snprintf(text, sizeof text, "%u %u %u %u %u", over[0], over[1], over[2], over[3], over[4]);
        return say(request, text);
    }
    return say(request, "fine");
}

static void on_over(void *instance, void *worker, ringway_later later, void *user, int32_t how) {
    (void)instance, (void)worker, (void)user;
    over[how]++;
    /* It is too late already. */
    ringway_answer answer = plain(200, "x");
    if (server->answer_later(later, &answer) != RINGWAY_E_GONE)
        abort();
}

static const ringway_request_handler handler = {
    .struct_size = sizeof handler, .flags = RINGWAY_NEEDS_CLIENT, .body_bytes_max = 1000, .request = on_request, .over = on_over};

static const ringway_plugin plugin = {
    .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "faults", .version = "1", .request = &handler};

const ringway_plugin *ringway_plugin_entry(const ringway_server *from) {
    server = from;
    return &plugin;
}
