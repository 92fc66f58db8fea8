#define _GNU_SOURCE
#include "ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

static int dial(int family, const void *address, socklen_t size) {
    int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -1;
    if (!connect(descriptor, address, size) || errno == EINPROGRESS) return descriptor;
    int error = errno;
    close(descriptor);
    errno = error;
    return -1;
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
    return task->kind == CONNECTION && !task->started && !task->ending;
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
