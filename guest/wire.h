/* The wire format of Protocol Buffers, as far as specs/guest.proto uses it. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VARINT = 0, LENGTH_DELIMITED = 2 };

struct bytes {
    const uint8_t *data;
    size_t size;
};

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool malformed;
};

struct field {
    uint32_t number;
    uint64_t value;     /* of a varint, else 0 */
    struct bytes bytes; /* of a length-delimited field, else empty */
};

struct reader reader_of(struct bytes bytes);

/* Copy bytes into a text of their own, with a zero behind them; NULL without memory. */
char *text_of(struct bytes bytes);

/* Read the next field. False at the end, or where the bytes are malformed, which the reader then says. Fixed-width
 * fields, which the protocol has none of, are malformed. */
bool read_field(struct reader *reader, struct field *field);

/* A message whose fields come once each, by their numbers; of a field that comes again, the last counts. */
enum { MAX_FIELD = 16 };

struct message {
    uint64_t numbers[MAX_FIELD];
    struct bytes bytes[MAX_FIELD];
    bool malformed;
};

struct message read_message(struct bytes bytes);

/* Read a varint. False where there is none; the reader is malformed then. */
bool read_varint(struct reader *reader, uint64_t *value);

/* Writes into a buffer. `at` stays at or before `end`; what has no room makes the writer `full`. */
struct writer {
    uint8_t *at;
    uint8_t *end;
    bool full;
};

/* A field with a number, for a list of them that ends with field 0. */
struct number {
    uint32_t field;
    uint64_t value;
};

/* As in proto3, a zero and an empty string are left out. */
void put_varint(struct writer *writer, uint32_t number, uint64_t value);
void put_bytes(struct writer *writer, uint32_t number, const void *data, size_t size);
void put_raw_varint(struct writer *writer, uint64_t value);

/* Begin a message that is a field of another one, and end it where its fields are written. */
uint8_t *begin_message(struct writer *writer, uint32_t number);
void end_message(struct writer *writer, uint8_t *began);

/* The value of a sint64. */
int64_t from_zigzag(uint64_t value);
uint64_t to_zigzag(int64_t value);

#endif
