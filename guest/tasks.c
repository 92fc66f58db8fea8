#define _GNU_SOURCE
#include "tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

enum {
    /* What a terminal's program printed may reach its master a little after the program has ended. And a terminal that
     * nobody has open is looked at again after so long. */
    TERMINAL_GRACE_MS = 100,
    /* Small pieces share a chunk, as long as it has this much room. */
    LEAST_CHUNK = 4096,
    LEAST_ROOM = 1024,
};

struct chunk {
    struct chunk *next;
    uint64_t offset;
    uint32_t size, room;
    uint32_t stream;
    uint8_t data[];
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
        .id = id, .kind = kind, .report = -1, .input = -1, .outputs = {-1, -1}, .credit = INPUT_WINDOW,
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

/* The master of a terminal, and a connection, is one descriptor for both directions. */
static void close_input(struct task *task) {
    if (task->input >= 0 && task->input == task->outputs[0]) {
        if (task->kind == CONNECTION) shutdown(task->input, SHUT_WR);
        task->input = -1;
    } else {
        close_descriptor(&task->input);
    }
    free(task->unread);
    task->unread = NULL;
    task->unread_begin = task->unread_end = 0;
}

static void drop_first(struct task *task) {
    struct chunk *chunk = task->first;
    task->first = chunk->next;
    if (!task->first) task->last = NULL;
    free(chunk);
}

void task_forget(struct task *task) {
    struct task **place = &tasks;
    while (*place != task) place = &(*place)->next;
    *place = task->next;
    close_input(task);
    for (int pipe = 0; pipe < PIPES; pipe++) close_descriptor(&task->outputs[pipe]);
    close_descriptor(&task->report);
    while (task->first) drop_first(task);
    free(task->label);
    free(task);
}

/* Input */

/* Offset behind the last byte that has come. */
static uint64_t input_offset(const struct task *task) {
    return task->input_taken + (task->unread_end - task->unread_begin);
}

bool task_input(struct task *task, struct bytes data, bool end) {
    if (data.size > task->credit - input_offset(task)) return false;
    if (task->input < 0 || task->input_ends) return true; /* nobody reads it: it has ended, or never took any */
    task->input_ends = end;
    if (data.size) {
        size_t waiting = task->unread_end - task->unread_begin;
        uint8_t *unread = malloc(waiting + data.size);
        if (!unread) return false;
        if (waiting) memcpy(unread, task->unread + task->unread_begin, waiting);
        memcpy(unread + waiting, data.data, data.size);
        free(task->unread);
        task->unread = unread;
        task->unread_begin = 0;
        task->unread_end = waiting + data.size;
    }
    task_write_input(task);
    return true;
}

bool task_wants_input(const struct task *task) {
    return task->input >= 0 && task->unread_begin < task->unread_end;
}

void task_write_input(struct task *task) {
    static const uint8_t end_of_input = 4; /* ^D, which a terminal's program reads as the end */
    while (task_wants_input(task)) {
        ssize_t size = write(task->input, task->unread + task->unread_begin, task->unread_end - task->unread_begin);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (size < 0) {
            close_input(task);
            return;
        }
        task->unread_begin += (size_t)size;
        task->input_taken += (size_t)size;
    }
    if (!task->input_ends || task->input < 0) return;
    if (task->terminal && write(task->input, &end_of_input, 1) < 0 && errno == EAGAIN) return;
    close_input(task);
}

/* Output */

void task_window(struct task *task, uint64_t received, uint64_t limit, bool resend) {
    task->silent = false;
    if (received > task->produced) received = task->produced;
    if (received > task->received) task->received = received;
    while (task->first && task->first->offset + task->first->size <= task->received) drop_first(task);
    if (resend || task->sent < task->received) task->sent = task->received;
    if (limit > task->limit) task->limit = limit;
    if (task->limit > task->received + OUTPUT_WINDOW) task->limit = task->received + OUTPUT_WINDOW;
}

static bool drops(const struct task *task, bool connected) { return task->detached && !connected; }

bool task_wants_output(const struct task *task, int pipe, bool connected) {
    if (task->outputs[pipe] < 0 || (task->ending && !task->terminal && !task->left[pipe])) return false;
    if (task->hung_up && now_ms() < task->silence_until) return false;
    return drops(task, connected) || task->produced < task->limit;
}

/* Return where to read up to `size` bytes of an output: a chunk with room, or a new one, which is not in the list yet. */
static struct chunk *chunk_for(struct task *task, int pipe, size_t size) {
    struct chunk *chunk = task->last;
    if (chunk && chunk->stream == (uint32_t)pipe && chunk->room - chunk->size >= LEAST_ROOM) return chunk;
    if (size < LEAST_CHUNK) size = LEAST_CHUNK;
    chunk = malloc(sizeof *chunk + size);
    if (!chunk) return NULL;
    *chunk = (struct chunk){.offset = task->produced, .room = (uint32_t)size, .stream = (uint32_t)pipe};
    return chunk;
}

static void add_output(struct task *task, struct chunk *chunk, size_t size) {
    chunk->size += (uint32_t)size;
    task->produced += size;
    if (chunk == task->last) return;
    uint32_t room = chunk->size < LEAST_CHUNK ? LEAST_CHUNK : chunk->size;
    struct chunk *fitting = realloc(chunk, sizeof *chunk + room);
    if (fitting) chunk = fitting, chunk->room = room;
    if (task->last) task->last->next = chunk;
    else task->first = chunk;
    task->last = chunk;
}

/* Of what nobody takes, the last is kept. */
static void drop_oldest(struct task *task) {
    while (task->first && task->produced - task->first->offset > OUTPUT_WINDOW) {
        uint64_t behind = task->first->offset + task->first->size;
        task->dropped += behind - task->received;
        task->received = behind;
        if (task->sent < behind) task->sent = behind;
        if (task->limit < behind) task->limit = behind;
        drop_first(task);
    }
}

void task_read_output(struct task *task, int pipe, bool connected) {
    size_t size = MAX_DATA;
    /* The other one may have used up what may be sent. */
    if (!task_wants_output(task, pipe, connected)) return;
    if (!drops(task, connected) && size > task->limit - task->produced) size = task->limit - task->produced;
    if (task->ending && !task->terminal && size > task->left[pipe]) size = task->left[pipe];
    struct chunk *chunk = chunk_for(task, pipe, size);
    if (!chunk) return;
    if (size > chunk->room - chunk->size) size = chunk->room - chunk->size;
    ssize_t got = read(task->outputs[pipe], chunk->data + chunk->size, size);
    if (got > 0) {
        add_output(task, chunk, (size_t)got);
        if (task->ending) {
            if (!task->terminal) task->left[pipe] -= (size_t)got;
            task->silence_until = now_ms() + TERMINAL_GRACE_MS;
        }
        task->hung_up = false;
        if (drops(task, connected)) drop_oldest(task);
        return;
    }
    if (chunk != task->last) free(chunk);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    int error = got < 0 ? errno : 0;
    if (task->terminal) {
        /* To close the master would send its program a signal. */
        task->hung_up = true;
        task->silence_until = now_ms() + TERMINAL_GRACE_MS;
        return;
    }
    if (task->input == task->outputs[pipe]) close_input(task);
    close_descriptor(&task->outputs[pipe]);
    if (task->kind == CONNECTION) task_end(task, (uint32_t)error, 0, false);
}

/* The end */

void task_end(struct task *task, uint32_t status, uint32_t signal, bool unknown) {
    if (task->ending) return;
    task->ending = true;
    task->status = status;
    task->signal = signal;
    task->unknown = unknown;
    task->silence_until = now_ms() + TERMINAL_GRACE_MS;
    if (!task->terminal) close_input(task);
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

static bool begin(struct stream *stream, struct writer *writer, const struct task *task) {
    if (!stream_begin(stream, writer)) return false;
    put_varint(writer, FROM_GUEST_TASK, task->id);
    return true;
}

static bool send_started(struct task *task, struct stream *stream) {
    struct writer writer;
    if (!begin(stream, &writer, task)) return false;
    uint8_t *message = begin_message(&writer, FROM_GUEST_STARTED);
    put_varint(&writer, STARTED_PID, (uint64_t)task->program);
    end_message(&writer, message);
    stream_end(stream, &writer);
    return task->started_sent = true;
}

static bool send_credit(struct task *task, struct stream *stream) {
    struct writer writer;
    if (!begin(stream, &writer, task)) return false;
    task->credit = task->input_taken + INPUT_WINDOW;
    uint8_t *message = begin_message(&writer, FROM_GUEST_CREDIT);
    put_varint(&writer, CREDIT_LIMIT, task->credit);
    end_message(&writer, message);
    stream_end(stream, &writer);
    return true;
}

static bool send_output(struct task *task, struct stream *stream) {
    struct chunk *chunk = task->first;
    while (chunk->offset + chunk->size <= task->sent) chunk = chunk->next;
    struct writer writer;
    if (!begin(stream, &writer, task)) return false;
    size_t skipped = task->sent - chunk->offset;
    uint8_t *message = begin_message(&writer, FROM_GUEST_OUTPUT);
    put_varint(&writer, OUTPUT_STREAM, chunk->stream);
    put_varint(&writer, OUTPUT_OFFSET, task->sent);
    put_bytes(&writer, OUTPUT_DATA, chunk->data + skipped, chunk->size - skipped);
    end_message(&writer, message);
    stream_end(stream, &writer);
    task->sent = chunk->offset + chunk->size;
    return true;
}

static bool send_ended(struct task *task, struct stream *stream) {
    struct writer writer;
    if (!begin(stream, &writer, task)) return false;
    uint8_t *message = begin_message(&writer, FROM_GUEST_ENDED);
    put_varint(&writer, ENDED_STATUS, task->status);
    put_varint(&writer, ENDED_SIGNAL, task->signal);
    put_varint(&writer, ENDED_UNKNOWN, task->unknown);
    put_varint(&writer, ENDED_DROPPED, task->dropped);
    put_varint(&writer, ENDED_NOT_RUN, task->not_run);
    end_message(&writer, message);
    stream_end(stream, &writer);
    return task->ended_sent = true;
}

bool task_send(struct task *task, struct stream *stream) {
    if (task->silent) return false;
    if (task->started && !task->started_sent) return send_started(task, stream);
    if (task->sent < task->produced) return send_output(task, stream);
    if (task->input >= 0 && task->input_taken + INPUT_WINDOW / 2 >= task->credit) return send_credit(task, stream);
    task->ended = task->ended || (task->ending && is_read(task));
    if (task->ended && !task->ended_sent) return send_ended(task, stream);
    return false;
}

bool task_introduce(struct task *task, struct stream *stream) {
    struct writer writer;
    if (!begin(stream, &writer, task)) return false;
    uint8_t *message = begin_message(&writer, FROM_GUEST_KNOWN);
    put_varint(&writer, KNOWN_RECEIVED, task->received);
    put_varint(&writer, KNOWN_PRODUCED, task->produced);
    put_varint(&writer, KNOWN_DROPPED, task->dropped);
    put_varint(&writer, KNOWN_CREDIT, task->credit);
    put_varint(&writer, KNOWN_ENDED, task->ending);
    put_varint(&writer, KNOWN_INPUT, input_offset(task));
    put_bytes(&writer, KNOWN_LABEL, task->label, task->label_size);
    end_message(&writer, message);
    stream_end(stream, &writer);
    task->started_sent = task->ended_sent = false;
    return task->silent = true;
}
