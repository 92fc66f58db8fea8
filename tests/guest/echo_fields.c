/* Reads messages (a length of four bytes, little-endian, and the message) and writes each as it was understood, in the
 * same form: fields of fields are the deepest that is looked at. A malformed one is answered by the length 0xffffffff.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../guest/wire.h"

enum { ROOM = 4 << 20 };

static bool copy_fields(struct bytes message, struct writer *writer, bool fields_are_messages) {
    struct reader reader = reader_of(message);
    struct field field;
    while (read_field(&reader, &field)) {
        if (!field.bytes.data) {
            put_varint(writer, field.number, field.value);
        } else if (fields_are_messages) {
            uint8_t *began = begin_message(writer, field.number);
            if (!copy_fields(field.bytes, writer, false)) return false;
            end_message(writer, began);
        } else {
            put_bytes(writer, field.number, field.bytes.data, field.bytes.size);
        }
    }
    return !reader.malformed;
}

static bool read_exactly(uint8_t *to, size_t size) { return fread(to, 1, size, stdin) == size; }

static void write_size(uint32_t size) {
    for (int i = 0; i < 4; i++) putchar((int)(size >> 8 * i & 0xff));
}

int main(void) {
    uint8_t head[4], *message = malloc(ROOM), *copied = malloc(ROOM);
    if (!message || !copied) return 1;
    while (read_exactly(head, sizeof head)) {
        size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (size > ROOM || !read_exactly(message, size)) return 1;
        struct writer writer = {.at = copied, .end = copied + ROOM};
        if (copy_fields((struct bytes){message, size}, &writer, true) && !writer.full) {
            write_size((uint32_t)(writer.at - copied));
            fwrite(copied, 1, (size_t)(writer.at - copied), stdout);
        } else {
            write_size(0xffffffff);
        }
        fflush(stdout);
    }
    free(message);
    free(copied);
}
