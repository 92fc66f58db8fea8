#define _GNU_SOURCE
#include "trees.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol.h"
#include "wire.h"

enum {
    BUFFER = 65536,
    MAX_NAME = 1 << 20, /* of an Entry; a path may be deeper than PATH_MAX */
    ALL_BITS = 07777,
    OPEN_DIRECTORY = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
};

static const int64_t SECOND_NS = 1000000000;

/* Input and output */

static uint8_t output[BUFFER], input[BUFFER];
static size_t output_size, input_begin, input_end;
static const char *removed_when_failing;

void remove_when_failing(const char *path) { removed_when_failing = path; }

void fail(const char *path, int error) {
    if (removed_when_failing) unlink(removed_when_failing);
    if (write(2, path, strlen(path)) < 0) {} /* the status tells the rest */
    conclude(error);
}

void conclude(int error) {
    if (write(3, &error, sizeof error) < 0) {} /* then nobody waits for it */
    _exit(error);
}

static void write_all(int to, const uint8_t *data, size_t size, const char *path) {
    while (size) {
        ssize_t written = write(to, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail(path, errno);
        data += written;
        size -= (size_t)written;
    }
}

void flush_output(void) {
    write_all(1, output, output_size, "");
    output_size = 0;
}

void drop_output(void) { output_size = 0; }

static void say(const uint8_t *data, size_t size) {
    if (size > sizeof output - output_size) flush_output();
    if (size > sizeof output) {
        write_all(1, data, size, "");
        return;
    }
    memcpy(output + output_size, data, size);
    output_size += size;
}

static void say_varint(uint64_t value) {
    uint8_t bytes[10];
    struct writer writer = {.at = bytes, .end = bytes + sizeof bytes};
    put_raw_varint(&writer, value);
    say(bytes, (size_t)(writer.at - bytes));
}

/* Read more of the input; false at its end. */
static bool more_input(void) {
    ssize_t size;
    while ((size = read(0, input, sizeof input)) < 0 && errno == EINTR) {}
    if (size < 0) fail("", errno);
    input_begin = 0;
    input_end = (size_t)size;
    return size > 0;
}

/* Read a varint of the input; false at the end. */
static bool hear_varint(uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (input_begin == input_end && !more_input()) {
            if (shift) fail("", EBADMSG);
            return false;
        }
        uint8_t byte = input[input_begin++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    fail("", EBADMSG);
}

static void hear(uint8_t *data, size_t size) {
    while (size) {
        if (input_begin == input_end && !more_input()) fail("", EBADMSG);
        size_t piece = input_end - input_begin < size ? input_end - input_begin : size;
        memcpy(data, input + input_begin, piece);
        input_begin += piece;
        data += piece;
        size -= piece;
    }
}

uint64_t copy(const char *path, int from, int to, uint64_t most) {
    uint8_t buffer[BUFFER];
    uint64_t copied = 0;
    while (copied < most) {
        size_t size = most - copied < sizeof buffer ? (size_t)(most - copied) : sizeof buffer;
        ssize_t got = read(from, buffer, size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(path, errno);
        if (!got) break;
        write_all(to, buffer, (size_t)got, path);
        copied += (uint64_t)got;
    }
    return copied;
}

/* Going through a tree: the names of each directory on the way are kept, and the way up is `..`. */

struct level {
    char *names; /* one after the other, each with its zero */
    size_t size, next;
    size_t path_size; /* of the path of the directory itself */
    dev_t device;
    ino_t inode;
};

struct walk {
    struct level *levels;
    size_t depth, room;
    int directory; /* that of the deepest level */
    char *path;    /* of the last entry, below where the walk began */
    size_t path_room;
};

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Read the names in a directory, sorted. */
static void read_names(int directory, struct level *level, const char *path) {
    DIR *stream = fdopendir(openat(directory, ".", OPEN_DIRECTORY));
    size_t count = 0, room = 0, total = 0;
    char **names = NULL;
    struct dirent *entry;
    if (!stream) fail(path, errno);
    while ((errno = 0, entry = readdir(stream))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (count == room) names = realloc(names, (room = room ? 2 * room : 64) * sizeof *names);
        if (!names || !(names[count] = strdup(entry->d_name))) fail(path, ENOMEM);
        total += strlen(names[count++]) + 1;
    }
    if (errno) fail(path, errno);
    closedir(stream);
    if (count) qsort(names, count, sizeof *names, by_name);
    level->names = malloc(total + 1);
    if (!level->names) fail(path, ENOMEM);
    for (size_t i = 0; i < count; i++) {
        memcpy(level->names + level->size, names[i], strlen(names[i]) + 1);
        level->size += strlen(names[i]) + 1;
        free(names[i]);
    }
    free(names);
}

/* Enter a directory below the current one; the walk owns the descriptor. */
static void enter(struct walk *walk, int directory, size_t path_size) {
    struct stat status;
    if (fstat(directory, &status)) fail(walk->path ? walk->path : "", errno);
    if (walk->depth == walk->room) {
        walk->room = walk->room ? 2 * walk->room : 16;
        walk->levels = realloc(walk->levels, walk->room * sizeof *walk->levels);
        if (!walk->levels) fail("", ENOMEM);
    }
    struct level *level = &walk->levels[walk->depth++];
    *level = (struct level){.path_size = path_size, .device = status.st_dev, .inode = status.st_ino};
    read_names(directory, level, walk->path ? walk->path : "");
    if (walk->depth > 1) close(walk->directory);
    walk->directory = directory;
}

/* Leave the current directory for the one above it, which must still be the one that the walk came from. */
static void leave(struct walk *walk) {
    free(walk->levels[--walk->depth].names);
    if (!walk->depth) {
        close(walk->directory);
        return;
    }
    struct level *level = &walk->levels[walk->depth - 1];
    struct stat status;
    int above = openat(walk->directory, "..", OPEN_DIRECTORY);
    if (above < 0 || fstat(above, &status)) fail(walk->path, errno);
    if (status.st_dev != level->device || status.st_ino != level->inode) fail(walk->path, ESTALE);
    close(walk->directory);
    walk->directory = above;
}

/* Return the next name in the current directory, and make `path` that of it; NULL for none. */
static const char *next_name(struct walk *walk) {
    struct level *level = &walk->levels[walk->depth - 1];
    if (level->next == level->size) return NULL;
    const char *name = level->names + level->next;
    size_t size = strlen(name), needed = level->path_size + size + 2;
    level->next += size + 1;
    if (needed > walk->path_room) {
        walk->path_room = 2 * needed;
        walk->path = realloc(walk->path, walk->path_room);
        if (!walk->path) fail("", ENOMEM);
    }
    if (level->path_size) walk->path[level->path_size] = '/';
    memcpy(walk->path + level->path_size + (level->path_size > 0), name, size + 1);
    return name;
}

/* Removing */

static int enter_to_remove(int directory, const char *name) {
    int below = openat(directory, name, OPEN_DIRECTORY);
    if (below >= 0 || errno != EACCES) return below;
    if (fchmodat(directory, name, 0700, 0)) return -1;
    return openat(directory, name, OPEN_DIRECTORY);
}

void tree_remove(const char *path) {
    struct walk walk = {0};
    int top = enter_to_remove(AT_FDCWD, path);
    if (top < 0) fail(path, errno);
    enter(&walk, top, 0);
    while (walk.depth) {
        const char *name = next_name(&walk);
        if (!name) {
            char *above = walk.path;
            leave(&walk);
            if (!walk.depth) break;
            /* The directory that was left is the last name of the one above. */
            const struct level *level = &walk.levels[walk.depth - 1];
            size_t from = level->next - 1;
            while (from && level->names[from - 1]) from--;
            if (unlinkat(walk.directory, level->names + from, AT_REMOVEDIR) && errno != ENOENT) fail(above, errno);
            continue;
        }
        if (!unlinkat(walk.directory, name, 0) || errno == ENOENT) continue;
        if (errno != EISDIR && errno != EPERM) fail(walk.path, errno);
        if (!unlinkat(walk.directory, name, AT_REMOVEDIR)) continue;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != EACCES) fail(walk.path, errno);
        int below = enter_to_remove(walk.directory, name);
        if (below < 0) fail(walk.path, errno);
        enter(&walk, below, strlen(walk.path));
    }
    free(walk.levels);
    free(walk.path);
    if (rmdir(path)) fail(path, errno);
}

/* Telling of entries */

static void say_entry(const char *name, const struct stat *status, const char *link, const char *same_as, bool framed) {
    size_t room = strlen(name) + strlen(link) + strlen(same_as) + 128;
    uint8_t *bytes = malloc(room);
    if (!bytes) fail(name, ENOMEM);
    struct writer writer = {.at = bytes, .end = bytes + room};
    int64_t modified = (int64_t)status->st_mtim.tv_sec * SECOND_NS + status->st_mtim.tv_nsec;
    put_bytes(&writer, ENTRY_NAME, name, strlen(name));
    put_varint(&writer, ENTRY_MODE, status->st_mode);
    put_varint(&writer, ENTRY_SIZE, (uint64_t)status->st_size);
    put_varint(&writer, ENTRY_UID, status->st_uid);
    put_varint(&writer, ENTRY_GID, status->st_gid);
    put_varint(&writer, ENTRY_MODIFIED_NS, to_zigzag(modified));
    put_bytes(&writer, ENTRY_LINK, link, strlen(link));
    put_bytes(&writer, ENTRY_SAME_AS, same_as, strlen(same_as));
    if (framed) say_varint((uint64_t)(writer.at - bytes));
    say(bytes, (size_t)(writer.at - bytes));
    free(bytes);
}

/* Read the target of a link, or return an empty text for what is none. */
static const char *target_of(int directory, const char *name, const struct stat *status) {
    static char target[4097];
    target[0] = 0;
    if (S_ISLNK(status->st_mode)) {
        ssize_t size = readlinkat(directory, name, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
    }
    return target;
}

void tree_stat(const char *path) {
    struct stat status;
    if (lstat(path, &status)) fail(path, errno);
    say_entry("", &status, target_of(AT_FDCWD, path, &status), "", false);
}

void tree_list(const char *path) {
    struct walk walk = {0};
    const char *name;
    int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) fail(path, errno);
    enter(&walk, top, 0);
    while ((name = next_name(&walk))) {
        struct stat status;
        if (!fstatat(walk.directory, name, &status, AT_SYMLINK_NOFOLLOW))
            say_entry(name, &status, target_of(walk.directory, name, &status), "", true);
        else if (errno != ENOENT)
            fail(name, errno);
    }
}

/* Packing */

struct linked { /* a file with several names */
    dev_t device;
    ino_t inode;
    char *path; /* the first of them */
};

static int by_inode(const void *a, const void *b) {
    const struct linked *one = a, *other = b;
    if (one->inode != other->inode) return one->inode < other->inode ? -1 : 1;
    return (one->device > other->device) - (one->device < other->device);
}

/* Return the first path of a file with several names; an empty text where this is the first. */
static const char *first_name(const char *path, const struct stat *status) {
    static void *known;
    if (!S_ISREG(status->st_mode) || status->st_nlink < 2) return "";
    struct linked *linked = malloc(sizeof *linked);
    if (!linked) fail(path, ENOMEM);
    *linked = (struct linked){status->st_dev, status->st_ino, NULL};
    struct linked **found = tsearch(linked, &known, by_inode);
    if (!found) fail(path, ENOMEM);
    if (*found == linked) {
        if (!(linked->path = strdup(path))) fail(path, ENOMEM);
        return "";
    }
    free(linked);
    return (*found)->path;
}

/* Send a piece of a file's content, of up to `most` bytes, which are read to where they are sent from; return how many
 * there were, and send nothing where that is none. Their number has as many bytes as were kept for it, which readers
 * allow. */
static size_t say_piece(int file, uint64_t skipped, uint64_t most, const char *path) {
    enum { NUMBER = 3, NUMBERS = 10 + NUMBER };
    if (sizeof output - output_size < NUMBERS + (most < BUFFER / 2 ? most : BUFFER / 2)) flush_output();
    size_t before = output_size;
    say_varint(skipped);
    uint8_t *number = output + output_size;
    size_t room = sizeof output - output_size - NUMBER;
    ssize_t got;
    while ((got = read(file, number + NUMBER, most < room ? (size_t)most : room)) < 0 && errno == EINTR) {}
    if (got < 0) fail(path, errno);
    for (int i = 0; i < NUMBER; i++) number[i] = (uint8_t)(got >> 7 * i & 0x7f) | (i < NUMBER - 1 ? 0x80 : 0);
    output_size = got ? output_size + NUMBER + (size_t)got : before;
    return (size_t)got;
}

/* Send a file's content as pieces: how many bytes to skip, how many follow, and these. Holes are skipped, and so is
 * what is missing of a file that has become shorter. A piece of no bytes is the last. */
static void pack_content(int file, uint64_t size, const char *path) {
    uint64_t at = 0, skipped = 0;
    while (at < size) {
        off_t data = lseek(file, (off_t)at, SEEK_DATA), hole;
        if (data < 0 && errno != ENXIO) data = (off_t)at; /* the file system does not know its holes, as in gVisor */
        if (data < 0 || (uint64_t)data >= size) break;
        hole = lseek(file, data, SEEK_HOLE);
        uint64_t end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
        if (lseek(file, data, SEEK_SET) < 0) fail(path, errno);
        skipped += (uint64_t)data - at;
        at = (uint64_t)data;
        while (at < end) {
            size_t got = say_piece(file, skipped, end - at, path);
            if (!got) break;
            skipped = 0;
            at += got;
        }
        if (at < end) break;
    }
    say_varint(skipped + (size - at));
    say_varint(0);
}

/* Open a regular file, and say in `status` what is open; -1 where it is there no more, or was replaced by something else. */
static int open_regular(int directory, const char *name, const char *path, struct stat *status) {
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 && errno != ENOENT && errno != ELOOP) fail(path, errno);
    if (file >= 0 && fstat(file, status)) fail(path, errno);
    if (file < 0 || S_ISREG(status->st_mode)) return file;
    close(file);
    return -1;
}

static void pack_regular(int directory, const char *name, const char *path, struct stat *status) {
    int file = open_regular(directory, name, path, status);
    if (file < 0) return;
    const char *same = first_name(path, status);
    say_entry(path, status, "", same, true);
    if (!*same) pack_content(file, (uint64_t)status->st_size, path);
    close(file);
}

/* Send one entry; return a descriptor of it where it is a directory, which the walk then enters, else -1. */
static int pack_one(int directory, const char *name, const char *path) {
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW)) {
        if (errno != ENOENT) fail(path, errno);
        return -1;
    }
    if (S_ISREG(status.st_mode)) {
        pack_regular(directory, name, path, &status);
        return -1;
    }
    if (S_ISSOCK(status.st_mode)) return -1; /* no archive holds one */
    say_entry(path, &status, target_of(directory, name, &status), "", true);
    if (!S_ISDIR(status.st_mode)) return -1;
    int below = openat(directory, name, OPEN_DIRECTORY);
    if (below < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) fail(path, errno);
    return below;
}

void tree_pack(const char *path) {
    struct walk walk = {0};
    struct stat status;
    int top = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (top < 0 || fstat(top, &status)) fail(path, errno);
    if (!S_ISDIR(status.st_mode)) {
        if (!S_ISREG(status.st_mode)) fail(path, EINVAL);
        const char *slash = strrchr(path, '/');
        say_entry(slash ? slash + 1 : path, &status, "", "", true);
        pack_content(top, (uint64_t)status.st_size, path);
        return;
    }
    say_entry("", &status, "", "", true);
    enter(&walk, top, 0);
    while (walk.depth) {
        const char *name = next_name(&walk);
        if (!name) {
            leave(&walk);
            continue;
        }
        int below = pack_one(walk.directory, name, walk.path);
        if (below >= 0) enter(&walk, below, strlen(walk.path));
    }
    free(walk.levels);
    free(walk.path);
}

/* Unpacking */

struct item {
    char *name, *link, *same_as;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec times[2];
};

/* A directory gets its permissions and time last: it may deny what is still to be made in it. */
struct later {
    struct later *next;
    struct item item;
};

static char *hear_item(struct item *item) {
    uint64_t size;
    if (!hear_varint(&size)) return NULL;
    if (size > MAX_NAME) fail("", EBADMSG);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes) fail("", ENOMEM);
    hear(bytes, size);
    struct message entry = read_message((struct bytes){bytes, size});
    if (entry.malformed) fail("", EBADMSG);
    int64_t modified = from_zigzag(entry.numbers[ENTRY_MODIFIED_NS]), nanoseconds = modified % SECOND_NS;
    bool is_before = nanoseconds < 0; /* C divides towards zero; times are divided towards the past */
    *item = (struct item){
        .name = text_of(entry.bytes[ENTRY_NAME]),
        .link = text_of(entry.bytes[ENTRY_LINK]),
        .same_as = text_of(entry.bytes[ENTRY_SAME_AS]),
        .mode = (mode_t)entry.numbers[ENTRY_MODE],
        .uid = (uid_t)entry.numbers[ENTRY_UID],
        .gid = (gid_t)entry.numbers[ENTRY_GID],
        .times = {
            {.tv_nsec = UTIME_OMIT},
            {.tv_sec = modified / SECOND_NS - is_before, .tv_nsec = nanoseconds + is_before * SECOND_NS},
        },
    };
    free(bytes);
    if (!item->name || !item->link || !item->same_as) fail("", ENOMEM);
    return item->name;
}

/* The links made so far: they may lead out of the tree, so nothing that comes later is written through them. */
static void *made_links;

static void remember_link(int directory, const char *name, const struct item *item) {
    struct stat status;
    struct linked *linked = malloc(sizeof *linked);
    if (!linked) fail(item->name, ENOMEM);
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW)) fail(item->name, errno);
    *linked = (struct linked){status.st_dev, status.st_ino, NULL};
    if (!tsearch(linked, &made_links, by_inode)) fail(item->name, ENOMEM);
}

/* Open a directory on the way to an entry. A link that was there before is followed. */
static int open_on_the_way(int directory, const char *name) {
    int below = openat(directory, name, OPEN_DIRECTORY);
    if (below >= 0 || (errno != ELOOP && errno != ENOTDIR)) return below;
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW)) return -1;
    struct linked linked = {status.st_dev, status.st_ino, NULL};
    if (!tfind(&linked, &made_links, by_inode)) return openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    errno = ELOOP;
    return -1;
}

/* Open the directory that a path below another one lies in, made where it is missing, and return its last part. */
static int open_above(int top, const char *path, const char **last) {
    int directory = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *parts = strdup(path), *part = parts;
    if (directory < 0 || !parts) fail(path, errno);
    for (char *slash; (slash = strchr(part, '/')); part = slash + 1) {
        *slash = 0;
        if (!*part) continue;
        int below = open_on_the_way(directory, part);
        if (below < 0 && errno == ENOENT && !mkdirat(directory, part, 0755)) below = open_on_the_way(directory, part);
        if (below < 0) fail(path, errno);
        close(directory);
        directory = below;
    }
    *last = path + (part - parts);
    free(parts);
    return directory;
}

static void unpack_content(int file, const char *path) {
    uint64_t at = 0, skipped, size;
    do {
        if (!hear_varint(&skipped) || !hear_varint(&size)) fail(path, EBADMSG);
        at += skipped;
        if (skipped && lseek(file, (off_t)at, SEEK_SET) < 0) fail(path, errno);
        at += size;
        for (uint64_t left = size; left;) {
            if (input_begin == input_end && !more_input()) fail(path, EBADMSG);
            size_t piece = input_end - input_begin < left ? input_end - input_begin : (size_t)left;
            write_all(file, input + input_begin, piece, path);
            input_begin += piece;
            left -= piece;
        }
    } while (size);
    if (skipped && ftruncate(file, (off_t)at)) fail(path, errno);
}

/* Set the owner, as far as this user may, permissions and time of what was made. */
static void finish(int directory, const char *name, const struct item *item) {
    if ((item->uid || item->gid) && fchownat(directory, name, item->uid, item->gid, AT_SYMLINK_NOFOLLOW)) {}
    if (!S_ISLNK(item->mode) && fchmodat(directory, name, item->mode & ALL_BITS, 0)) fail(item->name, errno);
    utimensat(directory, name, item->times, AT_SYMLINK_NOFOLLOW);
}

static void unpack_file(int directory, const char *name, const struct item *item) {
    int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) fail(item->name, errno);
    unpack_content(file, item->name);
    close(file);
    finish(directory, name, item);
}

static void unpack_directory(int directory, const char *name, const char *path) {
    struct stat status;
    if (!mkdirat(directory, name, 0700)) return;
    if (errno != EEXIST || fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW)) fail(path, errno);
    if (S_ISDIR(status.st_mode)) return;
    if (unlinkat(directory, name, 0) || mkdirat(directory, name, 0700)) fail(path, errno);
}

static void unpack_link(int top, int directory, const char *name, const struct item *item) {
    if (!*item->same_as) {
        if (symlinkat(item->link, directory, name)) fail(item->name, errno);
        remember_link(directory, name, item);
        finish(directory, name, item);
        return;
    }
    const char *first;
    int above = open_above(top, item->same_as, &first);
    if (linkat(above, first, directory, name, 0)) fail(item->name, errno);
    close(above);
}

static void unpack_one(int top, const struct item *item) {
    const char *name = ".";
    int directory = open_above(top, item->name, &name);
    bool is_directory = S_ISDIR(item->mode);
    if (!*name) name = ".";
    if (!is_directory && unlinkat(directory, name, 0) && errno != ENOENT) fail(item->name, errno);
    if (*item->same_as || S_ISLNK(item->mode)) unpack_link(top, directory, name, item);
    else if (S_ISREG(item->mode)) unpack_file(directory, name, item);
    else if (S_ISFIFO(item->mode)) {
        if (mkfifoat(directory, name, 0600)) fail(item->name, errno);
        finish(directory, name, item);
    } else if (is_directory) {
        if (strcmp(name, ".") != 0) unpack_directory(directory, name, item->name);
    } else {
        fail(item->name, EINVAL); /* a device, or nothing known */
    }
    close(directory);
}

void tree_unpack(const char *path) {
    struct later *directories = NULL;
    struct item item;
    if (mkdir(path, 0755) && errno != EEXIST) fail(path, errno);
    int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) fail(path, errno);
    while (hear_item(&item)) {
        unpack_one(top, &item);
        bool is_directory = S_ISDIR(item.mode) && !*item.same_as;
        free(item.link);
        free(item.same_as);
        if (!is_directory) {
            free(item.name);
            continue;
        }
        struct later *later = malloc(sizeof *later);
        if (!later) fail(item.name, ENOMEM);
        *later = (struct later){directories, item};
        directories = later;
    }
    /* The deepest first: each is reached through those above it. */
    for (struct later *later = directories; later; later = later->next) {
        const char *name;
        int above = open_above(top, later->item.name, &name);
        if (!*name) name = ".";
        finish(above, name, &later->item);
        close(above);
    }
}
