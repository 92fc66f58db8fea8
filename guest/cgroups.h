/* A cgroup for each program, by which the program is ended whole: no process of it can leave.
 *
 * The directory that they are made in is one of cgroup v2 that was delegated to the agent, or the controller `job` of
 * gVisor's kernel. Nothing else in the sandbox can reach it. */
#ifndef CGROUPS_H
#define CGROUPS_H

#include <stdbool.h>
#include <stdint.h>

/* Make cgroups in the directory that this descriptor is of. */
void cgroups_use(int directory);

/* Whether each program gets a cgroup. */
bool cgroups_are_used(void);

/* Make the cgroup of a task. Returns a descriptor that `cgroup_join` takes, or -1. */
int cgroup_make(uint64_t task);

/* Let the calling process join. */
bool cgroup_join(int group);

/* Send SIGKILL to every process of it. True once there is none: one that is being forked is not found yet. */
bool cgroup_kill(uint64_t task);

/* Remove it as soon as it is empty. */
void cgroup_remove(uint64_t task);

/* Remove those that were not empty and are now. */
void cgroups_sweep(void);

#endif
