/* gVisor's kernel has no subreapers, so that programs are held together by its own cgroups. And it lets root open the
 * descriptors of any process. */
#define _GNU_SOURCE
#include "gvisor.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cgroups.h"
#include "confine.h"

enum { SEALED = MS_NOSUID | MS_NODEV | MS_NOEXEC };

/* Mounted for a moment: what keeps them is the descriptor of their directory. */
static void take_cgroups(void) {
    static const char place[] = "/proc"; /* is there in every sandbox, and is there again afterwards */
    if (mount("none", place, "cgroup", SEALED, "job")) return;
    int directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    umount2(place, MNT_DETACH);
    if (directory >= 0) cgroups_use(directory);
}

static bool prepared;

bool runs_on_gvisor(void) { return prepared; }

void gvisor_prepare(void) {
    static const char *const hidden[] = {"/proc/1/fd", "/proc/1/fdinfo", "/proc/1/task"};
    prepared = true;
    take_cgroups();
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        mount("none", hidden[i], "tmpfs", SEALED | MS_RDONLY, "size=4k,mode=0");
    give_up_capability(CAP_SYS_ADMIN);
    give_up_capability(CAP_SETPCAP);
}
