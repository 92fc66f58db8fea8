#define _GNU_SOURCE
#include "processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    AGENT = 1,
    /* How long it is waited until all have stopped, and how long between looks. */
    SHORT_MS = 5,
    LONG_MS = 1000,
    PAUSE_NS = 200000,
};

struct process {
    pid_t pid, parent;
    char state; /* proc_pid_stat(5) */
    bool chosen;
};

struct processes {
    struct process *all;
    size_t count, room;
    bool whole;
};

static int reserved[2] = {-1, -1};

bool reserve_descriptors(void) { return !pipe2(reserved, O_CLOEXEC); }

static void release_descriptors(void) {
    close(reserved[0]);
    close(reserved[1]);
}

/* Read a process's state and parent; they follow the name, which may hold anything but ends at the last bracket. */
static bool read_process(pid_t pid, struct process *process) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0) return false;
    text[size] = 0;
    char *bracket = strrchr(text, ')');
    int parent;
    *process = (struct process){.pid = pid};
    if (!bracket || sscanf(bracket + 1, " %c %d", &process->state, &parent) != 2) return false;
    process->parent = parent;
    return true;
}

static struct processes read_processes(void) {
    struct processes found = {0};
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    found.whole = directory != NULL;
    while (directory && (entry = readdir(directory))) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        struct process process;
        if (*end || pid <= AGENT || !read_process((pid_t)pid, &process)) continue;
        if (found.count == found.room) {
            size_t room = found.room ? 2 * found.room : 64;
            struct process *more = realloc(found.all, room * sizeof *more);
            if (!more) {
                found.whole = false;
                break;
            }
            found.all = more;
            found.room = room;
        }
        found.all[found.count++] = process;
    }
    if (directory) closedir(directory);
    return found;
}

static bool stood_still(const struct processes *before, pid_t pid) {
    for (size_t i = 0; i < before->count; i++)
        if (before->all[i].pid == pid) return before->all[i].state == 'T';
    return false;
}

/* Choose what descends from what is chosen, until there is nothing more to choose. */
static void choose_descendants(struct processes *processes) {
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = 0; i < processes->count; i++) {
            struct process *process = &processes->all[i];
            for (size_t j = 0; j < processes->count && !process->chosen; j++) {
                const struct process *parent = &processes->all[j];
                if (parent->chosen && parent->pid == process->parent) process->chosen = more = true;
            }
        }
    }
}

/* Count the processes that have not come to rest; those that wait for the kernel do not count as moving. */
static size_t count_moving(const struct processes *processes, bool *waits) {
    size_t moving = 0;
    *waits = false;
    for (size_t i = 0; i < processes->count; i++) {
        char state = processes->all[i].state;
        *waits |= state == 'D';
        moving += !strchr("TtZXD", state);
    }
    return moving;
}

/* Stop every process, and read what there is. A process that was inside a fork stops when it comes out of it: only
 * then is its child there, stopped, too. So there must be no more of them once all had been seen to stand still. One
 * that waits for the kernel may wait for its child (vfork), for ever, so that it is not waited for as long. Each time
 * they are stopped anew: one that had not stopped yet may have continued others. */
static struct processes stop_all(void) {
    int64_t began = now_ms();
    size_t at_rest = 0;
    for (;;) {
        bool waits;
        kill(-1, SIGSTOP);
        struct processes now = read_processes();
        int64_t waited = now_ms() - began;
        bool rests = !count_moving(&now, &waits) && (!waits || waited >= SHORT_MS);
        if ((rests && now.count == at_rest) || waited >= LONG_MS) return now;
        at_rest = rests ? now.count : 0;
        free(now.all);
        if (!rests) nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
}

/* While everything stands still nothing forks, so that what is found is all there is. */
static void end_chosen(bool (*choose)(const struct process *, const void *), const void *of) {
    release_descriptors();
    struct processes before = read_processes();
    struct processes now = stop_all();
    for (size_t i = 0; i < now.count; i++) now.all[i].chosen = choose(&now.all[i], of);
    choose_descendants(&now);
    for (size_t i = 0; i < now.count; i++)
        if (now.all[i].chosen) kill(now.all[i].pid, SIGKILL);
    /* Children before their parents: a shell that ran on first would tell of a stopped job. */
    for (size_t i = now.count; i-- > 0;)
        if (!now.all[i].chosen && !stood_still(&before, now.all[i].pid)) kill(now.all[i].pid, SIGCONT);
    if (!now.whole) kill(-1, SIGCONT); /* rather all than too few */
    reserve_descriptors();
    free(before.all);
    free(now.all);
}

static bool is_child(const struct process *process, const void *ancestor) {
    return process->parent == *(const pid_t *)ancestor;
}

static bool is_stray(const struct process *process, const void *tasks) {
    if (process->parent != AGENT) return false;
    for (const struct task *task = tasks; task; task = task->next)
        if (task->worker == process->pid) return false;
    return true;
}

void end_descendants(pid_t ancestor) { end_chosen(is_child, &ancestor); }

void end_strays(const struct task *tasks) { end_chosen(is_stray, tasks); }

void raise_oom_score(void) {
    static const char score[] = "500"; /* of -1000 to 1000 (proc_pid_oom_score_adj(5)) */
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, score, sizeof score - 1) < 0) {} /* without it the kernel chooses */
    close(file);
}

/* gVisor takes no number that is larger than descriptors can be. */
int close_from(int first) { return (int)syscall(SYS_close_range, first, INT_MAX, 0); }
