#define _GNU_SOURCE
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "pages.h"
#include "processes.h"

enum { FAILED = 126, STACK = 131072, START_SECONDS = 5 };

static int worker_become(const struct worker *worker) {
    int moved[MAX_DESCRIPTORS], count = worker->count;
    if (worker->group >= 0 && !cgroup_join(worker->group)) _exit(FAILED);
    for (int i = 0; i < count; i++)
        moved[i] = worker->descriptors[i] < 0 ? -1 : fcntl(worker->descriptors[i], F_DUPFD, count);
    for (int i = 0; i < count; i++)
        if (moved[i] < 0 ? close(i) && errno != EBADF : dup2(moved[i], i) < 0) _exit(FAILED);
    if (close_from(count)) _exit(FAILED);
    worker->work(worker->argument);
    _exit(0);
}

pid_t worker_start(const struct worker *worker) {
    pid_t pid = fork();
    if (pid == 0) worker_become(worker);
    return pid;
}

/* Nothing may hold up the agent, which waits meanwhile. A timer of this kind ends with execve(2). */
static int begin_beside(void *worker) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec time = {.it_value.tv_sec = START_SECONDS};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &time, NULL)) _exit(FAILED);
    return worker_become(worker);
}

pid_t worker_start_beside(const struct worker *worker) {
    static uint8_t *stack;
    if (!stack && !(stack = pages_new(STACK, true))) return -1;
    return clone(begin_beside, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)worker);
}

/* Make a pipe whose end that the agent keeps does not block. */
static bool open_pipe(int *ours, int *theirs, bool agent_reads) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return false;
    *ours = ends[agent_reads ? 0 : 1];
    *theirs = ends[agent_reads ? 1 : 0];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

bool open_report(int *ours, int *theirs) { return open_pipe(ours, theirs, true); }

bool open_control(int *ours, int *theirs) { return open_pipe(ours, theirs, false); }

bool open_pipes(struct task *task, bool takes_input, int theirs[3]) {
    int unused;
    /* Programs look at what they are given to read (rg). */
    if (!takes_input) theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (theirs[0] < 0) {
        if (!open_control(takes_input ? &task->input : &unused, &theirs[0])) return false;
        if (!takes_input) close(unused);
    }
    return open_report(&task->outputs[0], &theirs[1]) && open_report(&task->outputs[1], &theirs[2]);
}

void close_all(const int *descriptors, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (descriptors[i] >= 0) close(descriptors[i]);
}
