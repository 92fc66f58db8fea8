/* The byte stream to the orchestrator: frames in, frames out, and connecting again. */
#ifndef STREAM_H
#define STREAM_H

#include "wire.h"

enum {
    FRAME_BEGIN = 0xF5,
    FRAME_END = 0xFA,
    FRAME_HEAD = 5, /* FRAME_BEGIN and the length of the payload */
    MAX_TO_GUEST = 2228224,
    MAX_FROM_GUEST = 66560,
    MAX_DATA = 65536, /* of one Input or Output */
};

enum stream_kind {
    STREAM_INHERITED, /* a socket pair: the agent ends with it */
    STREAM_DIALLED,   /* a Unix socket: the agent connects again */
    STREAM_STDIO,     /* pipes or an attached container: may break off inside a frame */
};

struct stream {
    enum stream_kind kind;
    const char *path; /* of the socket to dial */
    int in, out;      /* -1: not connected */
    bool open;        /* an orchestrator has said hello, and not asked to hold */
    bool lost;        /* nobody is at the other end of standard input and output just now */
    uint8_t *received; /* room for one frame; grows for a large one */
    size_t received_size, received_room;
    uint8_t *pending; /* what could not be written yet */
    size_t pending_begin, pending_end;
    bool full; /* `stream_begin` has found no room */
    uint8_t secret[64];
    size_t secret_size;
};

void stream_open(struct stream *stream, enum stream_kind kind, const char *path, int descriptor);

/* Connect, where that is this stream's way and it is not connected; true for a new connection. */
bool stream_dial(struct stream *stream);

/* Read once, and call `take` for each payload. */
void stream_receive(struct stream *stream, void (*take)(struct bytes payload));

/* Begin a frame; false where there is no room for a largest one now. */
bool stream_begin(struct stream *stream, struct writer *writer);
void stream_end(struct stream *stream, struct writer *writer);

/* Write as many zeros as the largest frame has bytes, where a frame may have been broken off; false where there is
 * no room for them now. */
bool stream_resynchronise(struct stream *stream);

/* Write what is pending, as far as that is possible at once. */
void stream_flush(struct stream *stream);

static inline bool stream_is_pending(const struct stream *stream) {
    return stream->pending_begin < stream->pending_end;
}

#endif
