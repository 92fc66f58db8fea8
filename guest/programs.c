#define _GNU_SOURCE
#include "programs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cgroups.h"
#include "command.h"
#include "files.h"
#include "gvisor.h"
#include "processes.h"
#include "protocol.h"
#include "terminals.h"
#include "workers.h"

enum { MAX_LABEL = 32768 }; /* bytes */

/* Reported twice: by the process that becomes the program, and by its supervisor at the program's end. */
struct report {
    pid_t program;
    bool ended;
    int status; /* of waitpid */
};

/* In the supervisor */

static void report(struct report report) {
    /* A pipe takes it whole; where nobody reads it, nobody wants to know. */
    if (write(REPORT, &report, sizeof report) < 0) _exit(1);
}

/* Wait for the program, and for all that it left behind as long as it runs. It is not reaped here: its process ID stays
 * its own until the agent, whose child it becomes, has read the report. */
static void supervise(const struct plan *plan) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* In the supervisor's memory, which it does not need meanwhile: to copy it takes longer. */
    pid_t program = command_prepare() ? vfork() : -1;
    if (program == 0) {
        /* First, so that who sees its output, and sends it a signal, finds it known. */
        report((struct report){.program = getpid()});
        command_run(plan);
    }
    command_empty();
    if (program < 0) {
        dprintf(2, "flash-sandbox: start a process: %s\n", strerror(errno));
        command_not_run(NOT_RUN_PROGRAM);
        report((struct report){.ended = true, .status = NOT_RUNNABLE << 8});
        return;
    }
    stream_forget();
    for (int i = 0; i < DESCRIPTORS; i++)
        if (i != REPORT) close(i);
    for (;;) {
        siginfo_t ended = {0};
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT)) {
            if (errno == EINTR) continue;
            return;
        }
        if (ended.si_pid != program) {
            waitpid(ended.si_pid, NULL, 0);
            continue;
        }
        int status = ended.si_code == CLD_EXITED ? ended.si_status << 8 : ended.si_status;
        report((struct report){program, true, status});
        return;
    }
}

/* In a cgroup a program needs no supervisor. */
static void begin(void *argument) {
    const struct plan *plan = argument;
    fcntl(EXECUTED, F_SETFD, FD_CLOEXEC);
    fcntl(REPORT, F_SETFD, FD_CLOEXEC);
    if (plan->merged) dup2(1, 2);
    if (plan->grouped) command_run(plan);
    supervise(plan);
}

/* In the agent */

/* Open a terminal of this size. The master does not block. */
static bool open_terminal(struct task *task, const struct winsize *size, int theirs[3]) {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0) return false;
    int unlock = 0;
    char name[64];
    task->terminal = true;
    task->input = task->outputs[0] = master;
    if (ioctl(master, TIOCSPTLCK, &unlock) || ptsname_r(master, name, sizeof name)) return false;
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    theirs[0] = theirs[1] = theirs[2] = slave;
    return slave >= 0 && ioctl(master, TIOCSWINSZ, size) == 0;
}

/* Start the program or its supervisor. False, with errno, where that is not possible. */
static bool start(struct task *task, struct plan *plan, int theirs[DESCRIPTORS]) {
    int group = -1;
    if (!(plan->terminal ? open_terminal(task, &plan->size, theirs) : open_pipes(task, plan->takes_input, theirs)))
        return false;
    plan->grouped = cgroups_are_used();
    plan->controlled = plan->terminal && plan->grouped && runs_on_gvisor();
    if (!open_report(&task->executed, &theirs[EXECUTED])) return false;
    if (!plan->grouped && !open_report(&task->report, &theirs[REPORT])) return false;
    if (plan->controlled && !open_control(&task->control, &theirs[CONTROL])) return false;
    if (plan->grouped && (group = cgroup_make(task->id)) < 0) return false;
    struct worker worker = {theirs, DESCRIPTORS, group, begin, plan};
    /* A terminal's signaller is forked off the program's process, and would copy the agent. */
    bool beside = runs_on_gvisor() && plan->grouped && !plan->terminal && command_prepare();
    pid_t pid = beside ? worker_start_beside(&worker) : worker_start(&worker);
    int error = errno;
    if (beside) command_empty();
    if (plan->grouped) close(group);
    if (plan->grouped && pid < 0) cgroup_remove(task->id);
    errno = error;
    if (pid < 0) return false;
    task->grouped = plan->grouped;
    task->worker = pid;
    if (plan->grouped) task->program = pid;
    return true;
}

static struct plan read_plan(struct bytes run) {
    struct message message = read_message(run);
    struct message terminal = read_message(message.bytes[RUN_TERMINAL]);
    return (struct plan){
        .run = run,
        .malformed = message.malformed,
        .size = {
            .ws_row = (unsigned short)terminal.numbers[TERMINAL_ROWS],
            .ws_col = (unsigned short)terminal.numbers[TERMINAL_COLUMNS],
        },
        .terminal = message.bytes[RUN_TERMINAL].data,
        .takes_input = message.numbers[RUN_TAKES_INPUT],
        .detached = message.numbers[RUN_DETACHED],
        .merged = message.numbers[RUN_MERGED],
        .window = message.numbers[RUN_WINDOW],
        .label = message.bytes[RUN_LABEL],
    };
}

void program_start(uint64_t id, struct bytes run) {
    struct plan plan = read_plan(run);
    int theirs[DESCRIPTORS] = {-1, -1, -1, -1, -1, -1};
    struct task *task = task_new(id, PROGRAM, plan.window);
    if (!task) _exit(1); /* without memory for this much, the sandbox is of no use */
    task->detached = plan.detached;
    if (plan.label.size <= MAX_LABEL && (task->label = text_of(plan.label))) task->label_size = plan.label.size;
    errno = EBADMSG;
    if (plan.malformed || !start(task, &plan, theirs)) {
        task_print_error(task, "start a process", errno);
        task->not_run = NOT_RUN_PROGRAM;
        task_end(task, NOT_RUNNABLE, 0, false);
    }
    close_all(theirs, plan.terminal ? 1 : 3);
    close_all(theirs + 3, DESCRIPTORS - 3);
}

/* It has ended, with this status of waitpid. */
static void end_with(struct task *task, int status) {
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    task_end(task, signal ? 128 + (uint32_t)signal : (uint32_t)WEXITSTATUS(status), (uint32_t)signal, false);
    task->program_gone = true;
}

/* Read what the program's own process says: a byte for why it is not executed, or the end of the pipe. */
static void read_executed(struct task *task) {
    uint8_t reason = 0;
    if (task->executed < 0 || read(task->executed, &reason, 1) < 0) return;
    if (reason) task->not_run = reason;
    else task->started = true;
    close(task->executed);
    task->executed = -1;
}

void program_report(struct task *task) {
    struct report report;
    read_executed(task);
    while (task->report >= 0) {
        ssize_t size = read(task->report, &report, sizeof report);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (size == sizeof report && !report.ended) {
            task->program = report.program;
            if (task->kill_due) end_descendants(task->worker);
            continue;
        }
        close(task->report);
        task->report = -1;
        if (size != sizeof report) return; /* its supervisor was killed, see programs_reap */
        read_executed(task);
        end_with(task, report.status);
    }
}

void program_signal(struct task *task, int signal) {
    program_report(task);
    if (task->program && !task->program_gone) kill(task->program, signal);
}

void program_resize(struct task *task, unsigned rows, unsigned columns) {
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    if (!task->terminal || task->outputs[0] < 0) return;
    ioctl(task->outputs[0], TIOCSWINSZ, &size);
    if (task->control >= 0) terminal_signal(task->control, SIGWINCH);
}

void program_kill(struct task *task) {
    if (task->kind == CONNECTION || task->kind == LISTENER) task_end(task, ECONNABORTED, 0, false);
    if (task->kind == FILE_WORKER && task->worker) kill(task->worker, SIGTERM);
    if (task->kind != PROGRAM || !task->worker) return;
    program_report(task);
    task->kill_due = true;
    if (task->grouped) return;
    /* Before the program: at its end the supervisor ends, and what the program started descends from it no more. */
    end_descendants(task->worker);
    /* It ends for this even where /proc tells nothing of what it has started. */
    if (task->program && !task->program_gone) kill(task->program, SIGKILL);
}

/* End a program whose first process has ended, once nothing is left of it that is to be killed. */
static void settle(struct task *task) {
    if (task->kill_due && !cgroup_kill(task->id)) return;
    if (task->worker) return;
    end_with(task, task->wait_status);
    cgroup_remove(task->id);
}

bool program_is_being_killed(const struct task *task) { return task->grouped && task->kill_due && !task->ending; }

void programs_kill(void) {
    for (struct task *task = tasks; task; task = task->next)
        if (program_is_being_killed(task)) settle(task);
}

void programs_reap(void) {
    int status;
    pid_t ended;
    /* What was reported is read before what it is about can be reaped, and its process ID given to another one. */
    for (struct task *task = tasks; task; task = task->next)
        if (task->kind == PROGRAM) program_report(task);
    while ((ended = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        struct task *task = tasks;
        while (task && task->worker != ended) task = task->next;
        if (WIFSTOPPED(status)) {
            /* A worker of the agent's own has been sent a signal. What programs have started may stand still. */
            if (task && !task->grouped) kill(ended, SIGCONT);
            continue;
        }
        if (!task) continue;
        task->worker = 0;
        if (task->grouped) {
            task->wait_status = status;
            task->program_gone = true;
            settle(task);
            continue;
        }
        if (task->kind == FILE_WORKER) file_worker_ended(task, status);
        else program_report(task);
        if (task->ending) continue;
        /* Its supervisor was killed before it could report: what it held together ends with it. */
        end_strays(tasks);
        task->program_gone = true;
        task_end(task, 128 + SIGKILL, SIGKILL, true);
    }
    cgroups_sweep();
}
