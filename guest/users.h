/* Users and groups, from the image's own /etc/passwd and /etc/group. */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>
#include <sys/types.h>

enum { MAX_GROUPS = 64, MAX_HOME = 4096 };

struct user {
    uid_t uid;
    gid_t gid;
    gid_t groups[MAX_GROUPS]; /* supplementary */
    int group_count;
    char home[MAX_HOME]; /* home directory; / where the image names none */
};

/* Find a user by name or number, or USER:GROUP; empty is root. False where the image has no such user or group. */
bool user_find(const char *text, struct user *user);

/* Become a user, for good. False, with errno, where that is not possible. */
bool user_become(const struct user *user);

#endif
