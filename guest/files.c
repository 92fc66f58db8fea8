#define _GNU_SOURCE
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "processes.h"
#include "protocol.h"
#include "workers.h"

enum {
    BUFFER = 65536,
    FILE_MODE = 0644,
    ALL_BITS = 07777,
    KEPT = 3,        /* numbers of directories that can be kept, 0 for none */
    DEEPEST = 65536, /* directories that can be entered one below the other */
};

static const int64_t SECOND_NS = 1000000000;

/* In the worker. An error is its exit status: everything is over then, and nothing needs to be given back. */

static struct request {
    char path[PATH_MAX], target[PATH_MAX];
    uint64_t numbers[MAX_FIELD];
} request;

static uint8_t output[BUFFER], input[BUFFER];
static size_t output_size, input_begin, input_end;
static const char *unfinished; /* a file that is to be removed where the worker fails */

static _Noreturn void fail(int error) {
    if (unfinished) unlink(unfinished);
    /* The answers before it tell which request has failed. */
    if (write(1, output, output_size) < 0) {}
    _exit(error);
}

/* Whether something is done; false where it has failed (errno) with an error that the request tolerates. */
static bool done(bool is_done) {
    if (!is_done && (errno > 63 || !(request.numbers[FILE_REQUEST_TOLERATED] >> errno & 1))) fail(errno);
    return is_done;
}

/* Somebody ends the worker: the agent, for one, which is asked to. */
static void clean_up(int number) {
    if (unfinished) unlink(unfinished);
    signal(number, SIG_DFL);
    raise(number);
}

/* The answer */

static void write_all(int to, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t written = write(to, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail(errno);
        data += written;
        size -= (size_t)written;
    }
}

static void make_room(size_t size) {
    if (size <= sizeof output - output_size) return;
    write_all(1, output, output_size);
    output_size = 0;
}

static void say_varint(uint64_t value) {
    make_room(10);
    struct writer writer = {.at = output + output_size, .end = output + sizeof output};
    put_raw_varint(&writer, value);
    output_size = (size_t)(writer.at - output);
}

/* Send the Entry of what has this name in a directory. */
static void say_entry(int directory, const char *name, const struct stat *status, const char *said_name) {
    char link[PATH_MAX];
    uint8_t bytes[2 * PATH_MAX];
    ssize_t size = S_ISLNK(status->st_mode) ? readlinkat(directory, name, link, sizeof link) : 0;
    struct writer writer = {.at = bytes, .end = bytes + sizeof bytes};
    put_bytes(&writer, ENTRY_NAME, said_name, strlen(said_name));
    put_varint(&writer, ENTRY_MODE, status->st_mode);
    put_varint(&writer, ENTRY_SIZE, (uint64_t)status->st_size);
    put_varint(&writer, ENTRY_UID, status->st_uid);
    put_varint(&writer, ENTRY_GID, status->st_gid);
    put_varint(&writer, ENTRY_MODIFIED_NS, to_zigzag(status->st_mtim.tv_sec * SECOND_NS + status->st_mtim.tv_nsec));
    put_bytes(&writer, ENTRY_LINK, link, size > 0 ? (size_t)size : 0);
    put_varint(&writer, ENTRY_DEVICE, status->st_dev);
    put_varint(&writer, ENTRY_INODE, status->st_ino);
    put_varint(&writer, ENTRY_NAMES, status->st_nlink);
    size_t whole = (size_t)(writer.at - bytes);
    say_varint(whole);
    make_room(whole);
    memcpy(output + output_size, bytes, whole);
    output_size += whole;
}

/* Send a piece of a file's content, of up to `most` bytes, which are read to where they are sent from; return how many
 * there were, and send nothing where that is none. Their number has as many bytes as were kept for it, which readers
 * allow. */
static size_t say_piece(int file, uint64_t skipped, uint64_t most) {
    enum { NUMBER = 3, NUMBERS = 10 + NUMBER };
    make_room(NUMBERS + (most < BUFFER / 2 ? most : BUFFER / 2));
    size_t before = output_size;
    say_varint(skipped);
    uint8_t *number = output + output_size;
    size_t room = sizeof output - output_size - NUMBER;
    ssize_t got;
    while ((got = read(file, number + NUMBER, most < room ? (size_t)most : room)) < 0 && errno == EINTR) {}
    if (got < 0) fail(errno);
    for (int i = 0; i < NUMBER; i++) number[i] = (uint8_t)(got >> 7 * i & 0x7f) | (i < NUMBER - 1 ? 0x80 : 0);
    output_size = got ? output_size + NUMBER + (size_t)got : before;
    return (size_t)got;
}

/* Send the content up to an offset. Holes are skipped, and so is what is missing of a file that has become shorter. */
static void say_content(int file, uint64_t size) {
    uint64_t at = 0, skipped = 0;
    while (at < size) {
        off_t data = lseek(file, (off_t)at, SEEK_DATA), hole;
        if (data < 0 && errno != ENXIO) data = (off_t)at; /* the file system does not know its holes, as in gVisor */
        if (data < 0 || (uint64_t)data >= size) break;
        hole = lseek(file, data, SEEK_HOLE);
        uint64_t end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
        if (lseek(file, data, SEEK_SET) < 0) fail(errno);
        skipped += (uint64_t)data - at;
        at = (uint64_t)data;
        for (size_t got = 1; got && at < end; at += got, skipped = got ? 0 : skipped)
            got = say_piece(file, skipped, end - at);
        if (at < end) break;
    }
    say_varint(skipped + (size - at));
    say_varint(0);
}

/* The requests */

/* Read more of the input, for which all answers are sent; false at its end. */
static bool more_input(void) {
    ssize_t size;
    make_room(sizeof output);
    while ((size = read(0, input, sizeof input)) < 0 && errno == EINTR) {}
    if (size < 0) fail(errno);
    input_begin = 0;
    input_end = (size_t)size;
    return size > 0;
}

/* Find what is there of the next bytes, at most so many; the end of the input is an error. */
static struct bytes hear(uint64_t most) {
    if (input_begin == input_end && !more_input()) fail(EBADMSG);
    size_t size = input_end - input_begin < most ? input_end - input_begin : (size_t)most;
    input_begin += size;
    return (struct bytes){input + input_begin - size, size};
}

static uint64_t hear_varint(void) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = *hear(1).data;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return value;
    }
    fail(EBADMSG);
}

static void copy_text(char text[PATH_MAX], struct bytes bytes) {
    if (bytes.size >= PATH_MAX) fail(ENAMETOOLONG);
    if (bytes.size) memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
}

/* Read the next request; false at the end. */
static bool hear_request(void) {
    static uint8_t whole[3 * PATH_MAX];
    if (input_begin == input_end && !more_input()) return false;
    uint64_t size = hear_varint();
    if (size > sizeof whole) fail(ENAMETOOLONG);
    for (size_t at = 0; at < size;) {
        struct bytes part = hear(size - at);
        memcpy(whole + at, part.data, part.size);
        at += part.size;
    }
    struct message message = read_message((struct bytes){whole, (size_t)size});
    if (message.malformed) fail(EBADMSG);
    memcpy(request.numbers, message.numbers, sizeof request.numbers);
    copy_text(request.path, message.bytes[FILE_REQUEST_PATH]);
    copy_text(request.target, message.bytes[FILE_REQUEST_TARGET]);
    return true;
}

static void hear_content(int file) {
    uint64_t at = 0, skipped, size;
    do {
        skipped = hear_varint();
        size = hear_varint();
        if (skipped && lseek(file, (off_t)(at + skipped), SEEK_SET) < 0) fail(errno);
        at += skipped + size;
        for (uint64_t left = size; left;) {
            struct bytes part = hear(left);
            write_all(file, part.data, part.size);
            left -= part.size;
        }
    } while (size);
    if (skipped && ftruncate(file, (off_t)at)) fail(errno);
}

/* What requests ask for */

static mode_t asked_mode(void) { return (mode_t)request.numbers[FILE_REQUEST_MODE]; }

static int link_flags(int if_not_followed) { return request.numbers[FILE_REQUEST_FOLLOW] ? 0 : if_not_followed; }

static void look(void) {
    struct stat status;
    if (done(!fstatat(AT_FDCWD, request.path, &status, link_flags(AT_SYMLINK_NOFOLLOW))))
        say_entry(AT_FDCWD, request.path, &status, "");
}

static void read_file(void) {
    struct stat status;
    /* Opening a pipe would wait for its other end; it is no regular file. */
    int file = open(request.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | link_flags(O_NOFOLLOW));
    if (!done(file >= 0)) return;
    if (fstat(file, &status)) fail(errno);
    errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    if (done(S_ISREG(status.st_mode))) {
        say_entry(AT_FDCWD, "", &status, "");
        /* A file of /proc has content and no size. */
        if (request.numbers[FILE_REQUEST_WHOLE] && !status.st_size)
            while (say_piece(file, 0, BUFFER)) {}
        say_content(file, (uint64_t)status.st_size);
    }
    close(file);
}

/* Set the owner, as far as this user may, permissions and time. */
static void set(void) {
    int64_t modified = from_zigzag(request.numbers[FILE_REQUEST_MODIFIED_NS]), nanoseconds = modified % SECOND_NS;
    bool is_before = nanoseconds < 0; /* C divides towards zero; times are divided towards the past */
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = modified / SECOND_NS - is_before, .tv_nsec = nanoseconds + is_before * SECOND_NS},
    };
    uid_t uid = (uid_t)request.numbers[FILE_REQUEST_UID];
    gid_t gid = (gid_t)request.numbers[FILE_REQUEST_GID];
    if ((uid || gid) && lchown(request.path, uid, gid)) {}
    if (!S_ISLNK(asked_mode()) && chmod(request.path, asked_mode() & ALL_BITS)) fail(errno);
    utimensat(AT_FDCWD, request.path, times, AT_SYMLINK_NOFOLLOW);
}

/* Make a file with the content that follows, beside its path until it is whole: until then it goes with the worker. */
static int write_beside(const char *path) {
    static char temporary[PATH_MAX + 32];
    const char *slash = strrchr(path, '/');
    snprintf(temporary, sizeof temporary, "%.*s.flash-sandbox-%d", slash ? (int)(slash + 1 - path) : 0, path, getpid());
    if (unlink(temporary)) {} /* of one with this process ID that was killed */
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) fail(errno);
    unfinished = temporary;
    hear_content(file);
    return file;
}

static void put_in_place(int file, const char *path) {
    if (rename(unfinished, path)) fail(errno);
    unfinished = NULL;
    close(file);
}

/* The new file takes the place of the old one, and keeps its permissions and owner. A link is replaced, not followed. */
static void replace_file(void) {
    const char *path = request.path;
    struct stat old;
    bool is_there = !lstat(path, &old), keeps = is_there && S_ISREG(old.st_mode);
    if (is_there && S_ISDIR(old.st_mode)) fail(EISDIR);
    if (is_there && !keeps && !S_ISLNK(old.st_mode)) fail(EINVAL);
    int file = write_beside(path);
    mode_t mode = asked_mode() ? asked_mode() : keeps ? old.st_mode : FILE_MODE;
    if (keeps && fchown(file, old.st_uid, old.st_gid)) {} /* as far as this user may */
    if (fchmod(file, mode & ALL_BITS)) fail(errno);
    put_in_place(file, path);
}

/* There need not be room for both files. */
static void write_anew(void) {
    if (unlink(request.path) && errno != ENOENT) fail(errno);
    put_in_place(write_beside(request.path), request.path);
    set();
}

static void make(void) {
    mode_t mode = asked_mode();
    if (S_ISLNK(mode)) done(!symlink(request.target, request.path));
    else if (S_ISFIFO(mode)) done(!mkfifo(request.path, mode & ALL_BITS));
    else if (!S_ISDIR(mode)) fail(EINVAL);
    else if (done(!mkdir(request.path, 0700)) && chmod(request.path, mode & ALL_BITS)) fail(errno);
}

/* Going through trees. A path below may be longer than a path may be, so that each directory is entered by its name. */

struct place {
    dev_t device;
    ino_t inode;
};

static struct place here, above[DEEPEST]; /* the current directory, and those that it was entered from */
static size_t depth;
static int kept[KEPT] = {AT_FDCWD, AT_FDCWD, AT_FDCWD};

static int kept_number(uint32_t field) {
    if (request.numbers[field] >= KEPT) fail(EINVAL);
    return (int)request.numbers[field];
}

static void say_all(int directory) {
    struct dirent *entry;
    struct stat status;
    DIR *stream = fdopendir(directory);
    if (!stream) fail(errno);
    while ((errno = 0, entry = readdir(stream))) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        if (!fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW)) say_entry(directory, name, &status, name);
        else if (errno != ENOENT) fail(errno);
    }
    if (errno) fail(errno);
    closedir(stream);
}

static void enter(void) {
    int base = kept_number(FILE_REQUEST_KEPT), keep = kept_number(FILE_REQUEST_KEEP);
    const char *path = *request.path ? request.path : ".";
    struct stat status;
    int directory = openat(kept[base], path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | link_flags(O_NOFOLLOW));
    if (!done(directory >= 0)) return;
    if (fstat(directory, &status) || fchdir(directory)) fail(errno);
    if (base || *path == '/') depth = 0;
    else if (depth == DEEPEST) fail(ENAMETOOLONG);
    else if (*request.path) above[depth++] = here;
    here = (struct place){status.st_dev, status.st_ino};
    say_entry(directory, "", &status, "");
    if (keep) {
        if (kept[keep] >= 0) close(kept[keep]);
        kept[keep] = directory;
    } else if (request.numbers[FILE_REQUEST_LIST]) {
        say_all(directory);
    } else {
        close(directory);
    }
}

/* Go back to where the current directory was entered from. Somebody may have moved it elsewhere. */
static void leave(void) {
    struct stat status;
    if (!depth || chdir("..") || stat(".", &status)) fail(depth ? errno : EINVAL);
    here = above[--depth];
    if (here.device != status.st_dev || here.inode != status.st_ino) fail(ESTALE);
}

static void perform(enum file_kind kind) {
    const char *path = request.path, *target = request.target;
    switch (kind) {
    case FILE_KIND_READ: read_file(); break;
    case FILE_KIND_WRITE: request.numbers[FILE_REQUEST_ANEW] ? write_anew() : replace_file(); break;
    case FILE_KIND_STAT: look(); break;
    case FILE_KIND_MAKE: make(); break;
    case FILE_KIND_LINK: done(!linkat(kept[kept_number(FILE_REQUEST_KEPT)], target, AT_FDCWD, path, 0)); break;
    case FILE_KIND_SET: set(); break;
    case FILE_KIND_UNLINK: done(!unlink(path)); break;
    case FILE_KIND_REMOVE_DIR: done(!rmdir(path)); break;
    case FILE_KIND_MOVE: done(!rename(path, target)); break;
    case FILE_KIND_ENTER: enter(); break;
    case FILE_KIND_LEAVE: leave(); break;
    default: fail(ENOSYS);
    }
}

static void serve_requests(void *unused) {
    (void)unused;
    raise_oom_score();
    umask(022);
    signal(SIGTERM, clean_up);
    while (hear_request()) {
        perform((enum file_kind)request.numbers[FILE_REQUEST_KIND]);
        say_varint(0);
    }
}

/* In the agent */

void file_worker_start(uint64_t id, struct bytes request_of_host) {
    int theirs[3] = {-1, -1, -1};
    struct task *task = task_new(id, FILE_WORKER, read_message(request_of_host).numbers[FILE_WORKER_WINDOW]);
    if (!task) _exit(1);
    bool open = open_pipes(task, true, theirs);
    pid_t worker = open ? worker_start(&(struct worker){theirs, 3, -1, serve_requests, NULL}) : -1;
    if (worker < 0) task_end(task, (uint32_t)errno, 0, false);
    else task->worker = worker;
    close_all(theirs, 3);
}

void file_worker_ended(struct task *task, int status) {
    task_end(task, WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : EINTR, 0, !WIFEXITED(status));
}
