#include "harness.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_FAILED 200

static struct test_case* tests;
static int report_fd = 2; /* where the runner's standard error was */
static int failures;
static pid_t runner;
static char directory[200];

void test_add(struct test_case* test) {
  struct test_case** at = &tests;
  while (*at != NULL && strcmp((*at)->name, test->name) < 0)
    at = &(*at)->next;
  test->next = *at;
  *at = test;
}

void test_failed(const char* file, int line, const char* format, ...) {
  char text[600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  dprintf(report_fd, "%s:%d: %s\n", file, line, text);
  __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
}

void test_end(void) {
  _exit(1);
}

void test_ok(const char* file, int line, const char* call, mpool_err_t err) {
  char text[256];
  if (err == 0) return;
  test_failed(file, line, "%s: %s", call, mpool_strinfo(err, text, sizeof(text)));
  test_end();
}

void test_fails(const char* file, int line, const char* call, int code, mpool_err_t err) {
  char text[256];
  if (mpool_errno(err) == code && (int)(err & 0x7fffffff) == code && (err & 0x80000000) == 0) {
    return;
  }
  test_failed(file, line, "%s: %s (0x%llx), not %s", call, mpool_strinfo(err, text, sizeof(text)),
              (unsigned long long)err, strerror(code));
}

/* --- pools --- */

const char* pool_name(char which) {
  static __thread char names[26][MPOOL_NAMESZ_MAX];
  char* name = names[which - 'a'];
  snprintf(name, MPOOL_NAMESZ_MAX, "ctest%d%c", (int)runner, which);
  return name;
}

static const char* path_of_image(char which) {
  static __thread char paths[26][256];
  char* path = paths[which - 'a'];
  snprintf(path, sizeof(paths[0]), "%s/image-%c", directory, which);
  return path;
}

const char* image_path(char which, size_t mib) {
  const char* path = path_of_image(which);
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE(fd >= 0);
  if (mib != 0) REQUIRE(ftruncate(fd, (off_t)(mib * MIB)) == 0);
  close(fd);
  return path;
}

const char* loop_path(char which, size_t mib) {
  static char path[64];
  char command[400];
  FILE* output;
  snprintf(command, sizeof(command), "losetup --find --show %s", image_path(which, mib));
  output = popen(command, "r");
  REQUIRE(output != NULL && fscanf(output, "%63s", path) == 1);
  REQUIRE(pclose(output) == 0);
  return path;
}

int is_mounted(void) {
  const char* const backend = getenv("CLIENT_TEST_BACKEND");
  return backend != NULL && strcmp(backend, "mount") == 0;
}

const char* mount_point(char which) {
  static char path[256];
  snprintf(path, sizeof(path), "%s/mount-%c", directory, which);
  (void)mkdir(path, 0700);
  return path;
}

int mount_pool(char which) {
  const char* const options = getenv("CLIENT_TEST_MOUNT_OPTIONS");
  return shell("\"$MPOOLFS\" %s%s %s %s", options != NULL ? "-o " : "",
               options != NULL ? options : "", path_of_image(which), mount_point(which));
}

int umount_pool(char which) {
  int tries;
  const int status = shell("umount %s", mount_point(which));
  /* The daemon ends a moment after its mount. */
  for (tries = 0; tries < 200 && shell("pgrep -f 'mpoolf[s].* %s'", mount_point(which)) == 0;
       ++tries)
    usleep(50000);
  return status;
}

void stop_pool(char which) {
  if (is_mounted()) REQUIRE(umount_pool(which) == 0);
  OK(mpool_deactivate(pool_name(which), 0, NULL));
}

void restart_pool(char which) {
  stop_pool(which);
  OK(mpool_activate(path_of_image(which), NULL, 0, NULL));
  if (is_mounted()) REQUIRE(mount_pool(which) == 0);
}

void make_pool(char which, size_t mib, uint32_t zone_mib) {
  struct mpool_params params;
  mpool_params_init(&params);
  params.mp_mblocksz[MP_MED_CAPACITY] = zone_mib;
  OK(mpool_create(pool_name(which), image_path(which, mib), &params, 0, NULL));
  if (is_mounted()) REQUIRE(mount_pool(which) == 0);
}

struct mpool* open_pool(char which, uint32_t flags) {
  struct mpool* mp = NULL;
  OK(mpool_open(pool_name(which), flags, &mp, NULL));
  REQUIRE(mp != NULL);
  return mp;
}

struct mpool* new_pool(void) {
  make_pool('a', 256, 1);
  return open_pool('a', O_RDWR);
}

void close_pool(struct mpool* mp) {
  OK(mpool_close(mp));
}

/* --- content --- */

void fill_pages(void* memory, size_t length, unsigned seed) {
  uint64_t* words = memory;
  size_t i;
  for (i = 0; i < length / sizeof(*words); ++i)
    words[i] = (i + 1) * 0x9e3779b97f4a7c15ull + seed * 0x10001ull;
}

int has_pages(const void* memory, size_t length, unsigned seed) {
  const uint64_t* words = memory;
  size_t i;
  for (i = 0; i < length / sizeof(*words); ++i) {
    if (words[i] != (i + 1) * 0x9e3779b97f4a7c15ull + seed * 0x10001ull) return 0;
  }
  return 1;
}

void* new_pages(size_t length, unsigned seed) {
  void* memory = NULL;
  REQUIRE(posix_memalign(&memory, PAGE, length) == 0);
  fill_pages(memory, length, seed);
  return memory;
}

uint64_t new_mblock(struct mpool* mp, size_t length, unsigned seed) {
  uint64_t id = 0;
  OK(mpool_mblock_alloc(mp, MP_MED_CAPACITY, false, &id, NULL));
  if (length > 0) {
    struct iovec iov;
    iov.iov_base = new_pages(length, seed);
    iov.iov_len = length;
    OK(mpool_mblock_write(mp, id, &iov, 1));
    free(iov.iov_base);
  }
  OK(mpool_mblock_commit(mp, id));
  return id;
}

uint64_t new_mlog(struct mpool* mp, uint64_t capacity) {
  struct mlog_capacity wanted;
  uint64_t id = 0;
  memset(&wanted, 0x5a, sizeof(wanted)); /* programs leave reserved fields as they are */
  wanted.lcp_captgt = capacity;
  wanted.lcp_spare = 0;
  OK(mpool_mlog_alloc(mp, MP_MED_CAPACITY, &wanted, &id, NULL));
  OK(mpool_mlog_commit(mp, id));
  return id;
}

mpool_err_t append(struct mpool_mlog* mlog, const void* data, size_t length, int sync) {
  struct iovec iov;
  iov.iov_base = (void*)(uintptr_t)data;
  iov.iov_len = length;
  return mpool_mlog_append(mlog, &iov, length, sync);
}

/* --- processes --- */

static pid_t start(void (*work)(void*), void* argument) {
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    failures = 0;
    work(argument);
    _exit(failures == 0 ? 0 : 1);
  }
  return pid;
}

int in_process(void (*work)(void*), void* argument) {
  int status = 0;
  const pid_t pid = start(work, argument);
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void killed_at(void (*work)(void*), void* argument, const volatile unsigned* counter,
               unsigned value) {
  int status = 0;
  const pid_t pid = start(work, argument);
  while (*counter < value && waitpid(pid, &status, WNOHANG) == 0)
    usleep(200);
  kill(pid, SIGKILL);
  (void)waitpid(pid, &status, 0);
  REQUIRE(WIFSIGNALED(status)); /* it must not have ended by itself */
}

int shell(const char* format, ...) {
  char command[1000];
  char quiet[1100];
  va_list arguments;
  int status;
  va_start(arguments, format);
  vsnprintf(command, sizeof(command), format, arguments);
  va_end(arguments);
  snprintf(quiet, sizeof(quiet), "{ %s; } >/dev/null 2>&1", command);
  status = system(quiet);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- the runner --- */

/* Destroys the pools that a test has left, and their images. */
static void destroy_all(void* unused) {
  struct mpool_params* vector = NULL;
  char prefix[MPOOL_NAMESZ_MAX];
  char which;
  int count = 0;
  int i;
  (void)unused;
  for (which = 'a'; which <= 'f'; ++which) {
    if (shell("mountpoint -q %s/mount-%c", directory, which) != 0) continue;
    if (umount_pool(which) != 0) (void)shell("umount -l %s", mount_point(which));
  }
  snprintf(prefix, sizeof(prefix), "ctest%d", (int)runner);
  OK(mpool_list(&count, &vector, NULL));
  for (i = 0; i < count; ++i) {
    const char* name = vector[i].mp_name;
    if (strncmp(name, prefix, strlen(prefix)) != 0 || strlen(name) != strlen(prefix) + 1) continue;
    (void)mpool_destroy(name, 0, NULL);
  }
  free(vector);
  for (which = 'a'; which <= 'f'; ++which) {
    (void)rmdir(mount_point(which));
    if (access(path_of_image(which), F_OK) != 0) continue;
    (void)shell("losetup -nO NAME -j %s | xargs -r losetup -d", path_of_image(which));
    unlink(path_of_image(which));
  }
}

static long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static off_t size_of(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? status.st_size : -1;
}

/* One test in a process whose output is a file: it must stay empty. */
static int run_test(const struct test_case* test) {
  char path[256];
  int status = 0;
  int passed;
  int output;
  pid_t pid;
  snprintf(path, sizeof(path), "%s/output", directory);
  output = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (output < 0) return 0;
  pid = fork();
  if (pid == 0) {
    report_fd = fcntl(2, F_DUPFD_CLOEXEC, 100);
    dup2(output, 1);
    dup2(output, 2);
    alarm(240);
    test->run();
    _exit(failures == 0 ? 0 : 1);
  }
  passed = waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (WIFSIGNALED(status)) dprintf(2, "%s: signal %d\n", test->name, WTERMSIG(status));
  if (size_of(output) != 0) {
    char text[1000];
    const ssize_t length = pread(output, text, sizeof(text) - 1, 0);
    dprintf(2, "%s: there is output: %.*s\n", test->name, (int)length, text);
    passed = 0;
  }
  close(output);
  unlink(path);
  pid = start(destroy_all, NULL);
  waitpid(pid, &status, 0);
  return passed;
}

/* client-test [PART]: the tests whose names begin with PART. */
int main(int argc, char** argv) {
  const char* base = getenv("TEST_TMPDIR");
  const char* failed[MAX_FAILED];
  const struct test_case* test;
  int passed_count = 0;
  int failed_count = 0;
  long begin;
  int i;
  runner = getpid();
  snprintf(directory, sizeof(directory), "%s/client-test-XXXXXX", base != NULL ? base : "/var/tmp");
  if (mkdtemp(directory) == NULL) {
    perror(directory);
    return 1;
  }
  for (test = tests; test != NULL; test = test->next) {
    if (argc > 1 && strncmp(test->name, argv[1], strlen(argv[1])) != 0) continue;
    if (test->of == (is_mounted() ? ENGINE_ONLY : MOUNT_ONLY)) continue;
    printf("[ RUN      ] %s\n", test->name);
    fflush(stdout);
    begin = milliseconds();
    if (run_test(test)) {
      ++passed_count;
      printf("[       OK ] %s (%ld ms)\n", test->name, milliseconds() - begin);
    } else {
      if (failed_count < MAX_FAILED) failed[failed_count++] = test->name;
      printf("[  FAILED  ] %s\n", test->name);
    }
    fflush(stdout);
  }
  if (rmdir(directory) != 0) {
    perror(directory);
    ++passed_count;
    failed[failed_count++] = "the directory is not empty";
  }
  printf("[  PASSED  ] %d tests.\n", passed_count);
  if (failed_count != 0) {
    printf("[  FAILED  ] %d tests, listed below:\n", failed_count);
    for (i = 0; i < failed_count; ++i)
      printf("[  FAILED  ] %s\n", failed[i]);
  }
  return failed_count == 0 && passed_count > 0 ? 0 : 1;
}
