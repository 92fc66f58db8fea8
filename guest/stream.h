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

extern struct stream {
    enum stream_kind kind;
    const char *path; /* of the socket to dial */
    int in, out;      /* -1: not connected */
    bool open;        /* an orchestrator has said hello, and not asked to hold */
    bool lost;        /* nobody is at the other end of standard input and output just now */
    bool full;        /* there was no room for the last message */
    uint8_t secret[64];
    size_t secret_size;
} stream;

void stream_open(enum stream_kind kind, const char *path, int descriptor);

/* Connect, where that is this stream's way and it is not connected; true for a new connection. */
bool stream_dial(void);

/* Read once, and call `take` for each payload. */
void stream_receive(void (*take)(struct bytes payload));

/* Send a message about a task (0: none): its numbers, and bytes in a field of their own. False where there is no room
 * for a largest one now. */
bool stream_send(uint64_t task, uint32_t body, const struct number *numbers, uint32_t field, struct bytes bytes);

/* Write as many zeros as the largest frame has bytes, where a frame may have been broken off; false where there is
 * no room for them now. */
bool stream_resynchronise(void);

/* Write what is pending, as far as that is possible at once. */
void stream_flush(void);
bool stream_is_pending(void);

/* Give back memory that is not in use; in a child, all that it has inherited. */
void stream_trim(void);
void stream_forget(void);

#endif
