#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pages.h"
#include "protocol.h"

enum {
    USUAL_ROOM = FRAME_HEAD + MAX_FROM_GUEST + 1,
    LARGEST_FRAME = FRAME_HEAD + MAX_TO_GUEST + 1,
    /* Two of the largest frames, so that one can be filled while another is written, and zeros before them. */
    PENDING_ROOM = 3 * USUAL_ROOM,
};

struct stream stream;

static uint8_t *received, *pending;
static size_t received_size;
static size_t pending_begin, pending_end; /* what could not be written yet */

static void set_non_blocking(int descriptor) {
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

void stream_open(enum stream_kind kind, const char *path, int descriptor) {
    stream = (struct stream){.kind = kind, .path = path, .in = -1, .out = -1};
    received = pages_new(LARGEST_FRAME, true); /* children read in it what they shall do */
    pending = pages_new(PENDING_ROOM, false);
    if (!received || !pending) _exit(1);
    if (kind == STREAM_INHERITED) stream.in = stream.out = descriptor;
    if (kind == STREAM_STDIO) {
        /* Away from 0 and 1, which become the null device: no program inherits the stream. */
        stream.in = fcntl(0, F_DUPFD_CLOEXEC, 3);
        stream.out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    }
    if (stream.in >= 0) {
        set_non_blocking(stream.in);
        set_non_blocking(stream.out);
    }
}

/* Forget the connection: the agent ends with an inherited one, and dials another one else. */
static void lose(void) {
    if (stream.kind == STREAM_INHERITED) _exit(0);
    stream.lost = stream.kind == STREAM_STDIO;
    if (stream.lost) return;
    close(stream.in);
    stream.in = stream.out = -1;
    stream.open = false;
    received_size = pending_begin = pending_end = 0;
}

bool stream_dial(void) {
    if (stream.kind != STREAM_DIALLED || stream.in >= 0) return false;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(stream.path) >= sizeof address.sun_path) _exit(1);
    strcpy(address.sun_path, stream.path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0) return false;
    if (connect(connection, (struct sockaddr *)&address, sizeof address)) {
        close(connection);
        return false;
    }
    stream.in = stream.out = connection;
    struct bytes secret = {stream.secret, stream.secret_size};
    stream_send(0, FROM_GUEST_DIALLED, NULL, DIALLED_SECRET, secret);
    return true;
}

/* Return how many bytes at the start of what was received are done with, having taken a frame if there is a whole
 * one; 0 for more to come. */
static size_t take_frame(void (*take)(struct bytes payload), size_t from) {
    const uint8_t *at = received + from;
    size_t left = received_size - from;
    if (at[0] != FRAME_BEGIN) return 1; /* a zero between frames, or the rest of a broken one */
    if (left < FRAME_HEAD) return 0;
    size_t size = at[1] | (size_t)at[2] << 8 | (size_t)at[3] << 16 | (size_t)at[4] << 24;
    if (size > MAX_TO_GUEST) return 1;
    size_t whole = FRAME_HEAD + size + 1;
    if (left < whole) return 0;
    if (at[whole - 1] == FRAME_END) take((struct bytes){at + FRAME_HEAD, size});
    return whole;
}

void stream_receive(void (*take)(struct bytes payload)) {
    size_t room = received_size < USUAL_ROOM ? USUAL_ROOM : LARGEST_FRAME;
    ssize_t size = read(stream.in, received + received_size, room - received_size);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        lose();
        return;
    }
    received_size += (size_t)size;
    size_t from = 0, done = 1;
    while (from < received_size && done) {
        done = take_frame(take, from);
        from += done;
    }
    if (from > received_size) from = received_size;
    received_size -= from;
    if (from) memmove(received, received + from, received_size);
}

/* Make room for a largest frame. */
static bool make_room(void) {
    if (stream.out < 0) return false;
    if (pending_begin && PENDING_ROOM - pending_end < USUAL_ROOM) {
        pending_end -= pending_begin;
        memmove(pending, pending + pending_begin, pending_end);
        pending_begin = 0;
    }
    stream.full = PENDING_ROOM - pending_end < USUAL_ROOM;
    return !stream.full;
}

bool stream_send(uint64_t task, uint32_t body, const struct number *numbers, uint32_t field, struct bytes bytes) {
    if (!make_room()) return false;
    uint8_t *frame = pending + pending_end, *payload = frame + FRAME_HEAD;
    struct writer writer = {.at = payload, .end = payload + MAX_FROM_GUEST};
    put_varint(&writer, FROM_GUEST_TASK, task);
    uint8_t *message = begin_message(&writer, body);
    for (; numbers && numbers->field; numbers++) put_varint(&writer, numbers->field, numbers->value);
    put_bytes(&writer, field, bytes.data, bytes.size);
    end_message(&writer, message);
    size_t size = (size_t)(writer.at - payload);
    frame[0] = FRAME_BEGIN;
    for (int i = 0; i < 4; i++) frame[1 + i] = (uint8_t)(size >> 8 * i);
    payload[size] = FRAME_END;
    pending_end += FRAME_HEAD + size + 1;
    return true;
}

bool stream_resynchronise(void) {
    if (stream.kind != STREAM_STDIO) return true;
    if (!make_room()) return false;
    memset(pending + pending_end, 0, USUAL_ROOM);
    pending_end += USUAL_ROOM;
    return true;
}

bool stream_is_pending(void) { return pending_begin < pending_end; }

void stream_flush(void) {
    while (stream.out >= 0 && stream_is_pending()) {
        uint8_t *from = pending + pending_begin;
        ssize_t size = write(stream.out, from, pending_end - pending_begin);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR) lose();
            return;
        }
        pending_begin += (size_t)size;
    }
    pending_begin = pending_end = 0;
}

void stream_trim(void) {
    if (!received_size) pages_empty(received, LARGEST_FRAME);
    if (!stream_is_pending()) pages_empty(pending, PENDING_ROOM);
}

void stream_forget(void) { pages_empty(received, LARGEST_FRAME); }
