/* What the samples share: a pool of their own on the device or image file that is given. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <mpool/mpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with a message if a call failed. */
static inline void check(mpool_err_t err, const char* what) {
  char text[256];
  if (!err) return;
  fprintf(stderr, "%s: %s\n", what, mpool_strinfo(err, text, sizeof(text)));
  exit(1);
}

/* Makes the pool argv[1] on the device argv[2], which must be empty, and opens it. */
static inline struct mpool* make_pool(int argc, char** argv) {
  struct mpool* mp = NULL;
  if (argc != 3) {
    fprintf(stderr, "Usage: %s NAME DEVICE\n", argv[0]);
    exit(2);
  }
  check(mpool_create(argv[1], argv[2], NULL, 0, NULL), "create");
  check(mpool_open(argv[1], O_RDWR | O_EXCL, &mp, NULL), "open");
  return mp;
}

static inline int end_pool(struct mpool* mp, char** argv) {
  check(mpool_close(mp), "close");
  check(mpool_destroy(argv[1], 0, NULL), "destroy");
  return 0;
}

/* Page-aligned memory, filled. */
static inline char* make_pages(size_t size, int content) {
  void* pages = NULL;
  if (posix_memalign(&pages, 4096, size) != 0) exit(1);
  memset(pages, content, size);
  return pages;
}
