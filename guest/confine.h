/* What the agent does for its sandbox and then gives up for good, where it was started with more than its programs
 * may have. */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>

#include "wire.h"

/* Bound the sandbox's share of what all sandboxes have in common: pseudo-terminals, inotify, devices. Ends the agent,
 * with the reason on standard error, where that is not possible. */
void bound_pools(void);

/* Set the host name, drop the capabilities that no program is to have, and install a filter of system calls. Ends the
 * agent where that is not possible. */
void confine(struct bytes hostname, int filter);

/* Give up a capability for good, also for the programs that root starts, who get all of the bounding set back. To give
 * up one takes CAP_SETPCAP, which therefore comes last. */
bool give_up_capability(unsigned capability);

#endif
