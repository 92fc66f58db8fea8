#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 5 };

struct reader reader_of(struct bytes bytes) {
    return (struct reader){.at = bytes.data, .end = bytes.data + bytes.size};
}

char *text_of(struct bytes bytes) {
    char *text = malloc(bytes.size + 1);
    if (!text) return NULL;
    if (bytes.size) memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
    return text;
}

bool read_varint(struct reader *reader, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    reader->malformed = true;
    return false;
}

bool read_field(struct reader *reader, struct field *field) {
    *field = (struct field){0};
    if (reader->malformed || reader->at == reader->end) return false;
    uint64_t tag;
    if (!read_varint(reader, &tag)) return false;
    field->number = (uint32_t)(tag >> 3);
    uint64_t value;
    if (tag >> 32 || !field->number || !read_varint(reader, &value)) {
        reader->malformed = true;
        return false;
    }
    switch (tag & 7) {
    case VARINT:
        field->value = value;
        return true;
    case LENGTH_DELIMITED:
        if (value <= (uint64_t)(reader->end - reader->at)) {
            field->bytes = (struct bytes){reader->at, (size_t)value};
            reader->at += value;
            return true;
        }
    }
    reader->malformed = true;
    return false;
}

struct message read_message(struct bytes bytes) {
    struct reader reader = reader_of(bytes);
    struct message message = {.malformed = false};
    struct field field;
    while (read_field(&reader, &field)) {
        if (field.number >= MAX_FIELD) continue;
        message.numbers[field.number] = field.value;
        message.bytes[field.number] = field.bytes;
    }
    message.malformed = reader.malformed;
    return message;
}

static bool has_room(struct writer *writer, size_t size) {
    if (writer->full || size > (size_t)(writer->end - writer->at)) writer->full = true;
    return !writer->full;
}

void put_raw_varint(struct writer *writer, uint64_t value) {
    do {
        if (!has_room(writer, 1)) return;
        uint8_t low = value & 0x7f;
        value >>= 7;
        *writer->at++ = value ? low | 0x80 : low;
    } while (value);
}

static void put_tag(struct writer *writer, uint32_t number, unsigned type) {
    put_raw_varint(writer, (uint64_t)number << 3 | type);
}

void put_varint(struct writer *writer, uint32_t number, uint64_t value) {
    if (!value) return;
    put_tag(writer, number, VARINT);
    put_raw_varint(writer, value);
}

void put_bytes(struct writer *writer, uint32_t number, const void *data, size_t size) {
    if (!size) return;
    put_tag(writer, number, LENGTH_DELIMITED);
    put_raw_varint(writer, size);
    if (!has_room(writer, size)) return;
    memcpy(writer->at, data, size);
    writer->at += size;
}

uint8_t *begin_message(struct writer *writer, uint32_t number) {
    put_tag(writer, number, LENGTH_DELIMITED);
    if (has_room(writer, LENGTH_BYTES)) writer->at += LENGTH_BYTES;
    return writer->at;
}

/* The length is known only now: it is written in as many bytes as were kept for it, which readers allow. */
void end_message(struct writer *writer, uint8_t *began) {
    if (writer->full) return;
    size_t size = (size_t)(writer->at - began);
    for (int i = 0; i < LENGTH_BYTES; i++) {
        uint8_t more = i < LENGTH_BYTES - 1 ? 0x80 : 0;
        began[i - LENGTH_BYTES] = (uint8_t)(size >> 7 * i & 0x7f) | more;
    }
}

int64_t from_zigzag(uint64_t value) { return (int64_t)(value >> 1) ^ -(int64_t)(value & 1); }

uint64_t to_zigzag(int64_t value) { return (uint64_t)value << 1 ^ (uint64_t)(value >> 63); }
