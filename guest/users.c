#define _GNU_SOURCE
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 4096, FIELDS = 7 };

/* Read a number that fills the text. */
static bool number_of(const char *text, unsigned *number) {
    if (!*text || strlen(text) > 10 || strspn(text, "0123456789") != strlen(text)) return false;
    unsigned long long value = strtoull(text, NULL, 10);
    *number = (unsigned)value;
    return value < 0xffffffffULL; /* -1 means no user */
}

/* A file, read without the heap: see programs.c. */
struct table {
    int file;
    size_t begin, end;
    char read[LINE];
};

/* False where it is no regular file, which others could hold up. */
static bool open_table(struct table *table, const char *path) {
    struct stat status;
    table->begin = table->end = 0;
    table->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (table->file < 0) return false;
    if (!fstat(table->file, &status) && S_ISREG(status.st_mode)) return true;
    close(table->file);
    return false;
}

static int next_byte(struct table *table) {
    if (table->begin == table->end) {
        ssize_t size = read(table->file, table->read, sizeof table->read);
        if (size <= 0) return EOF;
        table->begin = 0;
        table->end = (size_t)size;
    }
    return (unsigned char)table->read[table->begin++];
}

/* Read the next line into its fields, which a colon divides. What is too long is left out. */
static bool next_entry(struct table *table, char line[LINE], char *fields[FIELDS]) {
    size_t size = 0;
    int byte = next_byte(table);
    if (byte == EOF) return false;
    for (; byte != EOF && byte != '\n'; byte = next_byte(table))
        if (size < LINE - 1) line[size++] = (char)byte;
    line[size] = 0;
    for (int i = 0; i < FIELDS; i++) {
        fields[i] = line;
        line += strcspn(line, ":");
        if (*line) *line++ = 0;
    }
    return true;
}

/* passwd(5): name, password, UID, GID, comment, home, shell. */
static bool find_passwd(const char *text, struct user *user, char name[LINE]) {
    unsigned number;
    bool by_number = number_of(text, &number);
    bool found = false;
    char line[LINE], *fields[FIELDS];
    struct table table;
    bool open = open_table(&table, "/etc/passwd");
    while (open && !found && next_entry(&table, line, fields)) {
        unsigned uid, gid;
        if (!number_of(fields[2], &uid) || !number_of(fields[3], &gid)) continue;
        found = by_number ? uid == number : !strcmp(fields[0], text);
        if (!found) continue;
        user->uid = uid;
        user->gid = gid;
        snprintf(name, LINE, "%s", fields[0]);
        if (*fields[5]) snprintf(user->home, MAX_HOME, "%s", fields[5]);
    }
    if (open) close(table.file);
    if (found) return true;
    /* A number need not be known; root is, everywhere. */
    if (!by_number && strcmp(text, "root") != 0) return false;
    user->uid = by_number ? number : 0;
    user->gid = 0;
    name[0] = 0;
    return true;
}

/* group(5): name, password, GID, members. Find one group by name, or all that a member is in. */
static bool find_group(const char *text, struct user *user) {
    bool found = false;
    char line[LINE], *fields[FIELDS];
    struct table table;
    bool open = open_table(&table, "/etc/group");
    while (open && !found && next_entry(&table, line, fields))
        found = !strcmp(fields[0], text) && number_of(fields[2], &user->gid);
    if (open) close(table.file);
    return found || number_of(text, &user->gid);
}

static void find_memberships(const char *name, struct user *user) {
    char line[LINE], *fields[FIELDS];
    struct table table;
    bool open = open_table(&table, "/etc/group");
    while (open && *name && user->group_count < MAX_GROUPS && next_entry(&table, line, fields)) {
        char *rest = fields[3];
        for (char *member; (member = strsep(&rest, ","));) {
            if (strcmp(member, name) != 0) continue;
            user->group_count += number_of(fields[2], &user->groups[user->group_count]);
            break;
        }
    }
    if (open) close(table.file);
}

bool user_find(const char *text, struct user *user) {
    *user = (struct user){.home = "/"};
    char both[LINE], name[LINE];
    snprintf(both, sizeof both, "%s", *text ? text : "0");
    char *group = strchr(both, ':');
    if (group) *group++ = 0;
    if (!find_passwd(both, user, name)) return false;
    if (group) return find_group(group, user);
    find_memberships(name, user);
    return true;
}

bool user_become(const struct user *user) {
    /* Where the sandbox has a single user, setgroups is denied and changes nothing. */
    if (setgroups((size_t)user->group_count, user->groups) && (errno != EPERM || user->uid)) return false;
    return !setresgid(user->gid, user->gid, user->gid) && !setresuid(user->uid, user->uid, user->uid);
}
