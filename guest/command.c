#define _GNU_SOURCE
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pages.h"
#include "processes.h"
#include "terminals.h"
#include "users.h"

enum { ROOM = 16777216 }; /* bytes; pointers to the shortest arguments that a message holds take most of it */

void command_not_run(enum not_run why) {
    uint8_t reason = (uint8_t)why;
    if (write(EXECUTED, &reason, 1) < 0) {} /* then only the status tells */
}

static _Noreturn void give_up(const char *what, int status, enum not_run why) {
    dprintf(2, "flash-sandbox: %s: %s\n", what, strerror(errno));
    command_not_run(why);
    _exit(status);
}

/* What only the program itself needs: nothing of it stays in the agent. */
struct command {
    char **argv, **env;
    const char *cwd, *user;
};

/* Memory for it. It may be the agent's, see workers.h: so no heap is used, in whose midst the process might be killed. */
static uint8_t *room;
static size_t room_used;

bool command_prepare(void) {
    if (!room) room = pages_new(ROOM, true);
    return room;
}

void command_empty(void) {
    pages_empty(room, room_used);
    room_used = 0;
}

static void *take_room(size_t size) {
    if (!command_prepare() || size > ROOM - room_used) {
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
    struct message message = read_message(bytes);
    rlim_t value = message.numbers[RESOURCE_LIMIT_VALUE];
    unsigned resource = (unsigned)message.numbers[RESOURCE_LIMIT_RESOURCE];
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

void command_run(const struct plan *plan) {
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
        command_not_run(NOT_RUN_USER);
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
