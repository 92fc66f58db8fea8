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

enum { MAX_WORKER_DESCRIPTORS = 6 };

/* Start a child of the agent that has these descriptors as 0, 1 and so on, and no other one. It joins a cgroup first;
 * -1 for none. */
pid_t worker_start(const int *descriptors, int count, int group, void (*work)(void *), void *argument);

/* Make a task's pipes, and return the ends for its worker's standard streams. The agent's do not block. */
bool open_pipes(struct task *task, bool takes_input, int theirs[3]);

/* Make a pipe whose end that the agent keeps does not block. `kept` is 0 for the read end, 1 for the write end. */
bool open_pipe(int ends[2], int kept);

void close_all(const int *descriptors, size_t count);

#endif
