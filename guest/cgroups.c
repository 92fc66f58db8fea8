#define _GNU_SOURCE
#include "cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NAME = 64, LISTED = 65536 };

static int root = -1;
static uint64_t *left; /* of ended tasks, with processes in them */
static size_t left_count, left_room;

void cgroups_use(int directory) {
    root = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    close(directory);
}

/* Programs that root starts get every capability of the bounding set back. */
static void give_up_capability(unsigned capability) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (syscall(SYS_capget, &head, sets)) return;
    struct __user_cap_data_struct *set = &sets[CAP_TO_INDEX(capability)];
    set->effective &= ~CAP_TO_MASK(capability);
    set->permitted &= ~CAP_TO_MASK(capability);
    set->inheritable &= ~CAP_TO_MASK(capability);
    syscall(SYS_capset, &head, sets);
}

void cgroups_mount_job(void) {
    static const char place[] = "/proc"; /* is there in every sandbox, and is there again afterwards */
    if (!mount("none", place, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, "job")) {
        root = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        umount2(place, MNT_DETACH);
    }
    give_up_capability(CAP_SYS_ADMIN);
    give_up_capability(CAP_SETPCAP); /* takes away from the bounding set, and so comes last */
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
