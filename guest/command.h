/* How a process becomes a program. All of this happens in that process. */
#ifndef COMMAND_H
#define COMMAND_H

#include <sys/ioctl.h>

#include "protocol.h"
#include "wire.h"

enum {
    REPORT = 3,   /* where a supervisor reports to */
    EXECUTED,     /* where a program says why it is not executed; closed when it is */
    CONTROL,      /* where signals for a terminal's foreground processes come from */
    DESCRIPTORS,  /* how many a program's worker is given */
    NOT_RUNNABLE = 126, /* exit statuses of a shell (POSIX) */
    NOT_FOUND = 127,
};

/* What the agent itself needs to know of a Run. */
struct plan {
    struct bytes run; /* the message */
    struct winsize size;
    bool malformed, terminal, takes_input, detached, merged;
    bool grouped;    /* it has a cgroup */
    bool controlled; /* the terminal's signals come on `CONTROL` */
    uint64_t window;
    struct bytes label;
};

/* Say why the program is not executed. */
void command_not_run(enum not_run why);

/* Become the program of a Run. */
_Noreturn void command_run(const struct plan *plan);

/* Where a process shares the agent's memory until it is the program: have the memory ready that it needs, and empty it
 * afterwards. False without memory. */
bool command_prepare(void);
void command_empty(void);

#endif
