#include "output.h"

#include "pages.h"

enum {
    BLOCK = 69632,      /* bytes: all of a pipe, and whole pages of any size that is usual */
    LEAST_ROOM = 16384, /* what a block has not used costs nothing */
    MAX_SPARE = 16,
};

/* What was read of one stream at once, or in several turns with nothing of the other one between. The data follows. */
struct piece {
    uint32_t stream : 1, size : 31;
};

struct block {
    struct block *next;
    uint64_t begin, end; /* offsets in the output */
    size_t last, used;   /* in `pieces`: where the last one begins, where its data ends */
    _Alignas(struct piece) uint8_t pieces[BLOCK - 40];
};

static struct block *spare; /* to be used again: a new page is dear */
static size_t spare_count;

static struct block *new_block(void) {
    struct block *block = spare;
    if (!block) return pages_new(sizeof *block, false);
    spare = block->next;
    spare_count--;
    *block = (struct block){.next = NULL};
    return block;
}

static void free_block(struct block *block) {
    if (spare_count == MAX_SPARE) {
        pages_free(block, sizeof *block);
        return;
    }
    block->next = spare;
    spare = block;
    spare_count++;
}

void outputs_trim(void) {
    for (struct block *block; (block = spare); pages_free(block, sizeof *block)) spare = block->next;
    spare_count = 0;
}

static struct piece *piece_at(struct block *block, size_t at) { return (struct piece *)(block->pieces + at); }

static uint8_t *data_of(struct piece *piece) { return (uint8_t *)(piece + 1); }

static size_t aligned(size_t at) { return (at + sizeof(struct piece) - 1) / sizeof(struct piece) * sizeof(struct piece); }

static bool goes_on(struct block *block, uint32_t stream) {
    return block->used && piece_at(block, block->last)->stream == stream;
}

struct room output_room(struct output *output, uint32_t stream) {
    struct block *block = output->last;
    if (!block || sizeof block->pieces - block->used < LEAST_ROOM) block = new_block();
    if (!block) return (struct room){0};
    size_t at = goes_on(block, stream) ? block->used : aligned(block->used) + sizeof(struct piece);
    return (struct room){block, block->pieces + at, sizeof block->pieces - at};
}

void output_add(struct output *output, struct room room, uint32_t stream, size_t size) {
    struct block *block = room.block;
    if (!size) {
        if (block != output->last) free_block(block);
        return;
    }
    if (block != output->last) {
        block->begin = block->end = output->produced;
        if (output->last) output->last->next = block;
        else output->first = block;
        output->last = block;
    }
    if (!goes_on(block, stream)) {
        block->last = aligned(block->used);
        *piece_at(block, block->last) = (struct piece){.stream = stream};
    }
    struct piece *piece = piece_at(block, block->last);
    piece->size += (uint32_t)size;
    block->used = block->last + sizeof *piece + piece->size;
    block->end += size;
    output->produced += size;
}

static void drop_first(struct output *output) {
    struct block *block = output->first;
    output->first = block->next;
    if (!output->first) output->last = NULL;
    if (output->next.block == block) output->next.block = NULL;
    free_block(block);
}

void output_drop_oldest(struct output *output) {
    while (output->first && output->produced - output->first->begin > OUTPUT_WINDOW) {
        uint64_t behind = output->first->end;
        output->dropped += behind - output->received;
        output_window(output, behind, behind, false);
    }
}

void output_window(struct output *output, uint64_t received, uint64_t limit, bool resend) {
    if (received > output->produced) received = output->produced;
    if (received > output->received) output->received = received;
    while (output->first && output->first->end <= output->received) drop_first(output);
    if (resend || output->sent < output->received) {
        output->sent = output->received;
        output->next.block = NULL;
    }
    if (limit > output->limit) output->limit = limit;
    if (output->limit > output->received + OUTPUT_WINDOW) output->limit = output->received + OUTPUT_WINDOW;
}

struct bytes output_next(struct output *output, uint32_t *stream) {
    if (output->sent == output->produced) return (struct bytes){0};
    if (!output->next.block) {
        output->next.block = output->first;
        output->next.at = 0;
        output->next.offset = output->first->begin;
    }
    for (;;) {
        struct block *block = output->next.block;
        struct piece *piece = piece_at(block, output->next.at);
        uint64_t skipped = output->sent - output->next.offset;
        if (skipped < piece->size) {
            *stream = piece->stream;
            return (struct bytes){data_of(piece) + skipped, piece->size - skipped};
        }
        output->next.offset += piece->size;
        bool is_last = output->next.at == block->last;
        output->next.at = is_last ? 0 : aligned(output->next.at + sizeof *piece + piece->size);
        if (is_last) output->next.block = block->next;
    }
}

void output_forget(struct output *output) {
    while (output->first) drop_first(output);
}
