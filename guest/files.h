/* File operations. Workers do them, processes of their own, so that one that hangs holds up nothing else. */
#ifndef FILES_H
#define FILES_H

#include "tasks.h"

/* Start a worker: its input is requests, and its output the answers. See specs/guest.proto. */
void file_worker_start(uint64_t id, struct bytes request);

/* A worker was reaped, with this status of waitpid. */
void file_worker_ended(struct task *task, int status);

#endif
