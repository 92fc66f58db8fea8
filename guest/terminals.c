#define _GNU_SOURCE
#include "terminals.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "processes.h"

static _Noreturn void send_signals(int control) {
    uint8_t number;
    /* In a group of its own, since it is not to get them. */
    setpgid(0, 0);
    signal(SIGHUP, SIG_IGN);
    if (dup2(control, 1) < 0 || close_from(2)) _exit(1);
    while (read(1, &number, 1) == 1) {
        pid_t group = tcgetpgrp(0);
        if (group > 1) kill(-group, number);
    }
    _exit(0);
}

void terminal_leave_signaller(int control) {
    /* Its parent ends, so that it is no child of the program's. */
    pid_t between = fork();
    if (between == 0) {
        if (fork() == 0) send_signals(control);
        _exit(0);
    }
    if (between > 0) waitpid(between, NULL, 0);
}

void terminal_signal(int control, int signal) {
    uint8_t number = (uint8_t)signal;
    if (write(control, &number, 1) < 0) {} /* so many are on their way that one more makes no difference */
}

/* The signal that a character stands for; 0 for none. */
static int signal_for(const struct termios *settings, uint8_t character, bool begins_line) {
    const cc_t *special = settings->c_cc;
    if (!character) return 0; /* stands for none */
    if (settings->c_lflag & ISIG) {
        if (character == special[VINTR]) return SIGINT;
        if (character == special[VQUIT]) return SIGQUIT;
        if (character == special[VSUSP]) return SIGTSTP;
    }
    /* No read ends without a byte there, so that the program cannot be told of the end otherwise. */
    if (settings->c_lflag & ICANON && character == special[VEOF] && begins_line) return SIGHUP;
    return 0;
}

size_t terminal_take_input(int master, int control, size_t *line, const uint8_t *data, size_t size) {
    struct termios settings;
    if (tcgetattr(master, &settings)) return size;
    for (size_t i = 0; i < size; i++) {
        int signal = signal_for(&settings, data[i], *line == 0);
        if (signal && i) return i;
        if (signal) {
            *line = 0;
            terminal_signal(control, signal);
            return 0;
        }
        bool ends = data[i] == '\n' || data[i] == '\r' || data[i] == settings.c_cc[VEOF];
        *line = ends || !(settings.c_lflag & ICANON) ? 0 : *line + 1;
    }
    return size;
}
