/*
 * The least that an echo of WebSocket messages can cost: one thread, epoll, one receive into one buffer, the mask taken off in
 * place, one send. Nothing is checked, nothing has a limit, and who does not read ends the program: a floor to compare servers
 * with, not a server.
 *
 * gcc -O3 -o websocket-floor lab/peers/websocket.c; then: websocket-floor PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES (1 << 19)
#define DESCRIPTORS 65536

struct connection {
    int is_open;
    size_t kept;
    unsigned char *part;
};

static unsigned char buffer[BYTES];
static struct connection connections[DESCRIPTORS];

static uint32_t left(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

/* SHA-1 of less than 56 + 64 bytes: a key and the identifier of RFC 6455. */
static void sha1(const char *text, size_t length, unsigned char out[20]) {
    unsigned char padded[128] = {0};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t total = length + 9 <= 64 ? 64 : 128;
    memcpy(padded, text, length);
    padded[length] = 0x80;
    for (int i = 0; i < 8; i++) padded[total - 1 - i] = (unsigned char)((uint64_t)length * 8 >> (8 * i));
    for (size_t block = 0; block < total; block += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            const unsigned char *p = padded + block + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
            uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
            uint32_t next = left(a, 5) + f + e + k + w[i];
            e = d, d = c, c = left(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char in[20], char out[29]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0, o = 0; i < 21; i += 3, o += 4) {
        uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | (i + 2 < 20 ? in[i + 2] : 0);
        for (int j = 0; j < 4; j++) out[o + j] = digits[bits >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

static void shake_hands(int socket, const char *head) {
    static const char name[] = "sec-websocket-key:";
    const char *at = strcasestr(head, name);
    char joined[128], accept[29], answer[256];
    unsigned char hash[20];
    if (!at) exit(2);
    at += sizeof name - 1;
    while (*at == ' ') at++;
    snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", at);
    sha1(joined, strlen(joined), hash);
    base64(hash, accept);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    send(socket, answer, (size_t)length, MSG_NOSIGNAL);
}

/* Makes answers of the frames in the buffer, at its beginning; says how long they are, and how much of the input is done with. */
static size_t answer(size_t all, size_t *done) {
    size_t at = 0, out = 0;
    while (all - at >= 6) {
        unsigned char *frame = buffer + at;
        size_t length = frame[1] & 127, head = 6;
        if (length == 126) {
            if (all - at < 8) break;
            length = (size_t)frame[2] << 8 | frame[3];
            head = 8;
        }
        if (all - at < head + length) break;
        unsigned char *payload = frame + head, opcode = frame[0];
        uint32_t key, word;
        size_t i = 0;
        memcpy(&key, payload - 4, 4);
        for (; i + 4 <= length; i += 4) {
            memcpy(&word, payload + i, 4);
            word ^= key;
            memcpy(payload + i, &word, 4);
        }
        for (; i < length; i++) payload[i] ^= (unsigned char)(key >> (8 * (i & 3)));
        unsigned char *reply = payload - (head - 4);
        reply[0] = opcode;
        reply[1] = head == 6 ? (unsigned char)length : 126;
        if (head == 8) reply[2] = (unsigned char)(length >> 8), reply[3] = (unsigned char)length;
        if (buffer + out != reply) memmove(buffer + out, reply, head - 4 + length);
        out += head - 4 + length;
        at += head + length;
    }
    *done = at;
    return out;
}

static void serve(int socket) {
    struct connection *own = &connections[socket];
    if (own->kept) memcpy(buffer, own->part, own->kept);
    ssize_t count = recv(socket, buffer + own->kept, sizeof buffer - own->kept - 1, 0);
    if (count <= 0) {
        if (count < 0 && errno == EAGAIN) return;
        close(socket);
        free(own->part);
        memset(own, 0, sizeof *own);
        return;
    }
    size_t all = own->kept + (size_t)count, done = 0;
    if (!own->is_open) {
        buffer[all] = 0;
        own->is_open = 1;
        shake_hands(socket, (char *)buffer);
        return;
    }
    size_t out = answer(all, &done);
    own->kept = all - done;
    if (own->kept) {
        if (!own->part) own->part = malloc(BYTES);
        memcpy(own->part, buffer + done, own->kept);
    }
    if (out && send(socket, buffer, out, MSG_NOSIGNAL) < (ssize_t)out) exit(3);
}

int main(int count, char **arguments) {
    if (count != 2) return 1;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), queue = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(queue, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(queue, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                serve(events[i].data.fd);
                continue;
            }
            int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (socket < 0 || socket >= DESCRIPTORS) continue;
            setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event.data.fd = socket;
            epoll_ctl(queue, EPOLL_CTL_ADD, socket, &event);
        }
    }
}
