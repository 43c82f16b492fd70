// echo-uring PORT: the least that an echo server on io_uring is: one thread, one ring, multishot accept and receive into
// provided buffers. What came leaves from the memory it came in, one send of a connection at a time so that nothing is overtaken, and
// the buffer goes back to the kernel when its send is done. No framing, no limits, no deadlines.
// cc -O2 -o echo-uring lab/peers/echo-uring.c -luring
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRIES 4096
#define COMPLETIONS 32768
#define BUFFERS 8192
#define BUFFER_BYTES 2048
#define SOCKETS_MAX 131072
#define NOBODY 0xffff

enum { ACCEPT, RECEIVE, SEND };

// What a connection owes: buffers in the order they came, linked by `after`. The first of them is under way while there is one.
struct connection { uint16_t first, last; unsigned char is_open, is_ended, is_armed; };

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char *memory;
static uint32_t lengths[BUFFERS];
static uint16_t after[BUFFERS];
static struct connection connections[SOCKETS_MAX];

static void die(const char *what, int error) {
  fprintf(stderr, "echo-uring: %s: %s\n", what, strerror(error));
  exit(1);
}

static struct io_uring_sqe *order(void) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
  if (!sqe) {
    io_uring_submit(&ring);
    sqe = io_uring_get_sqe(&ring);
    if (!sqe) die("the submission queue", EBUSY);
  }
  return sqe;
}

// Preparing may clear the word that says whose an order is, so it is written behind that.
static void mark(struct io_uring_sqe *sqe, unsigned kind, unsigned buffer, int socket) {
  sqe->user_data = (uint64_t)kind << 56 | (uint64_t)buffer << 32 | (unsigned)socket;
}

static void accept_all(int listener) {
  struct io_uring_sqe *sqe = order();
  io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
  mark(sqe, ACCEPT, 0, listener);
}

static void receive(int socket) {
  struct io_uring_sqe *sqe = order();
  io_uring_prep_recv_multishot(sqe, socket, NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = 0;
  mark(sqe, RECEIVE, 0, socket);
  connections[socket].is_armed = 1;
}

static void give_back(unsigned buffer) {
  io_uring_buf_ring_add(buffers, memory + (size_t)buffer * BUFFER_BYTES, BUFFER_BYTES, buffer,
                        io_uring_buf_ring_mask(BUFFERS), 0);
  io_uring_buf_ring_advance(buffers, 1);
}

static void send_first(int socket) {
  unsigned buffer = connections[socket].first;
  struct io_uring_sqe *sqe = order();
  io_uring_prep_send(sqe, socket, memory + (size_t)buffer * BUFFER_BYTES, lengths[buffer], MSG_WAITALL | MSG_NOSIGNAL);
  mark(sqe, SEND, buffer, socket);
}

static void forget_if_done(int socket) {
  struct connection *one = &connections[socket];
  if (!one->is_ended || one->is_armed || one->first != NOBODY) return;
  one->is_open = 0;
  close(socket);
}

static void accepted(struct io_uring_cqe *cqe, int listener) {
  int socket = cqe->res, on = 1;
  if (!(cqe->flags & IORING_CQE_F_MORE)) accept_all(listener);
  if (socket < 0) return;
  if (socket >= SOCKETS_MAX) { close(socket); return; }
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  connections[socket] = (struct connection){.first = NOBODY, .last = NOBODY, .is_open = 1};
  receive(socket);
}

static void received(struct io_uring_cqe *cqe, int socket) {
  struct connection *one = &connections[socket];
  if (!(cqe->flags & IORING_CQE_F_MORE)) one->is_armed = 0;
  if (cqe->res > 0) {
    unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    lengths[buffer] = (uint32_t)cqe->res;
    after[buffer] = NOBODY;
    if (one->first == NOBODY) {
      one->first = one->last = (uint16_t)buffer;
      send_first(socket);
    } else {
      after[one->last] = (uint16_t)buffer;
      one->last = (uint16_t)buffer;
    }
    if (!one->is_armed) receive(socket);
    return;
  }
  if (cqe->res == -ENOBUFS) { receive(socket); return; }
  one->is_ended = 1;
  forget_if_done(socket);
}

static void sent(struct io_uring_cqe *cqe, unsigned buffer, int socket) {
  struct connection *one = &connections[socket];
  int broke = cqe->res != (int)lengths[buffer];
  one->first = after[buffer];
  give_back(buffer);
  while (broke && one->first != NOBODY) {
    unsigned next = after[one->first];
    give_back(one->first);
    one->first = (uint16_t)next;
  }
  if (broke) shutdown(socket, SHUT_RDWR);
  if (one->first != NOBODY) { send_first(socket); return; }
  forget_if_done(socket);
}

static int listen_on(int port) {
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("the port", errno);
  return listener;
}

static void set_up(void) {
  struct io_uring_params params = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = COMPLETIONS};
  int error = io_uring_queue_init_params(ENTRIES, &ring, &params);
  if (error) die("the ring", -error);
  io_uring_register_ring_fd(&ring);
  size_t bytes = BUFFERS * sizeof(struct io_uring_buf);
  if (posix_memalign((void **)&buffers, 4096, bytes) || posix_memalign((void **)&memory, 4096, (size_t)BUFFERS * BUFFER_BYTES))
    die("the buffers", ENOMEM);
  struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)buffers, .ring_entries = BUFFERS, .bgid = 0};
  memset(buffers, 0, bytes);
  error = io_uring_register_buf_ring(&ring, &registration, 0);
  if (error) die("the ring of buffers", -error);
  io_uring_buf_ring_init(buffers);
  for (unsigned buffer = 0; buffer < BUFFERS; buffer++) give_back(buffer);
}

int main(int arguments, char **values) {
  if (arguments != 2) { fprintf(stderr, "echo-uring PORT\n"); return 2; }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int listener = listen_on(atoi(values[1]));
  set_up();
  accept_all(listener);
  for (;;) {
    int error = io_uring_submit_and_wait(&ring, 1);
    if (error < 0 && error != -EINTR && error != -EBUSY) die("waiting", -error);
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring, head, cqe) {
      unsigned kind = (unsigned)(cqe->user_data >> 56), buffer = (cqe->user_data >> 32) & 0xffffff;
      int socket = (int)(cqe->user_data & 0xffffffff);
      if (kind == ACCEPT) accepted(cqe, socket);
      else if (kind == RECEIVE) received(cqe, socket);
      else sent(cqe, buffer, socket);
      seen++;
    }
    io_uring_cq_advance(&ring, seen);
  }
}
