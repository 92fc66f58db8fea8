/* What becomes bwrap. */
#ifndef LAUNCH_H
#define LAUNCH_H

/* Do what the arguments say, and become the last program that they name. Does not return. */
_Noreturn void launch(char **arguments);

#endif
