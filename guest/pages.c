#define _GNU_SOURCE
#include "pages.h"

#include <sys/mman.h>

void *pages_new(size_t size, bool inherited_by_children) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return NULL;
    if (!inherited_by_children) madvise(pages, size, MADV_DONTFORK);
    return pages;
}

void pages_free(void *pages, size_t size) {
    if (pages) munmap(pages, size);
}

void pages_empty(void *pages, size_t size) { madvise(pages, size, MADV_DONTNEED); }
