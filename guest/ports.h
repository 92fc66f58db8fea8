/* Connections to ports and sockets of the sandbox, and those that its programs make to the agent. */
#ifndef PORTS_H
#define PORTS_H

#include "tasks.h"

void port_dial(uint64_t id, struct bytes request);

/* Whether a connection is still being made. Once its descriptor can be written to, `port_connected` says how that
 * went. */
bool port_is_connecting(const struct task *task);
void port_connected(struct task *task);

void port_listen(uint64_t id, struct bytes request);
void port_accept(uint64_t id, struct bytes request);

/* The socket whose next connection a task waits for; -1: none. Once it can be read from, `port_accepted` takes that. */
int port_awaited(const struct task *task);
void port_accepted(struct task *task);

#endif
