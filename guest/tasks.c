#define _GNU_SOURCE
#include "tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"
#include "protocol.h"
#include "terminals.h"

enum {
    /* What a terminal's program printed may reach its master a little after the program has ended. And a terminal that
     * nobody has open is looked at again after so long. */
    TERMINAL_GRACE_MS = 100,
};

struct task *tasks;
uint64_t last_task;

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct task *task_new(uint64_t id, enum task_kind kind, uint64_t window) {
    struct task *task = calloc(1, sizeof *task);
    if (!task) return NULL;
    *task = (struct task){
        .id = id, .kind = kind, .credit = INPUT_WINDOW, .begun_ms = now_ms(),
        .executed = -1, .report = -1, .input = -1, .outputs = {-1, -1}, .control = -1, .listener = -1,
    };
    task_window(task, 0, window, false);
    struct task **end = &tasks;
    while (*end) end = &(*end)->next;
    *end = task;
    if (id > last_task) last_task = id;
    return task;
}

struct task *task_find(uint64_t id) {
    struct task *task = tasks;
    while (task && task->id != id) task = task->next;
    return task;
}

static void close_descriptor(int *descriptor) {
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
}

static bool has_unread(const struct task *task) { return task->unread_begin < task->unread_end; }

static void drop_unread(struct task *task) {
    pages_free(task->unread, INPUT_WINDOW);
    task->unread = NULL;
    task->unread_begin = task->unread_end = 0;
}

void tasks_trim(void) {
    for (struct task *task = tasks; task; task = task->next)
        if (!has_unread(task)) drop_unread(task);
}

/* The master of a terminal, and a connection, is one descriptor for both directions. */
static void close_input(struct task *task) {
    if (task->input >= 0 && task->input == task->outputs[0]) {
        if (task->kind == CONNECTION) shutdown(task->input, SHUT_WR);
        task->input = -1;
    } else {
        close_descriptor(&task->input);
    }
    drop_unread(task);
    if (task->output_ends) task_end(task, 0, 0, false);
}

void task_forget(struct task *task) {
    struct task **place = &tasks;
    while (*place != task) place = &(*place)->next;
    *place = task->next;
    close_input(task);
    for (int pipe = 0; pipe < PIPES; pipe++) close_descriptor(&task->outputs[pipe]);
    close_descriptor(&task->executed);
    close_descriptor(&task->report);
    close_descriptor(&task->control);
    close_descriptor(&task->listener);
    output_forget(&task->output);
    free(task->label);
    free(task);
}

/* Input */

/* Offset behind the last byte that has come. */
static uint64_t input_offset(const struct task *task) {
    return task->input_taken + (task->unread_end - task->unread_begin);
}

/* Nobody reads input any more. That breaks off a connection whose other direction has ended; else its output tells. */
static void fail_input(struct task *task, uint32_t error) {
    if (task->output_ends) task_end(task, error, 0, false);
    else close_input(task);
}

/* Write input as far as that is possible at once, and return how much that was. */
static size_t write_some(struct task *task, const uint8_t *data, size_t size) {
    size_t written = 0;
    while (written < size) {
        size_t piece = size - written;
        if (task->control >= 0)
            piece = terminal_take_input(task->input, task->control, &task->line, data + written, piece);
        if (!piece) {
            written++;
            continue;
        }
        ssize_t more = task->peer.sin_family
            ? sendto(task->input, data + written, piece, 0, (const struct sockaddr *)&task->peer, sizeof task->peer)
            : write(task->input, data + written, piece);
        if (more < 0 && errno != EAGAIN && errno != EINTR) fail_input(task, (uint32_t)errno);
        if (more < 0) break;
        written += (size_t)more;
    }
    task->input_taken += written;
    return written;
}

/* Keep input for later. It has room: no more than INPUT_WINDOW bytes may wait. */
static bool keep_input(struct task *task, struct bytes data) {
    if (!task->unread) task->unread = pages_new(INPUT_WINDOW, false);
    if (!task->unread) return false;
    size_t waiting = task->unread_end - task->unread_begin;
    if (task->unread_end + data.size > INPUT_WINDOW) {
        memmove(task->unread, task->unread + task->unread_begin, waiting);
        task->unread_begin = 0;
        task->unread_end = waiting;
    }
    memcpy(task->unread + task->unread_end, data.data, data.size);
    task->unread_end += data.size;
    return true;
}

/* Once everything is written, its reader is told that it ends. */
static void end_input(struct task *task) {
    static const uint8_t end_of_input = 4; /* ^D, which a terminal's program reads as the end */
    if (!task->input_ends || task->input < 0 || has_unread(task)) return;
    bool is_signal = task->control >= 0
        && !terminal_take_input(task->input, task->control, &task->line, &end_of_input, 1);
    if (task->terminal && !is_signal && write(task->input, &end_of_input, 1) < 0 && errno == EAGAIN) return;
    close_input(task);
}

bool task_input(struct task *task, struct bytes data, bool end) {
    if (data.size > task->credit - input_offset(task)) return false;
    if (task->input < 0 || task->input_ends) return true; /* nobody reads it: it has ended, or never took any */
    task->input_ends = end;
    size_t written = has_unread(task) ? 0 : write_some(task, data.data, data.size);
    struct bytes rest = {data.data + written, data.size - written};
    if (rest.size && task->input >= 0 && !keep_input(task, rest)) return false;
    end_input(task);
    return true;
}

bool task_wants_input(const struct task *task) { return task->input >= 0 && has_unread(task); }

void task_write_input(struct task *task) {
    task->unread_begin += write_some(task, task->unread + task->unread_begin, task->unread_end - task->unread_begin);
    if (!has_unread(task)) task->unread_begin = task->unread_end = 0;
    end_input(task);
}

/* Output */

void task_window(struct task *task, uint64_t received, uint64_t limit, bool resend) {
    task->silent = false;
    output_window(&task->output, received, limit, resend);
}

static bool drops(const struct task *task, bool connected) { return task->detached && !connected; }

bool task_wants_output(const struct task *task, int pipe, bool connected) {
    if (task->outputs[pipe] < 0 || (task->ending && !task->terminal && !task->left[pipe])) return false;
    if (task->hung_up && now_ms() < task->silence_until) return false;
    return drops(task, connected) || task->output.produced < task->output.limit;
}

void task_read_output(struct task *task, int pipe, bool connected) {
    /* The other one may have used up what may be sent. */
    if (!task_wants_output(task, pipe, connected)) return;
    struct output *output = &task->output;
    struct room room = output_room(output, (uint32_t)pipe);
    size_t size = room.size;
    if (!drops(task, connected) && size > output->limit - output->produced) size = output->limit - output->produced;
    if (task->ending && !task->terminal && size > task->left[pipe]) size = task->left[pipe];
    if (!size) return;
    ssize_t got = read(task->outputs[pipe], room.data, size);
    output_add(output, room, (uint32_t)pipe, got > 0 ? (size_t)got : 0);
    if (got > 0) {
        if (task->ending) {
            if (!task->terminal) task->left[pipe] -= (size_t)got;
            task->silence_until = now_ms() + TERMINAL_GRACE_MS;
        }
        task->hung_up = false;
        if (drops(task, connected)) output_drop_oldest(output);
        return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    int error = got < 0 ? errno : 0;
    if (task->terminal) {
        /* To close the master would send its program a signal. */
        task->hung_up = true;
        task->silence_until = now_ms() + TERMINAL_GRACE_MS;
        return;
    }
    if (task->kind == CONNECTION && !error && task->input >= 0) {
        /* What is left is the descriptor for the other direction. */
        task->outputs[pipe] = -1;
        task->output_ends = true;
        return;
    }
    if (task->input == task->outputs[pipe]) close_input(task);
    close_descriptor(&task->outputs[pipe]);
    if (task->kind == CONNECTION) task_end(task, (uint32_t)error, 0, false);
}

void task_print_error(struct task *task, const char *what, int error) {
    struct room room = output_room(&task->output, OUTPUT_STREAM_STDERR);
    int size = snprintf((char *)room.data, room.size, "flash-sandbox: %s: %s\n", what, strerror(error));
    if (room.data) output_add(&task->output, room, OUTPUT_STREAM_STDERR, (size_t)size);
}

/* The end */

void task_end(struct task *task, uint32_t status, uint32_t signal, bool unknown) {
    if (task->ending) return;
    task->ending = true;
    task->status = status;
    task->signal = signal;
    task->unknown = unknown;
    task->duration_ms = (uint64_t)(now_ms() - task->begun_ms);
    task->silence_until = now_ms() + TERMINAL_GRACE_MS;
    if (!task->terminal) close_input(task);
    close_descriptor(&task->control);
    close_descriptor(&task->listener);
    for (int pipe = 0; pipe < PIPES; pipe++) {
        int size = 0;
        /* A process that it left behind may print on, for ever. */
        if (task->outputs[pipe] >= 0 && ioctl(task->outputs[pipe], FIONREAD, &size) == 0 && size > 0)
            task->left[pipe] = (size_t)size;
    }
}

/* Whether everything that it printed before its end has been read. */
static bool is_read(struct task *task) {
    if (task->terminal) return task->hung_up || now_ms() >= task->silence_until;
    for (int pipe = 0; pipe < PIPES; pipe++)
        if (task->outputs[pipe] >= 0 && task->left[pipe]) return false;
    return true;
}

/* Sending */

static const struct bytes nothing;

static bool send_started(struct task *task) {
    const struct number numbers[] = {{STARTED_PID, (uint64_t)task->program}, {0, 0}};
    return task->started_sent = stream_send(task->id, FROM_GUEST_STARTED, numbers, 0, nothing);
}

static bool send_credit(struct task *task) {
    uint64_t credit = task->input_taken + INPUT_WINDOW;
    const struct number numbers[] = {{CREDIT_LIMIT, credit}, {0, 0}};
    if (!stream_send(task->id, FROM_GUEST_CREDIT, numbers, 0, nothing)) return false;
    task->credit = credit;
    return true;
}

static bool send_output(struct task *task) {
    uint32_t pipe;
    struct bytes data = output_next(&task->output, &pipe);
    if (data.size > MAX_DATA) data.size = MAX_DATA;
    const struct number numbers[] = {{OUTPUT_STREAM, pipe}, {OUTPUT_OFFSET, task->output.sent}, {0, 0}};
    if (!stream_send(task->id, FROM_GUEST_OUTPUT, numbers, OUTPUT_DATA, data)) return false;
    task->output.sent += data.size;
    return true;
}

static bool send_ended(struct task *task) {
    const struct number numbers[] = {
        {ENDED_STATUS, task->status},
        {ENDED_SIGNAL, task->signal},
        {ENDED_UNKNOWN, task->unknown},
        {ENDED_DROPPED, task->output.dropped},
        {ENDED_NOT_RUN, task->not_run},
        {ENDED_DURATION_MS, task->duration_ms},
        {0, 0},
    };
    return task->ended_sent = stream_send(task->id, FROM_GUEST_ENDED, numbers, 0, nothing);
}

bool task_send(struct task *task) {
    if (task->silent) return false;
    if (task->started && !task->started_sent) return send_started(task);
    if (task->output.sent < task->output.produced) return send_output(task);
    if (task->output_ends && !task->output_end_sent)
        return task->output_end_sent = stream_send(task->id, FROM_GUEST_OUTPUT_END, NULL, 0, nothing);
    if (task->input >= 0 && task->input_taken + INPUT_WINDOW / 2 >= task->credit) return send_credit(task);
    task->ended = task->ended || (task->ending && is_read(task));
    if (task->ended && !task->ended_sent) return send_ended(task);
    return false;
}

bool task_introduce(struct task *task) {
    const struct number numbers[] = {
        {KNOWN_RECEIVED, task->output.received},
        {KNOWN_PRODUCED, task->output.produced},
        {KNOWN_DROPPED, task->output.dropped},
        {KNOWN_CREDIT, task->credit},
        {KNOWN_ENDED, task->ending},
        {KNOWN_INPUT, input_offset(task)},
        {0, 0},
    };
    struct bytes label = {(const uint8_t *)task->label, task->label_size};
    if (!stream_send(task->id, FROM_GUEST_KNOWN, numbers, KNOWN_LABEL, label)) return false;
    task->started_sent = task->output_end_sent = task->ended_sent = false;
    return task->silent = true;
}
