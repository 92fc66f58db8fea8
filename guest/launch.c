/* From the start of a process until it is bwrap, which makes a sandbox. The arguments are steps, done in their order:
 *
 *     join FILE                    become a process of a cgroup, by its file
 *     enter FD                     enter the user namespace that FD is open on, and close FD
 *     ids BASE COUNT FD            open FD on a new user namespace whose IDs 0 to COUNT - 1 are BASE and following
 *     own-ids                      enter a user namespace where the user is the same, and may mount
 *     base DIRECTORY               mount an empty file system there, which nobody else sees
 *     bind SOURCE TARGET           mount a directory
 *     image SOURCE TARGET FD       mount a directory whose owners are mapped as FD has it; "" for as they are
 *     shared-image SOURCE TARGET FD   the same, where nothing on the way may be a link
 *     volume FD TARGET ID          mount the directory that FD is open on, whose owner is ID there; "" for as it is, BASE:COUNT for
 *                                  IDs 0 to COUNT - 1 of the directory that are BASE and following there
 *     disk FD TARGET OPTIONS ID    mount the file system on the block device FD, or an empty one in memory where that is "", with
 *                                  upper/ and work/, which belong to ID; "" for this user
 *     inject FD TARGET ID PID RO   the same in the mount namespace of a process, which is entered; RO to be read alone
 *     user ID                      become a user, and the group of that number, for good
 *     limit RESOURCE SOFT HARD     set a resource limit; "" for none
 *     cpu NUMBER                   run on this CPU, and on others that are named so
 *     exec PROGRAM ARGUMENT...     become a program, with no environment
 *     run PROGRAM ARGUMENT...      become a program on PATH, with this environment
 *     done                         end
 *
 * One that fails is told on standard error, and is the last. */
#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounts.h"

enum { NOT_RUNNABLE = 126, UMASK = 022 };

static cpu_set_t cpus;

static _Noreturn void give_up(const char *what, const char *about) {
    dprintf(2, "launcher: %s %s: %s\n", what, about, strerror(errno));
    _exit(NOT_RUNNABLE);
}

static void require(bool done, const char *what, const char *about) {
    if (!done) give_up(what, about);
}

static bool write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    int error = errno;
    if (file >= 0) close(file);
    errno = error;
    return done;
}

static void join(char **operands) { require(write_file(operands[0], "0"), "join", operands[0]); }

static void enter(char **operands) {
    int namespace = atoi(operands[0]);
    require(!setns(namespace, CLONE_NEWUSER) && !setgroups(0, NULL), "enter user namespace", operands[0]);
    close(namespace);
}

static bool become(const char *user) {
    uid_t id = (uid_t)strtoul(user, NULL, 10);
    return !setresgid(id, id, id) && !setresuid(id, id, id);
}

/* The namespace belongs to the user that it is mapped to: it is that user's pools which it uses. */
static _Noreturn void hold_namespace(const char *user, int ready, int release) {
    char byte = 0;
    if ((user && !become(user)) || unshare(CLONE_NEWUSER)) byte = (char)errno;
    if (write(ready, &byte, 1) == 1 && read(release, &byte, 1)) {} /* until the other end is closed */
    _exit(0);
}

/* Open a new user namespace: that of a user, or else of this one, with these maps of users and groups. */
static int map_ids(const char *user, const char *users, const char *groups, const char *about) {
    static const char what[] = "make a user namespace for";
    int ready[2], release[2];
    char path[64], error = 0;
    require(!pipe2(ready, O_CLOEXEC) && !pipe2(release, O_CLOEXEC), what, about);
    pid_t holder = fork();
    require(holder >= 0, what, about);
    if (!holder) {
        close(release[1]);
        hold_namespace(user, ready[1], release[0]);
    }
    require(read(ready[0], &error, 1) == 1, what, about);
    errno = error;
    require(!error, what, about);
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)holder);
    require(write_file(path, users), "map IDs to", about);
    snprintf(path, sizeof path, "/proc/%d/gid_map", (int)holder);
    require(write_file(path, groups), "map IDs to", about);
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)holder);
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    require(opened >= 0, what, about);
    for (int i = 0; i < 2; i++) close(ready[i]), close(release[i]);
    while (waitpid(holder, NULL, 0) < 0 && errno == EINTR) continue;
    return opened;
}

static void ids(char **operands) {
    char map[64];
    unsigned long first = strtoul(operands[0], NULL, 10), count = strtoul(operands[1], NULL, 10);
    /* One line cannot have IDs of two lines of the outer namespace's map, where ID 0 has its own. */
    if (first || count == 1) snprintf(map, sizeof map, "0 %lu %lu", first, count);
    else snprintf(map, sizeof map, "0 0 1\n1 1 %lu", count - 1);
    int opened = map_ids(operands[0], map, map, operands[0]), target = atoi(operands[2]);
    require(opened == target ? !fcntl(opened, F_SETFD, 0) : dup2(opened, target) >= 0 && !close(opened),
            "open a user namespace as", operands[2]);
}

static void own_ids(char **operands) {
    static const char what[] = "make a user namespace";
    char map[64];
    uid_t user = geteuid();
    gid_t group = getegid();
    (void)operands;
    require(!unshare(CLONE_NEWUSER) && write_file("/proc/self/setgroups", "deny"), what, "to mount in");
    snprintf(map, sizeof map, "%u %u 1", user, user);
    require(write_file("/proc/self/uid_map", map), what, "to mount in");
    snprintf(map, sizeof map, "%u %u 1", group, group);
    require(write_file("/proc/self/gid_map", map), what, "to mount in");
}

static void base(char **operands) {
    require(!unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
                !mount("tmpfs", operands[0], "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"),
            "mount on", operands[0]);
}

static void bind(char **operands) {
    require(!mkdir(operands[1], 0755) && !mount(operands[0], operands[1], NULL, MS_BIND, NULL), "bind", operands[0]);
}

static const char mapping[] = "map the owners (which needs Linux 5.19 and a file system that supports it) of";

static void mount_image(char **operands, bool links) {
    bool maps = *operands[2];
    require(!mkdir(operands[1], 0755), "make", operands[1]);
    int directory = open_path(operands[0], links);
    /* Without what is mounted below it, unless the kernel insists: for who may not see what that covers. */
    int copy = directory < 0 ? -1 : copy_mount(directory, !maps);
    require(copy >= 0, "open the image", operands[0]);
    if (maps) require(!map_owners(copy, atoi(operands[2])), mapping, operands[0]);
    require(!put_mount(copy, operands[1]), "mount", operands[0]);
    close(directory);
    close(copy);
}

static void image(char **operands) { mount_image(operands, true); }

static void shared_image(char **operands) { mount_image(operands, false); }

/* What FD is open on may be of another mount namespace, of which nothing can be mounted here: it is looked up
 * by its path, and must be the same. */
static int open_again(int descriptor) {
    char link[64], path[PATH_MAX];
    struct stat wanted, found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    int opened = open_path(path, false);
    if (opened < 0 || fstat(descriptor, &wanted) || fstat(opened, &found)) return -1;
    errno = ESTALE;
    return wanted.st_dev == found.st_dev && wanted.st_ino == found.st_ino ? opened : -1;
}

/* Of one ID, no other owner has one there: what the sandbox makes can belong to the directory's owner alone. */
static void map_owner(int mount, int directory, const char *id) {
    char users[64], groups[64];
    struct stat owner;
    const char *count = strchr(id, ':');
    int digits = count ? (int)(count - id) : (int)strlen(id);
    require(!fstat(directory, &owner), "look at", "a volume");
    snprintf(users, sizeof users, "%u %.*s %s", count ? 0 : owner.st_uid, digits, id, count ? count + 1 : "1");
    snprintf(groups, sizeof groups, "%u %.*s %s", count ? 0 : owner.st_gid, digits, id, count ? count + 1 : "1");
    int namespace = map_ids(NULL, users, groups, id);
    require(!map_owners(mount, namespace), mapping, "a volume");
    close(namespace);
}

static int copy_volume(char **operands, bool read_only) {
    bool maps = *operands[2];
    int source = atoi(operands[0]), directory = open_again(source);
    require(directory >= 0, "find the directory of a volume again for", operands[1]);
    int copy = copy_mount(directory, !maps);
    require(copy >= 0 && !restrict_mount(copy, read_only), "open a volume for", operands[1]);
    if (maps) map_owner(copy, directory, operands[2]);
    close(source);
    close(directory);
    return copy;
}

static void volume(char **operands) {
    int copy = copy_volume(operands, false);
    require(!mkdir(operands[1], 0755) && !put_mount(copy, operands[1]), "mount a volume on", operands[1]);
    close(copy);
}

static void make_layer_directory(const char *target, const char *name, uid_t owner) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", target, name);
    require(!mkdir(path, 0755) && !chown(path, owner, owner), "make", path);
}

static void disk(char **operands) {
    char device[64];
    bool in_memory = !*operands[0];
    uid_t owner = *operands[3] ? (uid_t)strtoul(operands[3], NULL, 10) : (uid_t)-1;
    snprintf(device, sizeof device, in_memory ? "tmpfs" : "/proc/self/fd/%s", operands[0]);
    require(!mkdir(operands[1], 0755) && !mount(device, operands[1], in_memory ? "tmpfs" : "ext4",
                                                MS_NOSUID | MS_NODEV, operands[2]),
            "mount a disk on", operands[1]);
    if (!in_memory) close(atoi(operands[0]));
    make_layer_directory(operands[1], "upper", owner);
    make_layer_directory(operands[1], "work", owner);
}

static void make_directories(char *path) {
    for (char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
        *end = 0;
        mkdir(path, 0755);
        *end = '/';
    }
    mkdir(path, 0755);
}

static void inject(char **operands) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", operands[3]);
    int copy = copy_volume(operands, *operands[4]), namespace = open(path, O_RDONLY | O_CLOEXEC);
    require(namespace >= 0 && !setns(namespace, CLONE_NEWNS), "enter the mounts of process", operands[3]);
    make_directories(operands[1]);
    int target = open_path(operands[1], false);
    require(target >= 0 && !put_mount_on(copy, target), "mount a volume on", operands[1]);
}

static void user(char **operands) {
    require(!setgroups(0, NULL) && become(operands[0]), "become user", operands[0]);
}

static rlim_t limit_of(const char *text) { return *text ? strtoull(text, NULL, 10) : RLIM_INFINITY; }

static void limit(char **operands) {
    struct rlimit before, wanted = {limit_of(operands[1]), limit_of(operands[2])};
    int resource = atoi(operands[0]);
    require(!getrlimit((unsigned)resource, &before), "limit", operands[0]);
    if (wanted.rlim_max > before.rlim_max) wanted.rlim_max = before.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
    require(!setrlimit((unsigned)resource, &wanted), "limit", operands[0]);
}

static void cpu(char **operands) {
    CPU_SET(strtoul(operands[0], NULL, 10), &cpus);
    require(!sched_setaffinity(0, sizeof cpus, &cpus), "run on CPU", operands[0]);
}

static void exec(char **operands) {
    static char *none[] = {NULL};
    umask(UMASK);
    execve(operands[0], operands, none);
    give_up("start", operands[0]);
}

static void run(char **operands) {
    execvp(operands[0], operands);
    give_up("start", operands[0]);
}

static void done(char **operands) {
    (void)operands;
    _exit(0);
}

static const struct step {
    const char *name;
    int operands;
    void (*act)(char **operands);
} steps[] = {
    {"join", 1, join},
    {"enter", 1, enter},
    {"ids", 3, ids},
    {"own-ids", 0, own_ids},
    {"base", 1, base},
    {"bind", 2, bind},
    {"image", 3, image},
    {"shared-image", 3, shared_image},
    {"volume", 3, volume},
    {"disk", 4, disk},
    {"inject", 5, inject},
    {"user", 1, user},
    {"limit", 3, limit},
    {"cpu", 1, cpu},
    {"exec", 1, exec},
    {"run", 1, run},
    {"done", 0, done},
};

void launch(char **arguments) {
    while (*arguments) {
        const struct step *step = steps;
        const struct step *end = steps + sizeof steps / sizeof *steps;
        while (step < end && strcmp(step->name, *arguments) != 0) step++;
        char **operands = ++arguments;
        for (int i = 0; step < end && i < step->operands; i++)
            if (!*arguments++) step = end;
        errno = EINVAL;
        require(step < end, "understand", operands[-1]);
        step->act(operands);
    }
    errno = EINVAL;
    give_up("do", "nothing");
}
