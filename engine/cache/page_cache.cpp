#include "engine/cache/page_cache.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"

namespace mpool {

namespace {

constexpr const char* kPageCacheSubject = "page cache";

// linux/mman.h of Linux 6.5 and later.
constexpr long kCachestat = 451;
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

// Of a part, at most that of the file.
std::uint64_t end_of(int fd, std::uint64_t offset, std::uint64_t length) {
  struct stat file {};
  if (::fstat(fd, &file) != 0) raise_system(errno, kPageCacheSubject, "fstat");
  const auto size = static_cast<std::uint64_t>(file.st_size);
  return length == 0 || offset >= size || length > size - offset ? size : offset + length;
}

std::uint64_t count_mapped(int fd, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t begin = round_down(offset, kPageSize);
  const std::uint64_t end = end_of(fd, offset, length);
  if (begin >= end) return 0;
  void* const memory =
      ::mmap(nullptr, end - begin, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(begin));
  if (memory == MAP_FAILED) raise_system(errno, kPageCacheSubject, "mmap");
  std::vector<unsigned char> pages(ceil_div(end - begin, kPageSize));
  const int result = ::mincore(memory, end - begin, pages.data());
  const int code = errno;
  ::munmap(memory, end - begin);
  if (result != 0) raise_system(code, kPageCacheSubject, "mincore");
  return static_cast<std::uint64_t>(
      std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

void advise(int fd, std::uint64_t offset, std::uint64_t length, int advice) {
  const int code =
      ::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(length), advice);
  if (code != 0) raise_system(code, kPageCacheSubject, "posix_fadvise");
}

}  // namespace

std::uint64_t resident_pages(int fd, std::uint64_t offset, std::uint64_t length) {
  const CachestatRange range{offset, length};
  Cachestat result{};
  if (::syscall(kCachestat, fd, &range, &result, 0) == 0) return result.cached;
  if (errno != ENOSYS) raise_system(errno, kPageCacheSubject, "cachestat");
  return count_mapped(fd, offset, length);
}

void drop_unmapped_pages(int fd, std::uint64_t offset, std::uint64_t length) {
  advise(fd, offset, length, POSIX_FADV_DONTNEED);
}

void read_ahead(int fd, std::uint64_t offset, std::uint64_t length) {
  // The kernel reads no more than its read-ahead, or one transfer, for a call.
  constexpr std::uint64_t kStep = 128u << 10;
  for (const std::uint64_t end = end_of(fd, offset, length); offset < end; offset += kStep)
    advise(fd, offset, std::min(kStep, end - offset), POSIX_FADV_WILLNEED);
}

}  // namespace mpool
