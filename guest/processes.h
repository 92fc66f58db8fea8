/* The sandbox's processes, as /proc shows them. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include "tasks.h"

/* End all that descends from a process, but not that process itself. Nothing escapes: every process of the sandbox
 * stands still meanwhile. */
void end_descendants(pid_t ancestor);

/* End every child of the agent that is no task's worker, with all that descends from it. */
void end_strays(const struct task *tasks);

/* Keep descriptors back for looking at processes, which must be possible when there are no others left. */
bool reserve_descriptors(void);

/* Make the calling process the first to go where memory is short, rather than the agent. */
void raise_oom_score(void);

/* Close every descriptor from a number on; 0 on success. */
int close_from(int first);

#endif
