// Preloaded into mpoolfs, makes the kernel refuse FUSE over io_uring where the daemon expects it to
// be available. MPOOLFS_TEST_REFUSE selects the way:
// - mount: it is switched off during mounting: the kernel does not offer it;
// - answer: it is switched off before the answer to INIT: the kernel accepts no entry;
// - size: the answer to INIT allows requests of more pages than an entry has room for: the kernel
//   accepts no entry. fs.fuse.max_pages_limit must allow that many;
// - count: the system seems to have one CPU more than possible: the kernel accepts the entries of
//   all queues except the last, which it does not have.
// Threads: any.

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <dlfcn.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

constexpr const char* kSwitch = "/sys/module/fuse/parameters/enable_uring";
constexpr std::string_view kPossible = "/sys/devices/system/cpu/possible";
constexpr std::uint16_t kMaxPages = 512;

bool asked(std::string_view how) {
  const char* const value = std::getenv("MPOOLFS_TEST_REFUSE");
  return value != nullptr && how == value;
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "refuse_uring: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

template <typename Function>
Function* real(const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) give_up(name);
  return reinterpret_cast<Function*>(found);
}

void set_switch(const char* value) {
  std::FILE* const file = std::fopen(kSwitch, "w");
  if (file == nullptr || std::fputs(value, file) < 0 || std::fclose(file) != 0) give_up(kSwitch);
}

bool is_fuse(int fd) {
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return ::readlink(link.c_str(), target, sizeof target - 1) > 0 &&
         std::string_view(target) == "/dev/fuse";
}

// The answer to INIT is the first message written there.
bool is_init_answer(int fd) {
  static std::atomic<bool> was_answered = false;
  return is_fuse(fd) && !was_answered.exchange(true);
}

void allow_many_pages(const iovec* parts, int count) {
  fuse_init_out init{};
  if (count != 2 || parts[1].iov_len != sizeof init) give_up("the answer to INIT");
  std::memcpy(&init, parts[1].iov_base, sizeof init);
  init.max_pages = kMaxPages;
  std::memcpy(parts[1].iov_base, &init, sizeof init);
}

// Replaces the list of CPUs, which it closes: "0-3" becomes "0-4".
std::FILE* one_more_cpu(std::FILE* list) {
  char text[64] = {};
  if (list == nullptr || std::fgets(text, sizeof text, list) == nullptr) give_up("list of CPUs");
  std::fclose(list);
  const char* const dash = std::strrchr(text, '-');
  const int last = std::atoi(dash == nullptr ? text : dash + 1);
  std::FILE* const told = std::tmpfile();
  if (told == nullptr || std::fprintf(told, "0-%d\n", last + 1) < 0) give_up("list of CPUs");
  std::rewind(told);
  return told;
}

}  // namespace

extern "C" int mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const void* data) noexcept {
  static const auto next = real<decltype(::mount)>("mount");
  if (data == nullptr) give_up("mount without options");
  std::string options(static_cast<const char*>(data));
  // Larger requests must not come through /dev/fuse either.
  if (asked("size")) options += ",max_read=1048576";
  if (asked("mount")) set_switch("N");
  const int result = next(source, target, type, flags, options.c_str());
  if (asked("mount")) set_switch("Y");
  return result;
}

extern "C" ssize_t writev(int fd, const iovec* parts, int count) {
  static const auto next = real<decltype(::writev)>("writev");
  if (is_init_answer(fd)) {
    if (asked("answer")) set_switch("N");
    if (asked("size")) allow_many_pages(parts, count);
  }
  return next(fd, parts, count);
}

extern "C" std::FILE* fopen64(const char* path, const char* mode) {
  static const auto next = real<decltype(::fopen64)>("fopen64");
  return asked("count") && path == kPossible ? one_more_cpu(next(path, mode)) : next(path, mode);
}
