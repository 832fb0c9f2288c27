#include "fuse/native/reader_watch.h"

#include <array>
#include <charconv>
#include <chrono>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace mpoolfs {

namespace {

constexpr std::chrono::nanoseconds kInterval = std::chrono::milliseconds(10);

}  // namespace

ReaderWatch::ReaderWatch(mpool::Clock& clock, mpool::Metrics& metrics)
    : clock_(clock),
      requests_(metrics.counter("mpoolfs_file_reads_total",
                                "Reads of files of the tree that the daemon serves")) {}

void ReaderWatch::watch(const std::vector<std::string>& devices) {
  for (const std::string& device : devices) {
    struct stat status {};
    if (::stat(device.c_str(), &status) != 0) continue;
    const std::string path =
        fmt::format("/sys/dev/block/{}:{}/stat", major(status.st_rdev), minor(status.st_rdev));
    mpool::FileDescriptor counters(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (counters) counters_.push_back(std::move(counters));
  }
  reads_ = reads();
}

// Reads completed, the first number of each file, and requests.
std::uint64_t ReaderWatch::reads() const noexcept {
  std::uint64_t sum = requests();
  for (const mpool::FileDescriptor& counters : counters_) {
    std::array<char, 64> text;
    const ssize_t length = ::pread(counters.get(), text.data(), text.size(), 0);
    if (length <= 0) continue;
    const char* begin = text.data();
    const char* const end = begin + length;
    while (begin != end && *begin == ' ')
      ++begin;
    std::uint64_t number = 0;
    std::from_chars(begin, end, number);
    sum += number;
  }
  return sum;
}

bool ReaderWatch::reads_active() noexcept {
  const std::int64_t now = clock_.now().time_since_epoch().count();
  std::int64_t next = next_look_.load(std::memory_order_relaxed);
  if (now >= next && next_look_.compare_exchange_strong(next, now + kInterval.count())) {
    const std::uint64_t found = reads();
    active_ = reads_.exchange(found) != found;
  }
  return active_.load(std::memory_order_relaxed);
}

}  // namespace mpoolfs
