/* Makes every system call that could signal, trace, slow down or limit another process, and prints how each went, by
 * the number of the error; 0 is none:
 *
 *     attacker PID [32]    about a process, by the numbers of 32-bit programs where `32` is given
 *     attacker 0 [32]      about a child of its own
 *     attacker             nothing, but fail where the kernel takes no calls of 32-bit programs
 *
 *     attacker fork        fork on and on, in every process
 *     attacker fill        fill memory on and on, in four processes
 *     attacker wait        wait, in two processes
 *     attacker continue    continue every process on and on, in four sessions
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TARGET = -7 }; /* stands for the process in the arguments below */

static const struct attack {
    const char *name;
    long number, number_32;
    long arguments[4];
} attacks[] = {
    {"kill", SYS_kill, 37, {TARGET, 0}},
    {"tkill", SYS_tkill, 238, {TARGET, 0}},
    {"tgkill", SYS_tgkill, 270, {TARGET, TARGET, 0}},
    {"rt_sigqueueinfo", SYS_rt_sigqueueinfo, 178, {TARGET, 0}},
    {"rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, 335, {TARGET, TARGET, 0}},
    {"pidfd_open", SYS_pidfd_open, 434, {TARGET}},
    {"process_vm_readv", SYS_process_vm_readv, 347, {TARGET}},
    {"process_vm_writev", SYS_process_vm_writev, 348, {TARGET}},
    {"migrate_pages", SYS_migrate_pages, 294, {TARGET}},
    {"move_pages", SYS_move_pages, 317, {TARGET}},
    {"prlimit64", SYS_prlimit64, 340, {TARGET, 7}},
    {"sched_setaffinity", SYS_sched_setaffinity, 241, {TARGET}},
    {"sched_setattr", SYS_sched_setattr, 351, {TARGET}},
    {"sched_setparam", SYS_sched_setparam, 154, {TARGET}},
    {"sched_setscheduler", SYS_sched_setscheduler, 156, {TARGET}},
    {"setpriority of a process", SYS_setpriority, 97, {0, TARGET, 19}},
    {"setpriority of a group", SYS_setpriority, 97, {1, TARGET, 19}},
    {"ioprio_set of a process", SYS_ioprio_set, 289, {1, TARGET, 3 << 13}},
    {"ioprio_set of a group", SYS_ioprio_set, 289, {2, TARGET, 3 << 13}},
    {"ptrace, to seize", SYS_ptrace, 26, {PTRACE_SEIZE, TARGET}},
    {"ptrace, to attach", SYS_ptrace, 26, {PTRACE_ATTACH, TARGET}},
    {"setpriority of a user", SYS_setpriority, 97, {2, 0, 19}},
    {"ioprio_set of a user", SYS_ioprio_set, 289, {3, 0, 3 << 13}},
};

static long call_32(long number, const long numbers[4]) {
#ifdef __x86_64__
    long result;
    register long sixth __asm__("r12") = 0;
    __asm__ volatile("xchg %%rbp, %%r12; int $0x80; xchg %%rbp, %%r12"
                     : "=a"(result), "+r"(sixth)
                     : "a"(number), "b"(numbers[0]), "c"(numbers[1]), "d"(numbers[2]), "S"(numbers[3]), "D"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
#else
    (void)numbers, (void)number;
    return -ENOSYS;
#endif
}

static void attack_all(long target, bool own, bool as_32) {
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        const struct attack *attack = &attacks[i];
        long numbers[4], result;
        /* Those about a user hit everything in the PID namespace: never try them where they may succeed. */
        if (own && strstr(attack->name, "of a user")) continue;
        for (int j = 0; j < 4; j++) numbers[j] = attack->arguments[j] == TARGET ? target : attack->arguments[j];
        if (as_32) {
            result = call_32(attack->number_32, numbers);
        } else {
            result = syscall(attack->number, numbers[0], numbers[1], numbers[2], numbers[3], 0, 0);
            if (result < 0) result = -errno;
        }
        printf("%s: %ld\n", attack->name, result < 0 ? -result : 0);
    }
}

static void fill(void) {
    enum { STEP = 1 << 20 };
    for (char *memory; (memory = malloc(STEP)); memset(memory, 1, STEP)) {}
}

int main(int count, char **arguments) {
    static const long none[4];
    if (count < 2) return call_32(20, none) == getpid() ? 0 : 1;
    if (!strcmp(arguments[1], "fork"))
        for (;;) fork();
    if (!strcmp(arguments[1], "fill")) {
        fork();
        fork();
        fill();
    }
    if (!strcmp(arguments[1], "continue")) {
        fork();
        fork();
        setsid();
        for (;;) kill(-1, SIGCONT);
    }
    if (!strcmp(arguments[1], "wait")) {
        fork();
        for (;;) pause();
    }
    pid_t target = atoi(arguments[1]), child = target ? 0 : fork();
    if (!target && !child)
        for (;;) pause();
    if (child) setpgid(child, 0);
    attack_all(child ? child : target, child != 0, count > 2);
    if (child) kill(child, SIGKILL);
    return 0;
}
