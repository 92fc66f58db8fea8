/* A filter of system calls (seccomp(2)) that refuses what would signal, trace, slow down or limit process 1. It is no
 * confinement of the sandbox, which is the runtime's work. It only looks at the calls in `rules`, and allows the rest.
 *
 * In a PID namespace that a program makes, it also protects what is process 1 there. */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A call has other numbers for 32-bit programs, which some runtimes allow. */
#if defined(__x86_64__)
static const uint32_t architecture = AUDIT_ARCH_X86_64, architecture_32 = AUDIT_ARCH_I386;
#define CALL(name, i386, arm) SYS_##name, i386
#elif defined(__aarch64__)
static const uint32_t architecture = AUDIT_ARCH_AARCH64, architecture_32 = AUDIT_ARCH_ARM;
#define CALL(name, i386, arm) SYS_##name, arm
#else
#error "the numbers of system calls are known for x86_64 and aarch64 only"
#endif

enum {
    ANY = -1,
    IOPRIO_PROCESS = 1, /* ioprio_set(2): IOPRIO_WHO_PROCESS, _PGRP and _USER */
    IOPRIO_GROUP,
    IOPRIO_USER,
    X32 = 0x40000000, /* bit of the numbers of x32 */
    MAX_INSTRUCTIONS = 256,
};

/* Refuse a call whose argument `index` is `value`, and whose first argument is `first` or anything. */
static const struct rule {
    int number, number_32;
    int first;
    unsigned index, value;
} rules[] = {
    {CALL(kill, 37, 37), ANY, 0, 1},
    {CALL(tkill, 238, 238), ANY, 0, 1},
    {CALL(tgkill, 270, 268), ANY, 0, 1},
    {CALL(rt_sigqueueinfo, 178, 178), ANY, 0, 1},
    {CALL(rt_tgsigqueueinfo, 335, 363), ANY, 0, 1},
    {CALL(pidfd_open, 434, 434), ANY, 0, 1},
    {CALL(ptrace, 26, 26), ANY, 1, 1},
    {CALL(process_vm_readv, 347, 376), ANY, 0, 1},
    {CALL(process_vm_writev, 348, 377), ANY, 0, 1},
    {CALL(migrate_pages, 294, 400), ANY, 0, 1},
    {CALL(move_pages, 317, 344), ANY, 0, 1},
    {CALL(prlimit64, 340, 369), ANY, 0, 1},
    {CALL(sched_setaffinity, 241, 241), ANY, 0, 1},
    {CALL(sched_setattr, 351, 380), ANY, 0, 1},
    {CALL(sched_setparam, 154, 154), ANY, 0, 1},
    {CALL(sched_setscheduler, 156, 156), ANY, 0, 1},
    /* A process, its group, and (0) every process of the caller's own user, who may be the agent's. */
    {CALL(setpriority, 97, 97), PRIO_PROCESS, 1, 1},
    {CALL(setpriority, 97, 97), PRIO_PGRP, 1, 1},
    {CALL(setpriority, 97, 97), PRIO_USER, 1, 0},
    {CALL(ioprio_set, 289, 314), IOPRIO_PROCESS, 1, 1},
    {CALL(ioprio_set, 289, 314), IOPRIO_GROUP, 1, 1},
    {CALL(ioprio_set, 289, 314), IOPRIO_USER, 1, 0},
};

struct filter {
    struct sock_filter code[MAX_INSTRUCTIONS];
    unsigned short size;
};

static void load(struct filter *filter, size_t offset) {
    filter->code[filter->size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

/* The kernel takes each of these arguments for an int: the lower half, which both architectures store first. */
static void load_argument(struct filter *filter, unsigned index) {
    load(filter, offsetof(struct seccomp_data, args) + index * sizeof(uint64_t));
}

/* Skip so many instructions, by how what was loaded compares with a value. */
static void jump(struct filter *filter, unsigned short comparison, uint32_t value, uint8_t if_true, uint8_t if_false) {
    filter->code[filter->size++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | comparison, value, if_true, if_false);
}

static void answer(struct filter *filter, uint32_t verdict) {
    filter->code[filter->size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
}

static void add_rule(struct filter *filter, const struct rule *rule, int number) {
    jump(filter, BPF_JEQ, (uint32_t)number, 0, rule->first == ANY ? 4 : 6);
    if (rule->first != ANY) {
        load_argument(filter, 0);
        jump(filter, BPF_JEQ, (uint32_t)rule->first, 0, 3);
    }
    load_argument(filter, rule->index);
    jump(filter, BPF_JEQ, rule->value, 0, 1);
    answer(filter, SECCOMP_RET_ERRNO | EPERM);
    load(filter, offsetof(struct seccomp_data, nr));
}

/* Install a filter of what is called by one architecture's numbers. */
static bool install(uint32_t of, bool is_32) {
    struct filter filter = {.size = 0};
    load(&filter, offsetof(struct seccomp_data, arch));
    jump(&filter, BPF_JEQ, of, 1, 0);
    answer(&filter, SECCOMP_RET_ALLOW);
    load(&filter, offsetof(struct seccomp_data, nr));
    if (of == AUDIT_ARCH_X86_64) { /* as on a kernel without x32, which is the usual one */
        jump(&filter, BPF_JGE, X32, 0, 1);
        answer(&filter, SECCOMP_RET_ERRNO | ENOSYS);
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        add_rule(&filter, &rules[i], is_32 ? rules[i].number_32 : rules[i].number);
    answer(&filter, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {filter.size, filter.code};
    /* Whether programs give up speed against speculation (SSB) is for the runtime to say. gVisor has no such flag. */
    return !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) ||
           !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

bool guard_install(void) {
    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && install(architecture, false) && install(architecture_32, true);
}
