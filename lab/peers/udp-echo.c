// udp-echo PORT: the least that an echo server of datagrams is: one thread that takes up to 64 datagrams with one call and says them
// again with another. What the socket has no room for is lost.
// cc -O2 -o udp-echo lab/peers/udp-echo.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TOGETHER 64
#define DATAGRAM_BYTES 2048
#define QUEUE_BYTES (8 << 20)

static char memory[TOGETHER][DATAGRAM_BYTES];
static struct sockaddr_storage peers[TOGETHER];
static struct iovec places[TOGETHER];
static struct mmsghdr messages[TOGETHER];

int main(int arguments, char **values) {
  if (arguments != 2) { fprintf(stderr, "udp-echo PORT\n"); return 2; }
  int queue = QUEUE_BYTES, udp = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(atoi(values[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  // More than the system allows is cut to that; only root may ask for it.
  setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &queue, sizeof queue);
  setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
  if (bind(udp, (struct sockaddr *)&address, sizeof address)) { perror("udp-echo: the port"); return 1; }
  for (int at = 0; at < TOGETHER; at++)
    messages[at].msg_hdr = (struct msghdr){.msg_name = &peers[at], .msg_iov = &places[at], .msg_iovlen = 1};
  for (;;) {
    for (int at = 0; at < TOGETHER; at++) {
      places[at] = (struct iovec){memory[at], DATAGRAM_BYTES};
      messages[at].msg_hdr.msg_namelen = sizeof peers[at];
    }
    int got = recvmmsg(udp, messages, TOGETHER, MSG_WAITFORONE, NULL);
    if (got < 0) {
      // A datagram that somebody refused is told of here; it is nobody's end.
      if (errno == EINTR || errno == ECONNREFUSED) continue;
      perror("udp-echo: receiving");
      return 1;
    }
    for (int at = 0; at < got; at++) places[at].iov_len = messages[at].msg_len;
    for (int at = 0; at < got;) {
      int sent = sendmmsg(udp, messages + at, got - at, 0);
      at += sent > 0 ? sent : 1;
    }
  }
}
