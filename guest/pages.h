/* Memory of whole pages, which goes back to the kernel as soon as it is not needed. */
#ifndef PAGES_H
#define PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* NULL without memory. A page of it takes memory once it is written to. */
void *pages_new(size_t size, bool inherited_by_children);
void pages_free(void *pages, size_t size);

/* Keep the address, but not what is written there. */
void pages_empty(void *pages, size_t size);

#endif
