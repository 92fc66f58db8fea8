/* What a task has printed: kept until the orchestrator says that it has arrived. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "wire.h"

enum { OUTPUT_WINDOW = 1048576 }; /* most bytes that are kept */

struct block; /* some of the output, see output.c */

struct output {
    struct block *first, *last;
    uint64_t received, sent, produced, limit; /* offsets */
    uint64_t dropped;
    struct {
        struct block *block; /* NULL: the first */
        size_t at;
        uint64_t offset;
    } next; /* where what is to be sent next was last found */
};

struct room {
    struct block *block;
    uint8_t *data; /* NULL without memory */
    size_t size;
};

/* Find room for more of a stream. Either way it is to be followed by `output_add`. */
struct room output_room(struct output *output, uint32_t stream);

/* Keep so much, which was written into the room. */
void output_add(struct output *output, struct room room, uint32_t stream, size_t size);

/* Drop the oldest, where it is more than is kept. */
void output_drop_oldest(struct output *output);

/* Everything before `received` has arrived, and what is before `limit` may be sent. */
void output_window(struct output *output, uint64_t received, uint64_t limit, bool resend);

/* Return what is to be sent next, which is at `sent`; empty for nothing. */
struct bytes output_next(struct output *output, uint32_t *stream);

void output_forget(struct output *output);

/* Give back memory that is not in use. */
void outputs_trim(void);

#endif
