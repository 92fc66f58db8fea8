/* Directories of any depth, in a worker's process: what it says goes to 1, what is wrong to 2, and what it is told
 * comes from 0. Names may be longer than a path may be, so that all is done from descriptors. */
#ifndef TREES_H
#define TREES_H

#include <stdint.h>

void tree_stat(const char *path);
void tree_list(const char *path);
void tree_remove(const char *path);
void tree_pack(const char *path);
void tree_unpack(const char *path);

/* End the process: the error is its status, and what it was about is said. */
_Noreturn void fail(const char *path, int error);

/* End the process: that is its status, which is reported to the agent. */
_Noreturn void conclude(int error);

/* Have a file removed where the process fails; NULL for none any more. */
void remove_when_failing(const char *path);

/* Copy up to so many bytes, and return how many there were. */
uint64_t copy(const char *path, int from, int to, uint64_t most);

void flush_output(void);
void drop_output(void);

#endif
