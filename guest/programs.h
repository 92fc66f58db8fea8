/* Programs. A cgroup holds together all that a program starts; without one a supervisor does, which is its parent. */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include "tasks.h"

/* Start what a Run asks for. Where that fails, the task ends at once, as a shell would tell it. */
void program_start(uint64_t id, struct bytes run);

/* Read what a supervisor reports. */
void program_report(struct task *task);

void program_signal(struct task *task, int signal);
void program_resize(struct task *task, unsigned rows, unsigned columns);

/* End a task with every process that it started. */
void program_kill(struct task *task);

/* Go on with killing what `program_kill` has not ended yet. */
void programs_kill(void);
bool program_is_being_killed(const struct task *task);

/* Reap every child that has ended, and end the tasks of those that were their workers. */
void programs_reap(void);

#endif
