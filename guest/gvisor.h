/* What the agent does at its start in gVisor's kernel. */
#ifndef GVISOR_H
#define GVISOR_H

#include <stdbool.h>

/* Take cgroups for programs, hide the agent's descriptors, and give up the capabilities that this takes. */
void gvisor_prepare(void);

bool runs_on_gvisor(void);

#endif
