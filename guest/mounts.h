/* Calls of Linux about mounts and paths that not every C library has. */
#ifndef MOUNTS_H
#define MOUNTS_H

#include <stdbool.h>

enum { AT_EMPTY = 0x1000, AT_ALL_BELOW = 0x8000 }; /* AT_EMPTY_PATH, AT_RECURSIVE */

/* Open what lies at a path (O_PATH); without `links`, fail with ELOOP where there is one on the way. */
int open_path(const char *path, bool links);

/* Take a copy of what is mounted at a descriptor, with or without what is mounted below it. */
int copy_mount(int directory, bool with_below);

/* Mount a copy somewhere. */
int put_mount(int mount, const char *target);

/* Mount a copy on what a descriptor has open. */
int put_mount_on(int mount, int target);

/* Have the owners in a mount be those that a user namespace maps them to. */
int map_owners(int mount, int user_namespace);

/* Let no program of a mount give privileges, and no device be one; let it be read only, if so wanted. */
int restrict_mount(int mount, bool read_only);

/* Let a mount be read only; of a device, that is its mode and owner. */
int make_read_only(const char *target);

#endif
