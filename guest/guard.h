/* Keeps the sandbox's programs from reaching the agent by system calls that name a process. */
#ifndef GUARD_H
#define GUARD_H

#include <stdbool.h>

/* Refuse (EPERM) such calls about process 1, to this process and all that it starts. False where the kernel has no
 * filters of system calls. */
bool guard_install(void);

#endif
