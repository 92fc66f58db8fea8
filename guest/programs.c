#define _GNU_SOURCE
#include "programs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "files.h"
#include "gvisor.h"
#include "pages.h"
#include "processes.h"
#include "protocol.h"
#include "terminals.h"
#include "users.h"

enum {
    REPORT = 3,          /* where a supervisor reports to */
    EXECUTED,            /* where a program says why it is not executed; closed when it is */
    CONTROL,             /* where signals for a terminal's foreground processes come from */
    NOT_FOUND = 127,     /* exit statuses of a shell (POSIX) */
    NOT_RUNNABLE = 126,
    MAX_LABEL = 32768, /* bytes */
    ROOM = 16777216,   /* bytes; pointers to the shortest arguments that a message holds take most of it */
    STACK = 131072,
    START_SECONDS = 5,
};

/* What a supervisor reports: twice, at the program's start and at its end. */
struct report {
    pid_t program;
    bool ended;
    int status; /* of waitpid */
};

/* What the agent itself needs to know of a Run. */
struct plan {
    struct bytes run;
    struct winsize size;
    bool terminal, takes_input, detached;
    bool grouped;    /* it has a cgroup */
    bool controlled; /* the terminal's signals come on `CONTROL` */
    uint64_t window;
    struct bytes label;
};

static void read_terminal(struct plan *plan, struct bytes bytes) {
    struct reader reader = reader_of(bytes);
    struct field field;
    plan->terminal = true;
    while (read_field(&reader, &field)) {
        if (field.number == TERMINAL_ROWS) plan->size.ws_row = (unsigned short)field.value;
        if (field.number == TERMINAL_COLUMNS) plan->size.ws_col = (unsigned short)field.value;
    }
}

static bool read_plan(struct plan *plan, struct bytes run) {
    struct reader reader = reader_of(run);
    struct field field;
    *plan = (struct plan){.run = run};
    while (read_field(&reader, &field)) {
        switch (field.number) {
        case RUN_TERMINAL: read_terminal(plan, field.bytes); break;
        case RUN_TAKES_INPUT: plan->takes_input = field.value; break;
        case RUN_DETACHED: plan->detached = field.value; break;
        case RUN_WINDOW: plan->window = field.value; break;
        case RUN_LABEL: plan->label = field.bytes; break;
        }
    }
    return !reader.malformed;
}

/* In the program's own process */

static void say_why(enum not_run why) {
    uint8_t reason = (uint8_t)why;
    if (write(EXECUTED, &reason, 1) < 0) {} /* then only the status tells */
}

static _Noreturn void give_up(const char *what, int status, enum not_run why) {
    dprintf(2, "flash-sandbox: %s: %s\n", what, strerror(errno));
    say_why(why);
    _exit(status);
}

/* What only the program itself needs: nothing of it stays in the agent. */
struct command {
    char **argv, **env;
    const char *cwd, *user;
};

/* Memory for it. In gVisor's kernel it is the agent's until the program is executed, see `start_beside`: so it must need no
 * heap, in whose midst the program's process might be killed. */
static uint8_t *room;
static size_t room_used;

static void *take_room(size_t size) {
    if (!room) room = pages_new(ROOM, true);
    if (!room || size > ROOM - room_used) {
        errno = ENOMEM;
        give_up("arguments", NOT_RUNNABLE, NOT_RUN_PROGRAM);
    }
    void *taken = room + room_used;
    room_used += (size + 7) & ~(size_t)7;
    return taken;
}

static char *text(struct bytes bytes) {
    char *text = take_room(bytes.size + 1);
    if (bytes.size) memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
    return text;
}

static void limit(struct bytes bytes) {
    struct reader reader = reader_of(bytes);
    struct field field;
    rlim_t value = 0;
    unsigned resource = 0;
    while (read_field(&reader, &field)) {
        if (field.number == RESOURCE_LIMIT_RESOURCE) resource = (unsigned)field.value;
        if (field.number == RESOURCE_LIMIT_VALUE) value = field.value;
    }
    if (setrlimit(resource, &(struct rlimit){value, value})) give_up("limit", NOT_RUNNABLE, NOT_RUN_PROGRAM);
}

static struct command read_command(struct bytes run) {
    struct command command = {.cwd = "", .user = ""};
    struct reader reader = reader_of(run);
    struct field field;
    size_t arguments = 0, variables = 0;
    while (read_field(&reader, &field)) {
        arguments += field.number == RUN_ARGV;
        variables += field.number == RUN_ENV;
    }
    command.argv = take_room((arguments + 2) * sizeof *command.argv);
    command.env = take_room((variables + 2) * sizeof *command.env);
    command.argv[0] = ""; /* there is no program of that name */
    arguments = variables = 0;
    reader = reader_of(run);
    while (read_field(&reader, &field)) {
        switch (field.number) {
        case RUN_ARGV: command.argv[arguments++] = text(field.bytes); break;
        case RUN_ENV: command.env[variables++] = text(field.bytes); break;
        case RUN_CWD: command.cwd = text(field.bytes); break;
        case RUN_USER: command.user = text(field.bytes); break;
        case RUN_LIMITS: limit(field.bytes); break;
        }
    }
    command.argv[arguments ? arguments : 1] = command.env[variables] = NULL;
    return command;
}

static const char *variable(char **env, const char *name) {
    size_t size = strlen(name);
    for (; *env; env++)
        if (!strncmp(*env, name, size) && (*env)[size] == '=') return *env + size + 1;
    return NULL;
}

/* There is room for one more variable. */
static void add_home(struct command *command, const char *home) {
    size_t count = 0, size = sizeof "HOME=" + strlen(home);
    char *variable = take_room(size);
    snprintf(variable, size, "HOME=%s", home);
    while (command->env[count]) count++;
    command->env[count++] = variable;
    command->env[count] = NULL;
}

/* Become the program, looked up in PATH as execvp(3) does; the first error other than absence counts. */
static _Noreturn void execute(const struct command *command) {
    char **env = command->env;
    const char *name = command->argv[0], *path = variable(env, "PATH");
    int error = ENOENT;
    if (strchr(name, '/') || !*name) {
        execve(name, command->argv, env);
        error = errno;
        path = NULL;
    }
    while (path) {
        size_t size = strcspn(path, ":");
        char whole[4096];
        int length = snprintf(whole, sizeof whole, "%.*s%s%s", (int)size, path, size ? "/" : "", name);
        if (length < (int)sizeof whole) execve(whole, command->argv, env);
        if (errno != ENOENT && errno != ENOTDIR && error == ENOENT) error = errno;
        path = path[size] ? path + size + 1 : NULL;
    }
    errno = error;
    give_up(name, error == ENOENT || error == ENOTDIR ? NOT_FOUND : NOT_RUNNABLE, NOT_RUN_PROGRAM);
}

static _Noreturn void become_program(const struct plan *plan) {
    struct user user;
    setsid();
    if (plan->terminal) ioctl(0, TIOCSCTTY, 0);
    if (plan->controlled) {
        terminal_leave_signaller(CONTROL);
        close(CONTROL);
    }
    raise_oom_score();
    struct command command = read_command(plan->run);
    if (!user_find(command.user, &user)) {
        dprintf(2, "flash-sandbox: there is no user %s in the sandbox\n", command.user);
        say_why(NOT_RUN_USER);
        _exit(NOT_RUNNABLE);
    }
    if (!variable(command.env, "HOME")) add_home(&command, user.home);
    /* So that they can be opened by name, as /dev/stdout. What is no pipe or terminal of its own is the null device. */
    for (int i = plan->terminal || plan->takes_input ? 0 : 1; i < REPORT; i++)
        if (fchown(i, user.uid, (gid_t)-1)) {}
    if (!user_become(&user)) give_up("become the user", NOT_RUNNABLE, NOT_RUN_USER);
    prctl(PR_SET_DUMPABLE, 0); /* a change of user sets it to fs.suid_dumpable */
    const char *directory = *command.cwd ? command.cwd : "/";
    if (chdir(directory)) give_up(directory, NOT_RUNNABLE, NOT_RUN_DIRECTORY);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute(&command);
}

/* In the supervisor */

static void report(struct report report) {
    /* A pipe takes it whole; where nobody reads it, nobody wants to know. */
    if (write(REPORT, &report, sizeof report) < 0) _exit(1);
}

/* Wait for the program, and for all that it left behind as long as it runs. It is not reaped here: its process ID stays
 * its own until the agent, whose child it becomes, has read the report. */
static void supervise(const struct plan *plan) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t program = fork();
    if (program == 0) become_program(plan);
    if (program < 0) {
        dprintf(2, "flash-sandbox: start a process: %s\n", strerror(errno));
        say_why(NOT_RUN_PROGRAM);
        report((struct report){.ended = true, .status = NOT_RUNNABLE << 8});
        return;
    }
    report((struct report){.program = program});
    stream_forget();
    for (int i = 0; i < MAX_WORKER_DESCRIPTORS; i++)
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
    if (plan->grouped) become_program(plan);
    supervise(plan);
}

/* In the agent */

struct worker {
    const int *descriptors;
    int count, group;
    void (*work)(void *);
    void *argument;
};

static int worker_become(const struct worker *worker) {
    int moved[MAX_WORKER_DESCRIPTORS], count = worker->count;
    if (worker->group >= 0 && !cgroup_join(worker->group)) _exit(NOT_RUNNABLE);
    for (int i = 0; i < count; i++)
        moved[i] = worker->descriptors[i] < 0 ? -1 : fcntl(worker->descriptors[i], F_DUPFD, count);
    for (int i = 0; i < count; i++)
        if (moved[i] < 0 ? close(i) && errno != EBADF : dup2(moved[i], i) < 0) _exit(NOT_RUNNABLE);
    if (close_from(count)) _exit(NOT_RUNNABLE);
    worker->work(worker->argument);
    _exit(0);
}

pid_t worker_start(const int *descriptors, int count, int group, void (*work)(void *), void *argument) {
    struct worker worker = {descriptors, count, group, work, argument};
    pid_t pid = fork();
    if (pid == 0) worker_become(&worker);
    return pid;
}

/* Make a pipe whose end that the agent keeps does not block. `kept` is 0 for the read end, 1 for the write end. */
bool open_pipe(int ends[2], int kept) {
    if (pipe2(ends, O_CLOEXEC)) return false;
    return fcntl(ends[kept], F_SETFL, O_NONBLOCK) == 0;
}

void close_all(const int *descriptors, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (descriptors[i] >= 0) close(descriptors[i]);
}

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

bool open_pipes(struct task *task, bool takes_input, int theirs[3]) {
    int ends[2];
    /* Programs look at what they are given to read (rg). */
    if (!takes_input) theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (theirs[0] < 0) {
        if (!open_pipe(ends, 1)) return false;
        theirs[0] = ends[0];
        if (takes_input) task->input = ends[1];
        else close(ends[1]);
    }
    for (int pipe = 0; pipe < PIPES; pipe++) {
        if (!open_pipe(ends, 0)) return false;
        task->outputs[pipe] = ends[0];
        theirs[1 + pipe] = ends[1];
    }
    return true;
}

/* Make a pipe that the worker writes to. */
static bool open_report(int *ours, int *theirs) {
    int ends[2];
    if (!open_pipe(ends, 0)) return false;
    *ours = ends[0];
    *theirs = ends[1];
    return true;
}

/* Nothing may hold up the agent, which waits meanwhile. A timer of this kind ends with execve(2). */
static int begin_beside(void *worker) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec time = {.it_value.tv_sec = START_SECONDS};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &time, NULL)) _exit(NOT_RUNNABLE);
    return worker_become(worker);
}

/* As worker_start, but in the agent's memory until the program is executed (vfork(2)). In gVisor's kernel each page that is
 * touched after a fork costs so much that it takes longer than all the rest. */
static pid_t start_beside(const int *descriptors, int count, int group, void (*work)(void *), void *argument) {
    static uint8_t *stack;
    struct worker worker = {descriptors, count, group, work, argument};
    if (!room) room = pages_new(ROOM, true);
    if (!stack) stack = pages_new(STACK, true);
    if (!room || !stack) return -1;
    pid_t pid = clone(begin_beside, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &worker);
    int error = errno;
    pages_empty(room, room_used);
    room_used = 0;
    errno = error;
    return pid;
}

/* Start the program or its supervisor. False, with errno, where that is not possible. */
static bool start(struct task *task, struct plan *plan, int theirs[MAX_WORKER_DESCRIPTORS]) {
    int ends[2], group = -1;
    if (!(plan->terminal ? open_terminal(task, &plan->size, theirs) : open_pipes(task, plan->takes_input, theirs)))
        return false;
    plan->grouped = cgroups_are_used();
    plan->controlled = plan->terminal && plan->grouped && runs_on_gvisor();
    if (!open_report(&task->executed, &theirs[EXECUTED])) return false;
    if (!plan->grouped && !open_report(&task->report, &theirs[REPORT])) return false;
    if (plan->controlled) {
        if (!open_pipe(ends, 1)) return false;
        theirs[CONTROL] = ends[0];
        task->control = ends[1];
    }
    if (plan->grouped && (group = cgroup_make(task->id)) < 0) return false;
    /* A terminal's signaller is forked off the program's process, and would copy the agent. */
    bool beside = runs_on_gvisor() && plan->grouped && !plan->terminal;
    pid_t worker = (beside ? start_beside : worker_start)(theirs, MAX_WORKER_DESCRIPTORS, group, begin, plan);
    if (plan->grouped) {
        int error = errno;
        close(group);
        if (worker < 0) cgroup_remove(task->id);
        else task->program = worker;
        errno = error;
    }
    task->grouped = plan->grouped;
    task->worker = worker < 0 ? 0 : worker;
    return worker >= 0;
}

void program_start(uint64_t id, struct bytes run) {
    struct plan plan;
    int theirs[MAX_WORKER_DESCRIPTORS] = {-1, -1, -1, -1, -1, -1};
    errno = EBADMSG;
    bool whole = read_plan(&plan, run);
    struct task *task = task_new(id, PROGRAM, plan.window);
    if (!task) _exit(1); /* without memory for this much, the sandbox is of no use */
    task->detached = plan.detached;
    if (plan.label.size <= MAX_LABEL && (task->label = text_of(plan.label))) task->label_size = plan.label.size;
    if (!whole || !start(task, &plan, theirs)) {
        task_print_error(task, "start a process", errno);
        task->not_run = NOT_RUN_PROGRAM;
        task_end(task, NOT_RUNNABLE, 0, false);
    }
    close_all(theirs, plan.terminal ? 1 : 3);
    close_all(theirs + 3, MAX_WORKER_DESCRIPTORS - 3);
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
    if (task->kind == CONNECTION) task_end(task, ECONNABORTED, 0, false);
    if (task->kind == FILE_OPERATION && task->worker) kill(task->worker, SIGKILL);
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
            if (task ? !task->grouped : file_is_spare(ended)) kill(ended, SIGCONT);
            continue;
        }
        if (file_is_spare(ended)) files_drop_spare();
        if (!task) continue;
        task->worker = 0;
        if (task->grouped) {
            task->wait_status = status;
            task->program_gone = true;
            settle(task);
            continue;
        }
        if (task->kind == FILE_OPERATION) file_reaped(task);
        else program_report(task);
        if (task->ending) continue;
        /* Its supervisor was killed before it could report: what it held together ends with it. */
        files_drop_spare();
        end_strays(tasks);
        task->program_gone = true;
        task_end(task, 128 + SIGKILL, SIGKILL, true);
    }
    cgroups_sweep();
}
