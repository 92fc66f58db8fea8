/* File operations. Each has a process of its own, a worker, so that one that hangs holds up nothing else. */
#ifndef FILES_H
#define FILES_H

#include "tasks.h"

void file_start(uint64_t id, struct bytes request);

/* Read how an operation has ended, of which its worker reports. */
void file_report(struct task *task);

/* An operation's worker was reaped. */
void file_reaped(struct task *task);

/* Start a worker for the operation that is likely to follow one that has ended, or end it where none came. Takes and
 * returns how long to wait at most. */
int files_prepare(int timeout);

/* Do without that worker, or tell whether a process is it. */
void files_drop_spare(void);
bool file_is_spare(pid_t process);

#endif
