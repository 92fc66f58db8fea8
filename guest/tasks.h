/* What the orchestrator asked for and has not forgotten yet: programs, workers for files, connections. */
#ifndef TASKS_H
#define TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/types.h>

#include "output.h"
#include "stream.h"

enum {
    INPUT_WINDOW = 262144,     /* bytes of input that a task may be sent and has not read */
    PIPES = 2,                 /* standard output and error */
};

enum task_kind { PROGRAM, FILE_WORKER, CONNECTION, LISTENER };

struct task {
    struct task *next;
    uint64_t id;
    enum task_kind kind;
    bool detached;  /* drops output while no orchestrator is connected, and does not wait */
    bool grouped;   /* a program in a cgroup, without a supervisor */
    pid_t worker;   /* the agent's child: a program or its supervisor, a worker for files; 0: none or reaped */
    int wait_status; /* that of `worker`, once it is reaped */
    pid_t program;  /* a program's first process; 0: it is not there yet */
    bool program_gone; /* it has ended: its process ID may be another one's */
    int executed;   /* says whether a program is executed; -1: that is known */
    int report;     /* reports of a supervisor; -1: none (any more) */
    int input;      /* where input goes; -1: none */
    int outputs[PIPES]; /* -1: ended */
    bool terminal;  /* all three are the master of one */
    int listener;   /* of a listener: its socket; -1: none */
    uint64_t accepts; /* of a connection that nobody has made yet: the task that listens for it */
    struct sockaddr_in peer; /* of a datagram: where its input is sent to */
    int control;    /* takes signals for the terminal's foreground processes, see terminals.h; -1: the kernel sends them */
    size_t line;    /* how much of a line has been written to such a terminal */

    uint8_t *unread; /* INPUT_WINDOW bytes of room for input; NULL: none is needed */
    size_t unread_begin, unread_end; /* what was not written yet */
    bool input_ends;
    uint64_t input_taken, credit; /* offsets: what has been written, and what has been allowed */

    struct output output;
    bool silent; /* a new orchestrator has not said yet from where on it wants the output */
    bool started, started_sent;
    bool output_ends, output_end_sent; /* of a connection: the program has closed its side */
    bool kill_due; /* it is to be ended as soon as it is forked */
    bool ending;            /* it has ended; what is left of its output is read */
    size_t left[PIPES];     /* how much of each pipe was printed before the end */
    bool hung_up;           /* nobody has the terminal open just now */
    int64_t silence_until;  /* until when, in milliseconds, a terminal may still have something to read */
    bool ended, ended_sent;
    bool unknown;
    uint32_t status, signal;
    int64_t begun_ms;
    uint64_t duration_ms;
    uint32_t not_run; /* enum not_run */
    char *label; /* what the orchestrator calls it; NULL: nothing */
    size_t label_size;
};

extern struct task *tasks;
extern uint64_t last_task;

struct task *task_new(uint64_t id, enum task_kind kind, uint64_t window);
struct task *task_find(uint64_t id);
void task_forget(struct task *task);

/* Take input, at most as much as was allowed; false where it is more. */
bool task_input(struct task *task, struct bytes data, bool end);
void task_window(struct task *task, uint64_t received, uint64_t limit, bool resend);

/* Whether to wait for something to read of an output, for room to write input. */
bool task_wants_output(const struct task *task, int pipe, bool connected);
bool task_wants_input(const struct task *task);

void task_write_input(struct task *task);
void task_read_output(struct task *task, int pipe, bool connected);

/* Print for it what went wrong. */
void task_print_error(struct task *task, const char *what, int error);

/* It has ended, with this status. What it printed before is still read and sent. */
void task_end(struct task *task, uint32_t status, uint32_t signal, bool unknown);

/* Send the next message of a task; false where there is none or no room. */
bool task_send(struct task *task);

/* Tell a new orchestrator of it; false where there is no room. */
bool task_introduce(struct task *task);

/* Give back memory that is not in use. */
void tasks_trim(void);

/* Milliseconds of a monotonic clock. */
int64_t now_ms(void);

#endif
