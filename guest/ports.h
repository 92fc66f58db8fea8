/* Connections to ports and sockets of the sandbox. */
#ifndef PORTS_H
#define PORTS_H

#include "tasks.h"

void port_dial(uint64_t id, struct bytes request);

/* Whether a connection is still being made. Once its descriptor can be written to, `port_connected` says how that
 * went. */
bool port_is_connecting(const struct task *task);
void port_connected(struct task *task);

#endif
