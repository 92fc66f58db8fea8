#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mounts.h"

enum { NOT_RUNNABLE = 126, MAX_INSTRUCTIONS = 4096 };

/* Of some 3,000 pseudo-terminals of the machine (devpts.rst). */
static const char terminals[] = "ptmxmode=0666,mode=620,max=64";

/* Of what each user of the machine has by default: 128 instances, at least 8,192 watches (inotify(7)). */
static const struct { const char *file, *value; } limits[] = {
    {"/proc/sys/user/max_inotify_instances", "64"},
    {"/proc/sys/user/max_inotify_watches", "16384"},
};

/* The devices that bwrap shows of the host's own (--dev). */
static const char *const devices[] = {
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
};

/* What `bound_pools` and `confine` take, and no program has (capabilities(7)). */
static const unsigned extra[] = {CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_SETPCAP};

static void require(bool done, const char *what) {
    if (done) return;
    dprintf(2, "agent: %s: %s\n", what, strerror(errno));
    _exit(NOT_RUNNABLE);
}

void bound_pools(void) {
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        /* In a container, the settings of the kernel may not be writable at all. */
        int file = open(limits[i].file, O_WRONLY | O_CLOEXEC);
        if (file < 0) continue;
        require(write(file, limits[i].value, strlen(limits[i].value)) > 0, limits[i].file);
        close(file);
    }
    /* Root of a user namespace may write what belongs to its namespaces there, capabilities or not. */
    require(!mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL) && !make_read_only("/proc/sys"), "/proc/sys");
    require(!mount("none", "/dev/pts", "none", MS_REMOUNT | MS_NOSUID | MS_NOEXEC, terminals), "bound /dev/pts");
    /* They can be written to all the same, but not be given another mode by who owns them on the host. */
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) require(!make_read_only(devices[i]), devices[i]);
}

bool give_up_capability(unsigned capability) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) || syscall(SYS_capget, &head, sets)) return false;
    struct __user_cap_data_struct *set = &sets[CAP_TO_INDEX(capability)];
    set->effective &= ~CAP_TO_MASK(capability);
    set->permitted &= ~CAP_TO_MASK(capability);
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) sets[i].inheritable = 0;
    return !syscall(SYS_capset, &head, sets);
}

static void install_filter(int file) {
    static struct sock_filter instructions[MAX_INSTRUCTIONS];
    ssize_t size = pread(file, instructions, sizeof instructions, 0);
    require(size > 0, "read the filter of system calls");
    struct sock_fprog program = {.len = (unsigned short)((size_t)size / sizeof *instructions), .filter = instructions};
    require(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up privileges");
    require(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "install the filter of system calls");
    close(file);
}

void confine(struct bytes hostname, int filter) {
    require(!sethostname((const char *)hostname.data, hostname.size), "set the host name");
    require(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities");
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++)
        require(give_up_capability(extra[i]), "give up a capability");
    install_filter(filter);
}
