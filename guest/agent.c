/* The guest agent: PID 1 of a sandbox. It does what the orchestrator asks for over one stream; see specs/guest.proto.
 *
 *     agent --inherited FD    the stream is a socket pair; the agent ends with it
 *     agent --dial PATH       the stream is a Unix socket; the agent connects again when it is lost
 *     agent --stdio           the stream is standard input and output
 *     agent --launch STEP...  no agent at all: becomes the bwrap that makes a sandbox, see launch.c
 *
 * and then one of
 *
 *     --cgroup FD             programs run in cgroups below this directory of cgroup v2
 *     --gvisor                the sandbox runs on gVisor's kernel
 *
 * and, where it is started with more privileges than its programs may have (see confine.h),
 *
 *     --confine FD            a seccomp filter, which it installs as it gives them up
 *
 * and, where its program lies in the sandbox's own file system,
 *
 *     --unlink                it removes its program
 *
 * It has one thread, waits only in poll(2), and leaves what may take long to processes of their own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroups.h"
#include "confine.h"
#include "files.h"
#include "guard.h"
#include "gvisor.h"
#include "launch.h"
#include "ports.h"
#include "processes.h"
#include "programs.h"
#include "protocol.h"
#include "stream.h"
#include "tasks.h"

enum { NONCE = 16, REDIAL_MS = 100, TRIM_MS = 100, KILL_MS = 5 };

static uint8_t nonce[NONCE];
static bool guarded;
static bool ping_due, hold_due;
static enum { NOTHING, ZEROS, TASKS, WELCOME } greeting; /* what is to be sent next of it */
static struct task *introduced;                           /* the next task of `TASKS` */
static int filter = -1; /* of system calls, to be installed before anything is begun; -1: none (any more) */

static void hello(const struct message *message) {
    struct bytes new_nonce = message->bytes[HELLO_NONCE], secret = message->bytes[HELLO_SECRET];
    if (new_nonce.size == NONCE) memcpy(nonce, new_nonce.data, NONCE);
    if (secret.size && secret.size <= sizeof stream.secret) {
        memcpy(stream.secret, secret.data, secret.size);
        stream.secret_size = secret.size;
    }
    stream.open = false;
    hold_due = false;
    greeting = ZEROS;
    introduced = tasks;
}

static void about_task(struct task *task, uint32_t request, const struct message *message) {
    const uint64_t *numbers = message->numbers;
    switch (request) {
    case TO_GUEST_INPUT:
        /* More than was allowed: there is no room for it. */
        if (!task_input(task, message->bytes[INPUT_DATA], numbers[INPUT_END])) program_kill(task);
        break;
    case TO_GUEST_WINDOW:
        task_window(task, numbers[WINDOW_RECEIVED], numbers[WINDOW_LIMIT], numbers[WINDOW_RESEND]);
        break;
    case TO_GUEST_SIGNAL: program_signal(task, (int)numbers[SIGNAL_NUMBER]); break;
    case TO_GUEST_RESIZE:
        program_resize(task, (unsigned)numbers[RESIZE_ROWS], (unsigned)numbers[RESIZE_COLUMNS]);
        break;
    case TO_GUEST_KILL: program_kill(task); break;
    case TO_GUEST_FORGET:
        if (!task->ended) break;
        if (task == introduced) introduced = task->next;
        task_forget(task);
        break;
    }
}

/* Point 0, 1 and 2 at the null device, where there is one. No program inherits them either way. */
static void leave_standard_streams(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3 && null >= 0; i++) dup2(null, i);
    if (null > 2) close(null);
}

static void give_up_privileges(struct bytes hostname) {
    if (filter < 0) return;
    confine(hostname, filter);
    filter = -1;
    leave_standard_streams();
}

static void take(struct bytes payload) {
    struct reader reader = reader_of(payload);
    struct field field, request = {0};
    uint64_t id = 0;
    while (read_field(&reader, &field)) {
        if (field.number == TO_GUEST_TASK) id = field.value;
        else request = field;
    }
    if (reader.malformed) return;
    struct message message = read_message(request.bytes);
    bool is_new = id > last_task && filter < 0;
    struct task *task = task_find(id);
    switch (request.number) {
    case TO_GUEST_HELLO: hello(&message); break;
    case TO_GUEST_PING: ping_due = true; break;
    case TO_GUEST_HOLD: hold_due = true; break;
    case TO_GUEST_CONFINE: give_up_privileges(message.bytes[CONFINE_HOSTNAME]); break;
    case TO_GUEST_RUN:
        if (is_new) program_start(id, request.bytes);
        break;
    case TO_GUEST_FILES:
        if (is_new) file_worker_start(id, request.bytes);
        break;
    case TO_GUEST_DIAL:
        if (is_new) port_dial(id, request.bytes);
        break;
    case TO_GUEST_LISTEN:
        if (is_new) port_listen(id, request.bytes);
        break;
    case TO_GUEST_ACCEPT:
        if (is_new) port_accept(id, request.bytes);
        break;
    default:
        if (task) about_task(task, request.number, &message);
    }
}

static bool send_empty(uint32_t body) { return stream_send(0, body, NULL, 0, (struct bytes){0}); }

static bool send_welcome(void) {
    const struct number numbers[] = {
        {WELCOME_LAST_TASK, last_task}, {WELCOME_VERSION, 1}, {WELCOME_GUARDED, guarded},
        {WELCOME_LISTENS, true}, {0, 0},
    };
    return stream_send(0, FROM_GUEST_WELCOME, numbers, WELCOME_NONCE, (struct bytes){nonce, NONCE});
}

/* Send what a new orchestrator is told first; true once that is done. */
static bool greet(void) {
    if (greeting == ZEROS) {
        if (!stream_resynchronise()) return false;
        greeting = TASKS;
    }
    while (greeting == TASKS && introduced) {
        if (!task_introduce(introduced)) return false;
        introduced = introduced->next;
    }
    if (greeting == TASKS) greeting = WELCOME;
    if (greeting == WELCOME) {
        if (!send_welcome()) return false;
        greeting = NOTHING;
        stream.open = true;
    }
    return stream.open;
}

/* Send as much as there is room for, one message of each task in turn. */
static void send_all(void) {
    bool more = true;
    while (more && stream.out >= 0 && (greeting != NOTHING || stream.open)) {
        stream.full = more = false;
        if (greet()) {
            if (ping_due && send_empty(FROM_GUEST_PONG)) ping_due = false;
            for (struct task *task = tasks; task; task = task->next) more |= task_send(task);
            if (hold_due && !more && send_empty(FROM_GUEST_HELD)) stream.open = hold_due = false;
        }
        stream_flush();
        /* What found no room is tried again where there is some by now; else poll(2) tells when. */
        more = (more || stream.full) && !stream_is_pending();
    }
    stream_flush();
}

/* What poll(2) waits for, and what it is about. */
struct wait {
    struct task *task;
    enum { STREAM, CHILDREN, REPORT, INPUT, ACCEPT, OUTPUT, ERRORS } what;
};

static struct pollfd *polled;
static struct wait *waits;
static size_t wait_count, wait_room;
static bool is_used; /* there may be memory to give back, once there is nothing to do for a while */

static void add_wait(int descriptor, short events, struct task *task, int what) {
    if (wait_count == wait_room) {
        size_t room = wait_room ? 2 * wait_room : 16;
        struct pollfd *more_polled = realloc(polled, room * sizeof *polled);
        if (more_polled) polled = more_polled;
        struct wait *more_waits = realloc(waits, room * sizeof *waits);
        if (more_waits) waits = more_waits;
        if (!more_polled || !more_waits) return; /* the rest waits for the next time */
        wait_room = room;
    }
    polled[wait_count] = (struct pollfd){.fd = descriptor, .events = events};
    waits[wait_count++] = (struct wait){task, what};
}

/* Collect what to wait for, and return how long at most: -1 is for ever. */
static int collect_waits(int children) {
    int timeout = stream.in < 0 || stream.lost ? REDIAL_MS : -1;
    wait_count = 0;
    add_wait(children, POLLIN, NULL, CHILDREN);
    if (stream.in >= 0 && !stream.lost) add_wait(stream.in, POLLIN, NULL, STREAM);
    if (stream.out >= 0 && !stream.lost && stream_is_pending()) add_wait(stream.out, POLLOUT, NULL, STREAM);
    stream.lost = false; /* it is tried again the next time */
    for (struct task *task = tasks; task; task = task->next) {
        if (task->executed >= 0) add_wait(task->executed, POLLIN, task, REPORT);
        if (task->report >= 0) add_wait(task->report, POLLIN, task, REPORT);
        if (program_is_being_killed(task) && (timeout < 0 || timeout > KILL_MS)) timeout = KILL_MS;
        int awaited = port_awaited(task);
        if (awaited >= 0) add_wait(awaited, POLLIN, task, ACCEPT);
        if (port_is_connecting(task) || task_wants_input(task)) add_wait(task->input, POLLOUT, task, INPUT);
        for (int pipe = 0; pipe < PIPES; pipe++)
            if (task_wants_output(task, pipe, stream.open) && !port_is_connecting(task))
                add_wait(task->outputs[pipe], POLLIN, task, OUTPUT + pipe);
        if (task->terminal && !task->ended && (task->ending || task->hung_up)) {
            int64_t left = task->silence_until - now_ms();
            if (timeout < 0 || left < timeout) timeout = left < 1 ? 1 : (int)left;
        }
    }
    if (is_used && (timeout < 0 || timeout > TRIM_MS)) timeout = TRIM_MS;
    return timeout;
}

static void attend(const struct wait *wait, short events, int children) {
    struct signalfd_siginfo told;
    switch (wait->what) {
    case CHILDREN:
        if (read(children, &told, sizeof told) > 0) programs_reap();
        break;
    case STREAM:
        if (events & ~POLLOUT && stream.in >= 0) stream_receive(take);
        break;
    case REPORT: program_report(wait->task); break;
    case INPUT:
        if (port_is_connecting(wait->task)) port_connected(wait->task);
        else task_write_input(wait->task);
        break;
    case ACCEPT: port_accepted(wait->task); break;
    case OUTPUT:
    case ERRORS: task_read_output(wait->task, (int)wait->what - OUTPUT, stream.open);
    }
}

static void serve(int children) {
    for (;;) {
        if (stream_dial()) {
            /* What was left to say was for somebody else. */
            greeting = NOTHING;
            ping_due = hold_due = false;
        }
        programs_kill();
        send_all();
        int timeout = collect_waits(children);
        int ready = poll(polled, wait_count, timeout);
        if (ready == 0) {
            stream_trim();
            outputs_trim();
            tasks_trim();
        }
        is_used = ready > 0;
        if (ready <= 0) continue;
        /* The stream comes last: what arrives there may end the tasks that the others are about. */
        size_t stream_at = 0;
        for (size_t i = 0; i < wait_count; i++) {
            if (!polled[i].revents) continue;
            /* By the bit: gVisor adds events that are always waited for. */
            if (waits[i].what == STREAM && polled[i].events & POLLIN) stream_at = i;
            else if (waits[i].what != STREAM) attend(&waits[i], polled[i].revents, children);
        }
        if (stream_at) attend(&waits[stream_at], polled[stream_at].revents, children);
    }
}

/* Programs inherit which signals are ignored: none, whatever whoever started the agent ignored. The agent blocks what it
 * does not want, which each program undoes for itself. */
static void set_signals(void) {
    sigset_t mask;
    for (int number = 1; number < NSIG; number++) {
        /* By the system call, whose first word is the handler: libc keeps two signals to itself. */
        unsigned long action[4];
        static const unsigned long defaults[4];
        if (syscall(SYS_rt_sigaction, number, NULL, action, sizeof(uint64_t))) continue;
        if (action[0] == (unsigned long)SIG_IGN) syscall(SYS_rt_sigaction, number, defaults, NULL, sizeof(uint64_t));
    }
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGPIPE);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* gVisor shows it to root of the sandbox. Programs have environments of their own. */
static void clear_environment(void) {
    for (char **variable = environ; *variable; variable++) memset(*variable, 0, strlen(*variable));
    clearenv();
}

static const struct option options[] = {
    {"inherited", required_argument, NULL, 'i'},
    {"dial", required_argument, NULL, 'd'},
    {"stdio", no_argument, NULL, 's'},
    {"cgroup", required_argument, NULL, 'c'},
    {"gvisor", no_argument, NULL, 'g'},
    {"confine", required_argument, NULL, 'f'},
    {"unlink", no_argument, NULL, 'u'},
    {NULL, 0, NULL, 0},
};

/* False where there is no stream among them, or anything that is no option. */
static bool read_options(int count, char **arguments) {
    bool has_stream = false;
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) >= 0;) {
        switch (option) {
        case 'i': stream_open(STREAM_INHERITED, NULL, atoi(optarg)); break;
        case 'd': stream_open(STREAM_DIALLED, optarg, -1); break;
        case 's': stream_open(STREAM_STDIO, NULL, -1); break;
        case 'c': cgroups_use(atoi(optarg)); break;
        case 'g': gvisor_prepare(); break;
        case 'f': filter = atoi(optarg); break;
        case 'u': unlink(arguments[0]); break;
        default: return false;
        }
        has_stream |= strchr("ids", option) != NULL;
    }
    return has_stream && optind == count;
}

int main(int count, char **arguments) {
    sigset_t mask;
    if (count > 2 && !strcmp(arguments[1], "--launch")) launch(arguments + 2);
    /* It stops all processes that it can see, at times: those of its sandbox, and no others. */
    if (getpid() != 1) return fprintf(stderr, "the guest agent must be process 1 of a PID namespace\n"), 2;
    if (!read_options(count, arguments)) {
        static const char usage[] = "--inherited FD | --dial PATH | --stdio [--cgroup FD | --gvisor] [--confine FD] [--unlink]";
        return fprintf(stderr, "usage: agent %s\n", usage), 2;
    }
    /* Nothing of its memory and descriptors is to be looked at by others in the sandbox (proc_pid_fd(5)). */
    prctl(PR_SET_DUMPABLE, 0);
    clear_environment();
    guarded = guard_install();
    if (filter < 0) leave_standard_streams();
    else bound_pools();
    set_signals();
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    int children = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0 || !reserve_descriptors()) return 1;
    serve(children);
}
