/* gVisor's kernel has no subreapers, so that programs are held together by its own cgroups. And it lets root open the
 * descriptors of any process. */
#define _GNU_SOURCE
#include "gvisor.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroups.h"

enum { SEALED = MS_NOSUID | MS_NODEV | MS_NOEXEC };

/* Programs that root starts get every capability of the bounding set back. */
static void give_up(unsigned capability) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (syscall(SYS_capget, &head, sets)) return;
    struct __user_cap_data_struct *set = &sets[CAP_TO_INDEX(capability)];
    set->effective &= ~CAP_TO_MASK(capability);
    set->permitted &= ~CAP_TO_MASK(capability);
    set->inheritable &= ~CAP_TO_MASK(capability);
    syscall(SYS_capset, &head, sets);
}

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
    give_up(CAP_SYS_ADMIN);
    give_up(CAP_SETPCAP); /* takes away from the bounding set, and so comes last */
}
