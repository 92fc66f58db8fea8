#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "processes.h"
#include "programs.h"
#include "protocol.h"
#include "trees.h"
#include "workers.h"

enum { FILE_MODE = 0644, DIRECTORY_MODE = 0755, ALL_BITS = 07777, SPARE_MS = 5000, MAX_REQUEST = 65536 };

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

/* Whether a path leads to where everything would go with it: the root directory, or what is above another path. */
static bool is_never_removed(const char *path, const struct stat *status) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat root;
    if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || stat("/", &root)) return true;
    return root.st_dev == status->st_dev && root.st_ino == status->st_ino;
}

static void remove_path(const struct operation *operation) {
    const char *path = operation->path;
    struct stat status;
    if (lstat(path, &status)) fail(path, errno);
    if (is_never_removed(path, &status)) fail(path, EINVAL);
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
    struct message message = read_message(request);
    if (message.malformed || !message.bytes[FILE_TASK_PATH].size) fail("", EBADMSG);
    return (struct operation){
        .kind = (enum file_kind)message.numbers[FILE_TASK_KIND],
        .path = text(message.bytes[FILE_TASK_PATH]),
        .target = text(message.bytes[FILE_TASK_TARGET]),
        .mode = (mode_t)message.numbers[FILE_TASK_MODE] & ALL_BITS,
        .parents = message.numbers[FILE_TASK_PARENTS],
        .recursive = message.numbers[FILE_TASK_RECURSIVE],
    };
}

static void perform(const struct operation *operation) {
    switch (operation->kind) {
    case FILE_KIND_READ: read_file(operation->path); break;
    case FILE_KIND_WRITE: write_file(operation); break;
    case FILE_KIND_STAT: tree_stat(operation->path); break;
    case FILE_KIND_LIST: tree_list(operation->path); break;
    case FILE_KIND_MAKE_DIR: make_directory(operation); break;
    case FILE_KIND_REMOVE: remove_path(operation); break;
    case FILE_KIND_MOVE: move(operation); break;
    case FILE_KIND_PACK: tree_pack(operation->path); break;
    case FILE_KIND_UNPACK:
        if (operation->parents) make_parents(operation->path);
        tree_unpack(operation->path);
        break;
    default: fail(operation->path, ENOSYS);
    }
}

static bool read_whole(void *to, size_t size) {
    for (uint8_t *at = to; size;) {
        ssize_t got = read(0, at, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

/* Wait for a request, which comes behind its size and before the input, and do what it asks for. */
static void serve_one(void *unused) {
    uint32_t size;
    (void)unused;
    raise_oom_score();
    umask(022);
    /* Touch the memory that an operation needs, which fork(2) leaves to be mapped and copied page by page. */
    tree_stat("/");
    drop_output();
    if (!read_whole(&size, sizeof size)) return; /* there is nothing to do */
    uint8_t *request = malloc(size + 1);
    if (!request || !read_whole(request, size)) fail("", ENOMEM);
    struct operation operation = read_operation((struct bytes){request, size});
    perform(&operation);
    flush_output();
    conclude(0);
}

/* In the agent */

/* A worker that has no request yet, so that the next operation need not wait for a fork; and until when it is kept. */
static struct task spare = {.report = -1, .input = -1, .outputs = {-1, -1}};
static int64_t spare_until;

/* Start a worker for a task; false with an error. */
static bool start_worker(struct task *task) {
    int theirs[4] = {-1, -1, -1, -1};
    bool open = open_pipes(task, true, theirs) && open_report(&task->report, &theirs[3]);
    pid_t worker = open ? worker_start(&(struct worker){theirs, 4, -1, serve_one, NULL}) : -1;
    int error = errno;
    close_all(theirs, 4);
    errno = error;
    task->worker = worker < 0 ? 0 : worker;
    return worker >= 0;
}

/* Hand the spare worker over to a task. */
static void take_spare(struct task *task) {
    task->worker = spare.worker;
    task->report = spare.report;
    task->input = spare.input;
    memcpy(task->outputs, spare.outputs, sizeof spare.outputs);
    spare = (struct task){.report = -1, .input = -1, .outputs = {-1, -1}};
}

/* Without its pipes it ends. */
void files_drop_spare(void) {
    struct task dropped;
    take_spare(&dropped);
    close_all(&dropped.report, 1);
    close_all(&dropped.input, 1);
    close_all(dropped.outputs, PIPES);
}

static bool send_request(struct task *task, struct bytes request) {
    uint32_t size = (uint32_t)request.size;
    if (size > MAX_REQUEST) return false;
    /* It counts as no input. */
    task->input_taken = -(uint64_t)(sizeof size + size);
    return task_input(task, (struct bytes){(uint8_t *)&size, sizeof size}, false) && task_input(task, request, false);
}

void file_start(uint64_t id, struct bytes request) {
    struct task *task = task_new(id, FILE_OPERATION, read_message(request).numbers[FILE_TASK_WINDOW]);
    if (!task) _exit(1);
    /* The sandbox may have killed it. */
    if (spare.worker && waitpid(spare.worker, NULL, WNOHANG) != 0) files_drop_spare();
    if (spare.worker) take_spare(task);
    else if (!start_worker(task)) {
        task_end(task, (uint32_t)errno, 0, false);
        return;
    }
    if (!send_request(task, request)) program_kill(task);
}

void file_report(struct task *task) {
    int status;
    ssize_t size = read(task->report, &status, sizeof status);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    close(task->report);
    task->report = -1;
    if (size != sizeof status) return; /* it was killed, which is found when it is reaped */
    task->worker = 0;
    task_end(task, (uint32_t)status, 0, false);
}

void file_reaped(struct task *task) {
    if (task->report >= 0) file_report(task);
    task_end(task, EINTR, 0, true);
}

bool file_is_spare(pid_t process) { return process == spare.worker; }

/* Whether an operation has ended since this was last asked: the next one is likely to come soon. */
static bool operation_has_ended(void) {
    static uint64_t last;
    uint64_t before = last;
    for (struct task *task = tasks; task; task = task->next)
        if (task->kind == FILE_OPERATION && task->ended_sent && task->id > last) last = task->id;
    return last > before;
}

int files_prepare(int timeout) {
    if (operation_has_ended()) {
        spare_until = now_ms() + SPARE_MS;
        if (!spare.worker && !start_worker(&spare)) files_drop_spare();
    }
    if (!spare.worker) return timeout;
    int64_t left = spare_until - now_ms();
    if (left <= 0) files_drop_spare();
    else if (timeout < 0 || left < timeout) return (int)left;
    return timeout;
}
