#define _GNU_SOURCE
#include "cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME = 64, LISTED = 65536 };

static int root = -1;
static uint64_t *left; /* of ended tasks, with processes in them */
static size_t left_count, left_room;

void cgroups_use(int directory) {
    root = directory;
    fcntl(root, F_SETFD, FD_CLOEXEC);
}

bool cgroups_are_used(void) { return root >= 0; }

static int open_file(uint64_t task, const char *file, int flags) {
    char path[NAME];
    snprintf(path, sizeof path, "%" PRIu64 "/%s", task, file);
    return openat(root, path, flags | O_CLOEXEC);
}

static bool remove_directory(uint64_t task) {
    char name[NAME];
    snprintf(name, sizeof name, "%" PRIu64, task);
    return !unlinkat(root, name, AT_REMOVEDIR) || errno == ENOENT;
}

int cgroup_make(uint64_t task) {
    char name[NAME];
    snprintf(name, sizeof name, "%" PRIu64, task);
    if (root < 0 || mkdirat(root, name, 0755)) return -1;
    int group = open_file(task, "cgroup.procs", O_WRONLY);
    if (group < 0) remove_directory(task);
    return group;
}

bool cgroup_join(int group) { return write(group, "0", 1) == 1; }

/* Send SIGKILL to each process whose whole number is in the list, if it is to be sent, and count them. */
static size_t kill_listed(char *list, bool send) {
    size_t count = 0;
    char *end;
    while ((end = strchr(list, '\n'))) {
        pid_t pid = (pid_t)strtol(list, NULL, 10);
        if (send && pid > 1) kill(pid, SIGKILL);
        list = end + 1;
        count++;
    }
    return count;
}

bool cgroup_kill(uint64_t task) {
    static char list[LISTED];
    int all = open_file(task, "cgroup.kill", O_WRONLY);
    bool killed = all >= 0 && write(all, "1", 1) == 1;
    if (all >= 0) close(all);
    int file = open_file(task, "cgroup.procs", O_RDONLY);
    if (file < 0) return errno == ENOENT;
    /* At once: what a second read says may begin with a part of a number. */
    ssize_t size = read(file, list, sizeof list - 1);
    close(file);
    if (size < 0) return false;
    list[size] = 0;
    return kill_listed(list, !killed) == 0;
}

void cgroup_remove(uint64_t task) {
    if (remove_directory(task)) return;
    if (left_count == left_room) {
        size_t room = left_room ? 2 * left_room : 16;
        uint64_t *more = realloc(left, room * sizeof *more);
        if (!more) return; /* it stays, empty */
        left = more;
        left_room = room;
    }
    left[left_count++] = task;
}

void cgroups_sweep(void) {
    size_t kept = 0;
    for (size_t i = 0; i < left_count; i++)
        if (!remove_directory(left[i])) left[kept++] = left[i];
    left_count = kept;
}
