#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

enum {
    USUAL_ROOM = FRAME_HEAD + MAX_FROM_GUEST + 1,
    LARGEST_FRAME = FRAME_HEAD + MAX_TO_GUEST + 1,
    /* Two of the largest frames, so that one can be filled while another is written, and zeros before them. */
    PENDING_ROOM = 3 * USUAL_ROOM,
};

static void set_non_blocking(int descriptor) {
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

void stream_open(struct stream *stream, enum stream_kind kind, const char *path, int descriptor) {
    *stream = (struct stream){.kind = kind, .path = path, .in = -1, .out = -1};
    stream->received = malloc(USUAL_ROOM);
    stream->received_room = USUAL_ROOM;
    stream->pending = malloc(PENDING_ROOM);
    if (!stream->received || !stream->pending) _exit(1);
    if (kind == STREAM_INHERITED) stream->in = stream->out = descriptor;
    if (kind == STREAM_STDIO) {
        /* Away from 0 and 1, which become the null device: no program inherits the stream. */
        stream->in = fcntl(0, F_DUPFD_CLOEXEC, 3);
        stream->out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    }
    if (stream->in >= 0) {
        set_non_blocking(stream->in);
        set_non_blocking(stream->out);
    }
}

/* Forget the connection: the agent ends with an inherited one, and dials another one else. */
static void lose(struct stream *stream) {
    if (stream->kind == STREAM_INHERITED) _exit(0);
    stream->lost = stream->kind == STREAM_STDIO;
    if (stream->lost) return;
    close(stream->in);
    stream->in = stream->out = -1;
    stream->open = false;
    stream->received_size = stream->pending_begin = stream->pending_end = 0;
}

bool stream_dial(struct stream *stream) {
    if (stream->kind != STREAM_DIALLED || stream->in >= 0) return false;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(stream->path) >= sizeof address.sun_path) _exit(1);
    strcpy(address.sun_path, stream->path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0) return false;
    if (connect(connection, (struct sockaddr *)&address, sizeof address)) {
        close(connection);
        return false;
    }
    stream->in = stream->out = connection;
    struct writer writer;
    stream_begin(stream, &writer);
    uint8_t *message = begin_message(&writer, FROM_GUEST_DIALLED);
    put_bytes(&writer, DIALLED_SECRET, stream->secret, stream->secret_size);
    end_message(&writer, message);
    stream_end(stream, &writer);
    return true;
}

/* Return how many bytes at the start of what was received are done with, having taken a frame if there is a whole
 * one; 0 for more to come. */
static size_t take_frame(struct stream *stream, void (*take)(struct bytes payload), size_t from) {
    const uint8_t *at = stream->received + from;
    size_t left = stream->received_size - from;
    if (at[0] != FRAME_BEGIN) return 1; /* a zero between frames, or the rest of a broken one */
    if (left < FRAME_HEAD) return 0;
    size_t size = at[1] | (size_t)at[2] << 8 | (size_t)at[3] << 16 | (size_t)at[4] << 24;
    if (size > MAX_TO_GUEST) return 1;
    size_t whole = FRAME_HEAD + size + 1;
    if (left < whole) {
        if (whole > stream->received_room) {
            uint8_t *more = realloc(stream->received, LARGEST_FRAME);
            if (!more) return 1;
            stream->received = more;
            stream->received_room = LARGEST_FRAME;
        }
        return 0;
    }
    if (at[whole - 1] == FRAME_END) take((struct bytes){at + FRAME_HEAD, size});
    return whole;
}

void stream_receive(struct stream *stream, void (*take)(struct bytes payload)) {
    uint8_t *to = stream->received + stream->received_size;
    ssize_t size = read(stream->in, to, stream->received_room - stream->received_size);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        lose(stream);
        return;
    }
    stream->received_size += (size_t)size;
    size_t from = 0, done = 1;
    while (from < stream->received_size && done) {
        done = take_frame(stream, take, from);
        from += done;
    }
    if (from > stream->received_size) from = stream->received_size;
    stream->received_size -= from;
    memmove(stream->received, stream->received + from, stream->received_size);
    if (stream->received_room > USUAL_ROOM && stream->received_size < USUAL_ROOM) {
        uint8_t *less = realloc(stream->received, USUAL_ROOM);
        if (less) stream->received = less, stream->received_room = USUAL_ROOM;
    }
}

bool stream_begin(struct stream *stream, struct writer *writer) {
    if (stream->out < 0) return false;
    if (stream->pending_begin && PENDING_ROOM - stream->pending_end < USUAL_ROOM) {
        stream->pending_end -= stream->pending_begin;
        memmove(stream->pending, stream->pending + stream->pending_begin, stream->pending_end);
        stream->pending_begin = 0;
    }
    if (PENDING_ROOM - stream->pending_end < USUAL_ROOM) {
        stream->full = true;
        return false;
    }
    uint8_t *at = stream->pending + stream->pending_end;
    *writer = (struct writer){.at = at + FRAME_HEAD, .end = at + FRAME_HEAD + MAX_FROM_GUEST};
    return true;
}

void stream_end(struct stream *stream, struct writer *writer) {
    uint8_t *at = stream->pending + stream->pending_end;
    size_t size = (size_t)(writer->at - at) - FRAME_HEAD;
    at[0] = FRAME_BEGIN;
    for (int i = 0; i < 4; i++) at[1 + i] = (uint8_t)(size >> 8 * i);
    *writer->at = FRAME_END;
    stream->pending_end += FRAME_HEAD + size + 1;
}

bool stream_resynchronise(struct stream *stream) {
    struct writer writer;
    if (stream->kind != STREAM_STDIO) return true;
    if (!stream_begin(stream, &writer)) return false;
    memset(stream->pending + stream->pending_end, 0, USUAL_ROOM);
    stream->pending_end += USUAL_ROOM;
    return true;
}

void stream_flush(struct stream *stream) {
    while (stream->out >= 0 && stream_is_pending(stream)) {
        uint8_t *from = stream->pending + stream->pending_begin;
        ssize_t size = write(stream->out, from, stream->pending_end - stream->pending_begin);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR) lose(stream);
            return;
        }
        stream->pending_begin += (size_t)size;
    }
    stream->pending_begin = stream->pending_end = 0;
}
