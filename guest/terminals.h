/* What terminals of gVisor's kernel lack: signals for typed characters and for a new size, and the end of input. */
#ifndef TERMINALS_H
#define TERMINALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the process that becomes the program, once it has its terminal as standard input: leave a process in its session
 * that sends the terminal's foreground processes each signal whose number comes on the descriptor. */
void terminal_leave_signaller(int control);

/* Return how many of these bytes may be written to the master as they are. 0: the first one is a control character,
 * whose signal was sent instead. `line` is how much of a line has been written before. */
size_t terminal_take_input(int master, int control, size_t *line, const uint8_t *data, size_t size);

/* Send the foreground processes a signal. */
void terminal_signal(int control, int signal);

#endif
