#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "processes.h"
#include "programs.h"
#include "protocol.h"
#include "trees.h"

enum { FILE_MODE = 0644, DIRECTORY_MODE = 0755, ALL_BITS = 07777 };

struct operation {
    enum file_kind kind;
    const char *path, *target;
    mode_t mode;
    bool parents, recursive;
};

/* Make the directories above a path that are missing. */
static void make_parents(const char *path) {
    char *part = strdup(path);
    if (!part) fail(path, ENOMEM);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, DIRECTORY_MODE) && errno != EEXIST) fail(part, errno);
        *slash = '/';
    }
    free(part);
}

static void read_file(const char *path) {
    struct stat status;
    /* Opening a pipe would wait for its other end; it is no regular file. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0 || fstat(file, &status)) fail(path, errno);
    if (S_ISDIR(status.st_mode)) fail(path, EISDIR);
    if (!S_ISREG(status.st_mode)) fail(path, EINVAL);
    copy(path, file, 1, UINT64_MAX);
}

/* The new file lies beside the old one until it is whole, and then takes its place and keeps its permissions and
 * owner. A link is replaced, not followed. */
static void write_file(const struct operation *operation) {
    char temporary[4096 + 32];
    const char *path = operation->path, *slash = strrchr(path, '/');
    struct stat old;
    if (operation->parents) make_parents(path);
    bool replaces = !lstat(path, &old);
    if (replaces && S_ISDIR(old.st_mode)) fail(path, EISDIR);
    if (replaces && !S_ISREG(old.st_mode) && !S_ISLNK(old.st_mode)) fail(path, EINVAL);
    replaces = replaces && S_ISREG(old.st_mode);
    int length = snprintf(temporary, sizeof temporary, "%.*s/.flash-sandbox-%d", slash ? (int)(slash - path) : 0, path,
                          (int)getpid());
    if (length >= (int)sizeof temporary) fail(path, ENAMETOOLONG);
    if (unlink(temporary)) {} /* of one with this process ID that was killed */
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) fail(path, errno);
    remove_when_failing(temporary);
    copy(path, 0, file, UINT64_MAX);
    mode_t mode = operation->mode ? operation->mode : replaces ? old.st_mode & ALL_BITS : FILE_MODE;
    if (replaces && fchown(file, old.st_uid, old.st_gid)) {} /* as far as this user may */
    if (fchmod(file, mode) || rename(temporary, path)) fail(path, errno);
}

static void make_directory(const struct operation *operation) {
    mode_t mode = operation->mode ? operation->mode : DIRECTORY_MODE;
    struct stat status;
    if (operation->parents) {
        make_parents(operation->path);
        if (!stat(operation->path, &status) && S_ISDIR(status.st_mode)) return;
    }
    if (mkdir(operation->path, 0700) || chmod(operation->path, mode)) fail(operation->path, errno);
}

static void remove_path(const struct operation *operation) {
    const char *path = operation->path;
    struct stat status;
    if (lstat(path, &status)) fail(path, errno);
    if (!S_ISDIR(status.st_mode)) {
        if (unlink(path)) fail(path, errno);
    } else if (!operation->recursive) {
        if (rmdir(path)) fail(path, errno);
    } else {
        tree_remove(path);
    }
}

static void move(const struct operation *operation) {
    struct stat source, target;
    if (lstat(operation->path, &source)) fail(operation->path, errno);
    if (!stat(operation->target, &target)) {
        if (S_ISDIR(target.st_mode)) fail(operation->target, EEXIST);
        if (S_ISDIR(source.st_mode)) fail(operation->target, EEXIST);
    }
    if (rename(operation->path, operation->target)) fail(operation->path, errno);
}

static char *text(struct bytes bytes) {
    char *text = text_of(bytes);
    if (!text) fail("", ENOMEM);
    return text;
}

static struct operation read_operation(struct bytes request) {
    struct operation operation = {.path = "", .target = ""};
    struct reader reader = reader_of(request);
    struct field field;
    while (read_field(&reader, &field)) {
        switch (field.number) {
        case FILE_TASK_KIND: operation.kind = (enum file_kind)field.value; break;
        case FILE_TASK_PATH: operation.path = text(field.bytes); break;
        case FILE_TASK_TARGET: operation.target = text(field.bytes); break;
        case FILE_TASK_MODE: operation.mode = (mode_t)field.value & ALL_BITS; break;
        case FILE_TASK_PARENTS: operation.parents = field.value; break;
        case FILE_TASK_RECURSIVE: operation.recursive = field.value; break;
        }
    }
    if (reader.malformed || !*operation.path) fail("", EBADMSG);
    return operation;
}

static void perform(void *request) {
    struct operation operation = read_operation(*(struct bytes *)request);
    raise_oom_score();
    umask(022);
    switch (operation.kind) {
    case FILE_KIND_READ: read_file(operation.path); break;
    case FILE_KIND_WRITE: write_file(&operation); break;
    case FILE_KIND_STAT: tree_stat(operation.path); break;
    case FILE_KIND_LIST: tree_list(operation.path); break;
    case FILE_KIND_MAKE_DIR: make_directory(&operation); break;
    case FILE_KIND_REMOVE: remove_path(&operation); break;
    case FILE_KIND_MOVE: move(&operation); break;
    case FILE_KIND_PACK: tree_pack(operation.path); break;
    case FILE_KIND_UNPACK:
        if (operation.parents) make_parents(operation.path);
        tree_unpack(operation.path);
        break;
    default: fail(operation.path, ENOSYS);
    }
    flush_output();
}

/* In the agent */

void file_start(uint64_t id, struct bytes request) {
    struct reader reader = reader_of(request);
    struct field field;
    int theirs[4] = {-1, -1, -1, -1};
    uint64_t window = 0;
    while (read_field(&reader, &field))
        if (field.number == FILE_TASK_WINDOW) window = field.value;
    struct task *task = task_new(id, FILE_OPERATION, window);
    if (!task) _exit(1);
    pid_t worker = open_pipes(task, true, theirs) ? worker_start(theirs, -1, perform, &request) : -1;
    if (worker >= 0) task->worker = worker;
    else task_end(task, (uint32_t)errno, 0, false);
    close_all(theirs, 3);
}
