/* File operations. Each runs in a process of its own, so that one that hangs holds up nothing else. */
#ifndef FILES_H
#define FILES_H

#include "tasks.h"

void file_start(uint64_t id, struct bytes request);

#endif
