/* Processes that the agent starts, and the pipes between it and them. */
#ifndef WORKERS_H
#define WORKERS_H

#include "tasks.h"

/* A child of the agent. */
struct worker {
    const int *descriptors; /* it has these as 0, 1 and so on, and no other ones; -1: it does not have that one */
    int count;              /* of them, at most MAX_DESCRIPTORS */
    int group;              /* the cgroup that it joins first; -1: none */
    void (*work)(void *);
    void *argument;
};

enum { MAX_DESCRIPTORS = 8 };

/* Start it, and return its process ID; -1 with errno. */
pid_t worker_start(const struct worker *worker);

/* The same in the agent's own memory, until it executes a program (vfork(2)). In gVisor's kernel each page that is
 * touched after a fork costs so much that it takes longer than all the rest. */
pid_t worker_start_beside(const struct worker *worker);

/* Make a task's pipes, and return the ends for its worker's standard streams. The agent's do not block. */
bool open_pipes(struct task *task, bool takes_input, int theirs[3]);

/* Make a pipe that the worker writes to, or that it reads from. */
bool open_report(int *ours, int *theirs);
bool open_control(int *ours, int *theirs);

void close_all(const int *descriptors, size_t count);

#endif
