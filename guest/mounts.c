#define _GNU_SOURCE
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers of system calls, the same for every architecture; linux/mount.h, linux/openat2.h. */
enum {
    CALL_OPEN_TREE = 428,
    CALL_MOVE_MOUNT = 429,
    CALL_OPENAT2 = 437,
    CALL_MOUNT_SETATTR = 442,
    CLONE_TREE = 1,
    FROM_EMPTY_PATH = 4,
    TO_EMPTY_PATH = 0x40,
    RESOLVE_WITHOUT_LINKS = 4,
    ATTRIBUTE_READ_ONLY = 1,
    ATTRIBUTE_NO_SUID = 2,
    ATTRIBUTE_NO_DEVICES = 4,
    ATTRIBUTE_ID_MAP = 0x00100000,
    TRIES = 64,
};

struct how {
    uint64_t flags, mode, resolve;
};

struct attributes {
    uint64_t set, clear, propagation, user_namespace;
};

int open_path(const char *path, bool links) {
    struct how how = {.flags = O_PATH | O_CLOEXEC, .resolve = links ? 0 : RESOLVE_WITHOUT_LINKS};
    int found = -1;
    /* It gives up where something is renamed meanwhile (openat2(2)). */
    for (int i = 0; i < TRIES && found < 0; i++) {
        found = (int)syscall(CALL_OPENAT2, AT_FDCWD, path, &how, sizeof how);
        if (found < 0 && errno != EAGAIN && errno != EINTR) break;
    }
    return found;
}

int copy_mount(int directory, bool with_below) {
    int flags = CLONE_TREE | O_CLOEXEC | AT_EMPTY | (with_below ? AT_ALL_BELOW : 0);
    return (int)syscall(CALL_OPEN_TREE, directory, "", flags);
}

int put_mount(int mount, const char *target) {
    return (int)syscall(CALL_MOVE_MOUNT, mount, "", AT_FDCWD, target, FROM_EMPTY_PATH);
}

int put_mount_on(int mount, int target) {
    return (int)syscall(CALL_MOVE_MOUNT, mount, "", target, "", FROM_EMPTY_PATH | TO_EMPTY_PATH);
}

int map_owners(int mount, int user_namespace) {
    struct attributes attributes = {.set = ATTRIBUTE_ID_MAP, .user_namespace = (uint64_t)user_namespace};
    return (int)syscall(CALL_MOUNT_SETATTR, mount, "", AT_EMPTY, &attributes, sizeof attributes);
}

int restrict_mount(int mount, bool read_only) {
    uint64_t wanted = ATTRIBUTE_NO_SUID | ATTRIBUTE_NO_DEVICES | (read_only ? ATTRIBUTE_READ_ONLY : 0);
    struct attributes attributes = {.set = wanted};
    return (int)syscall(CALL_MOUNT_SETATTR, mount, "", AT_EMPTY | AT_ALL_BELOW, &attributes, sizeof attributes);
}

int make_read_only(const char *target) {
    struct attributes attributes = {.set = ATTRIBUTE_READ_ONLY};
    return (int)syscall(CALL_MOUNT_SETATTR, AT_FDCWD, target, 0, &attributes, sizeof attributes);
}
