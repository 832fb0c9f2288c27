/* Tests of libmpool from outside: C programs that know its public header only.
 *
 * Each test runs in a process of its own, which may end in any way. What the library has written to
 * its standard output or error is a failure. With CLIENT_TEST_BACKEND=mount the pools are mounted
 * once they are made, and the library works through the mount. Pools are made on image files below
 * $TEST_TMPDIR; the runner destroys what a test has left. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <mpool/mpool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

struct test_case {
  const char* name; /* Suite.test */
  void (*run)(void);
  enum { BOTH_BACKENDS, ENGINE_ONLY, MOUNT_ONLY } of;
  struct test_case* next;
};
void test_add(struct test_case* test);

/* TEST: of both back ends. */
#define TEST(suite, title) TEST_OF(BOTH_BACKENDS, suite, title)
#define ENGINE_TEST(suite, title) TEST_OF(ENGINE_ONLY, suite, title)
#define MOUNT_TEST(suite, title) TEST_OF(MOUNT_ONLY, suite, title)
#define TEST_OF(which, suite, title)                                                           \
  static void suite##_##title(void);                                                           \
  static struct test_case suite##_##title##_case = {#suite "." #title, suite##_##title, which, \
                                                    NULL};                                     \
  __attribute__((constructor)) static void suite##_##title##_add(void) {                       \
    test_add(&suite##_##title##_case);                                                         \
  }                                                                                            \
  static void suite##_##title(void)

/* A failure is printed; REQUIRE also ends the test. */
void test_failed(const char* file, int line, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
void test_end(void) __attribute__((noreturn));

#define EXPECT(condition)                                                              \
  do {                                                                                 \
    if (!(condition)) test_failed(__FILE__, __LINE__, "%s", "is not so: " #condition); \
  } while (0)
#define REQUIRE(condition)                                             \
  do {                                                                 \
    if (!(condition)) {                                                \
      test_failed(__FILE__, __LINE__, "%s", "is not so: " #condition); \
      test_end();                                                      \
    }                                                                  \
  } while (0)
/* The call succeeds, or the test ends. */
#define OK(call) test_ok(__FILE__, __LINE__, #call, call)
void test_ok(const char* file, int line, const char* call, mpool_err_t err);
/* The call fails with this errno; an error is of the legal form. */
#define FAILS(code, call) test_fails(__FILE__, __LINE__, #call, code, call)
void test_fails(const char* file, int line, const char* call, int code, mpool_err_t err);

/* --- pools --- */

/* The name of a pool of this test process, unique on the machine; `which`: a letter. */
const char* pool_name(char which);
/* The path of its image: a sparse file of that many MiB, made when it is not there. */
const char* image_path(char which, size_t mib);
/* The path of a loop device over that image: the library finds what is on it by its name. */
const char* loop_path(char which, size_t mib);
/* True when the library works through mounts. */
int is_mounted(void);
/* Where a pool is mounted, or is to be: a directory. */
const char* mount_point(char which);
/* Mounts it; 0, or an exit status. */
int mount_pool(char which);
/* Unmounts it, and waits for the end of its daemon; 0 or an exit status. */
int umount_pool(char which);
/* Ends everything that serves a pool that is not open, and deactivates it; the second one begins
 * again. */
void stop_pool(char which);
void restart_pool(char which);
/* A new active pool with zones of that many MiB; the test ends when it cannot be had. */
void make_pool(char which, size_t mib, uint32_t zone_mib);
struct mpool* open_pool(char which, uint32_t flags);
/* make_pool() of 256 MiB with zones of 1 MiB, open for writing. */
struct mpool* new_pool(void);
void close_pool(struct mpool* mp);

/* --- content --- */

/* Page-aligned memory of whole pages whose content follows from `seed`. */
void* new_pages(size_t length, unsigned seed);
void fill_pages(void* memory, size_t length, unsigned seed);
int has_pages(const void* memory, size_t length, unsigned seed);
/* A committed mblock of `length` bytes with that content. */
uint64_t new_mblock(struct mpool* mp, size_t length, unsigned seed);
uint64_t new_mlog(struct mpool* mp, uint64_t capacity); /* committed */
mpool_err_t append(struct mpool_mlog* mlog, const void* data, size_t length, int sync);

/* Runs `work` in a process of its own; true if it returned. */
int in_process(void (*work)(void*), void* argument);
/* The same, but kills the process as soon as a counter, in memory shared with it, is that great. */
void killed_at(void (*work)(void*), void* argument, const volatile unsigned* counter,
               unsigned value);
/* Runs a shell command without output: its exit status. */
int shell(const char* format, ...) __attribute__((format(printf, 1, 2)));
