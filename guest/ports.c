#define _GNU_SOURCE
#include "ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

enum { BACKLOG = 128 };

/* Close a descriptor with which something failed, whose error stays; return -1. */
static int give_up(int descriptor) {
    int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

/* Without this, a small piece waits until the one before it is acknowledged, which takes 40 ms. */
static void send_at_once(int descriptor) {
    int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int dial(int family, const void *address, socklen_t size) {
    int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -1;
    if (family != AF_UNIX) send_at_once(descriptor);
    if (!connect(descriptor, address, size) || errno == EINPROGRESS) return descriptor;
    return give_up(descriptor);
}

/* On the loopback interface a refusal comes at once: then the server may listen on IPv6 alone. */
static int dial_port(uint16_t port) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int descriptor = dial(AF_INET, &v4, sizeof v4), error = 0;
    socklen_t size = sizeof error;
    if (descriptor < 0) error = errno;
    else getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
    if (!error) return descriptor;
    if (descriptor >= 0) close(descriptor);
    descriptor = dial(AF_INET6, &v6, sizeof v6);
    if (descriptor < 0) errno = error; /* there may be no IPv6 */
    return descriptor;
}

void port_dial(uint64_t id, struct bytes request) {
    struct message message = read_message(request);
    struct bytes path = message.bytes[DIAL_PATH];
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    uint64_t port = message.numbers[DIAL_PORT];
    bool fits = path.size < sizeof local.sun_path;
    if (fits && path.size) memcpy(local.sun_path, path.data, path.size);
    struct task *task = task_new(id, CONNECTION, message.numbers[DIAL_WINDOW]);
    if (!task) _exit(1);
    errno = port > UINT16_MAX || !fits ? EINVAL : 0;
    int descriptor = errno ? -1 : port ? dial_port((uint16_t)port) : dial(AF_UNIX, &local, sizeof local);
    if (descriptor < 0) {
        task_end(task, (uint32_t)errno, 0, false);
    } else {
        task->input = task->outputs[0] = descriptor;
    }
}

bool port_is_connecting(const struct task *task) {
    return task->kind == CONNECTION && !task->started && !task->ending && task->input >= 0;
}

void port_connected(struct task *task) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(task->input, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        task_end(task, (uint32_t)error, 0, false);
    } else {
        task->started = true;
        task_write_input(task);
    }
}

/* Listening */

static int listen_at(const struct sockaddr_in *address, bool datagrams) {
    int kind = datagrams ? SOCK_DGRAM : SOCK_STREAM, on = 1;
    int listener = socket(AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(listener, (const struct sockaddr *)address, sizeof *address) && (datagrams || !listen(listener, BACKLOG)))
        return listener;
    return give_up(listener);
}

void port_listen(uint64_t id, struct bytes request) {
    struct message message = read_message(request);
    uint64_t port = message.numbers[LISTEN_PORT];
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl((uint32_t)message.numbers[LISTEN_ADDRESS])},
    };
    struct task *task = task_new(id, LISTENER, 0);
    if (!task) _exit(1);
    errno = EINVAL;
    if (port && port <= UINT16_MAX) task->listener = listen_at(&address, message.numbers[LISTEN_DATAGRAMS]);
    task->started = task->listener >= 0;
    if (!task->started) task_end(task, (uint32_t)errno, 0, false);
}

void port_accept(uint64_t id, struct bytes request) {
    struct message message = read_message(request);
    struct task *task = task_new(id, CONNECTION, message.numbers[ACCEPT_WINDOW]);
    if (!task) _exit(1);
    task->accepts = message.numbers[ACCEPT_LISTENER];
    if (port_awaited(task) < 0) task_end(task, EBADF, 0, false);
}

int port_awaited(const struct task *task) {
    if (!task->accepts || task->started || task->ending) return -1;
    const struct task *listener = task_find(task->accepts);
    return listener ? listener->listener : -1;
}

/* Take a datagram, and say where that came from. The same socket sends the answer. */
static int accept_datagram(int listener, struct task *task) {
    socklen_t size = sizeof task->peer;
    struct room room = output_room(&task->output, OUTPUT_STREAM_STDOUT);
    ssize_t got = recvfrom(listener, room.data, room.size, 0, (struct sockaddr *)&task->peer, &size);
    int error = errno;
    output_add(&task->output, room, OUTPUT_STREAM_STDOUT, got > 0 ? (size_t)got : 0);
    errno = error;
    return got < 0 ? -1 : fcntl(listener, F_DUPFD_CLOEXEC, 0);
}

void port_accepted(struct task *task) {
    int listener = port_awaited(task), kind = 0;
    socklen_t size = sizeof kind;
    if (listener < 0) return; /* another one has ended it meanwhile */
    getsockopt(listener, SOL_SOCKET, SO_TYPE, &kind, &size);
    int descriptor = kind == SOCK_DGRAM ? accept_datagram(listener, task)
                                        : accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return;
    if (descriptor < 0) {
        task_end(task, (uint32_t)errno, 0, false);
    } else {
        task->input = descriptor;
        if (kind != SOCK_DGRAM) {
            task->outputs[0] = descriptor;
            send_at_once(descriptor);
        }
        task->started = true;
    }
}
