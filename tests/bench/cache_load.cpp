// The two programs of the reaper's measurement (tests/bench/README.md, "The reaper"):
//   cache_load read SECONDS THREADS FILE...   Zipf reads of 1 KiB through mappings; prints JSON
//   cache_load read-random ...                the same after MADV_RANDOM
//   cache_load rewrite OUTPUT FILE...         reads the files and writes copies, without end
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/io/file_descriptor.h"

namespace {

using mpool::FileDescriptor;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kValue = 1024;
constexpr double kSkew = 0.99;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

FileDescriptor open_file(const std::string& path, int flags) {
  FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!file) fail(path);
  return file;
}

// Ranks from 0, the most frequent first (Gray et al., "Quickly generating billion-record synthetic
// databases").
class Zipf {
 public:
  explicit Zipf(std::uint64_t count) : count_(count) {
    for (std::uint64_t rank = 1; rank <= count; ++rank)
      sum_ += std::pow(1.0 / static_cast<double>(rank), kSkew);
    const double two = 1 + std::pow(0.5, kSkew);
    eta_ = (1 - std::pow(2.0 / static_cast<double>(count), 1 - kSkew)) / (1 - two / sum_);
  }

  template <typename Random>
  std::uint64_t operator()(Random& random) const {
    const double at = std::uniform_real_distribution<double>(0, 1)(random);
    if (at * sum_ < 1) return 0;
    if (at * sum_ < 1 + std::pow(0.5, kSkew)) return 1;
    const double rank =
        static_cast<double>(count_) * std::pow(eta_ * at - eta_ + 1, 1 / (1 - kSkew));
    return std::min(count_ - 1, static_cast<std::uint64_t>(rank));
  }

 private:
  std::uint64_t count_;
  double sum_ = 0;
  double eta_ = 0;
};

// Of times in nanoseconds: buckets of 1/8 of a power of two.
class Histogram {
 public:
  void add(std::uint64_t time) { ++counts_[bucket(time)]; }
  void add(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i)
      counts_[i] += other.counts_[i];
  }
  double microseconds_at(double part) const {
    std::uint64_t all = 0;
    for (const std::uint64_t count : counts_)
      all += count;
    auto left = static_cast<std::uint64_t>(part * static_cast<double>(all));
    std::size_t i = 0;
    while (i + 1 < counts_.size() && left >= counts_[i])
      left -= counts_[i++];
    return std::ldexp(static_cast<double>(8 + i % 8), static_cast<int>(i / 8)) / 8 / 1000;
  }

 private:
  static std::size_t bucket(std::uint64_t time) {
    const std::uint64_t value = std::max<std::uint64_t>(time, 8);
    const unsigned power = static_cast<unsigned>(std::bit_width(value)) - 1u;
    return power * 8 + (value >> (power - 3)) % 8;
  }
  std::array<std::uint64_t, 64 * 8> counts_{};
};

struct MappedFile {
  const char* data = nullptr;
  std::uint64_t values = 0;
};

MappedFile map_file(const std::string& path, int advice) {
  const FileDescriptor file = open_file(path, O_RDONLY);
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) fail(path);
  const auto size = static_cast<std::size_t>(facts.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) fail(path);
  if (::madvise(data, size, advice) != 0) fail(path);
  return {static_cast<const char*>(data), size / kValue};
}

int read_values(double seconds, unsigned threads, int advice, std::span<char*> paths) {
  std::vector<MappedFile> files;
  std::uint64_t values = 0;
  for (const char* path : paths) {
    files.push_back(map_file(path, advice));
    values += files.back().values;
  }
  const std::uint64_t per_file = files.front().values;
  const Zipf zipf(values);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::vector<Histogram> times(threads);
  std::atomic<std::uint64_t> reads = 0;
  {
    std::vector<std::jthread> running;
    for (unsigned thread = 0; thread < threads; ++thread) {
      running.emplace_back([&, thread] {
        std::mt19937_64 random(thread + 1);
        std::array<char, kValue> value{};
        std::uint64_t done = 0;
        for (auto before = Clock::now(); before < end; ++done) {
          // Frequent values lie apart: hashed, as YCSB does.
          const std::uint64_t at = (zipf(random) * 0x9E3779B97F4A7C15u >> 16) % values;
          const MappedFile& file = files[at / per_file];
          std::memcpy(value.data(), file.data + at % per_file * kValue, kValue);
          asm volatile("" : : "r"(value.data()) : "memory");
          const auto after = Clock::now();
          times[thread].add(static_cast<std::uint64_t>((after - before).count()));
          before = after;
        }
        reads += done;
      });
    }
  }
  for (unsigned thread = 1; thread < threads; ++thread)
    times[0].add(times[thread]);
  fmt::print("{{\"reads_per_second\": {:.0f}, \"p50\": {}, \"p99\": {}, \"p9999\": {}}}\n",
             static_cast<double>(reads) / seconds, times[0].microseconds_at(0.5),
             times[0].microseconds_at(0.99), times[0].microseconds_at(0.9999));
  return 0;
}

[[noreturn]] void rewrite(const std::string& output, std::span<char*> paths) {
  std::vector<char> memory(1u << 20);
  while (true) {
    for (const char* path : paths) {
      const FileDescriptor from = open_file(path, O_RDONLY);
      {
        const FileDescriptor to = open_file(output, O_WRONLY | O_CREAT | O_EXCL);
        ssize_t length = 0;
        while ((length = ::read(from.get(), memory.data(), memory.size())) > 0) {
          if (::write(to.get(), memory.data(), static_cast<std::size_t>(length)) != length)
            fail(output);
        }
        if (length < 0) fail(path);
        if (::fsync(to.get()) != 0) fail(output);
      }
      if (::unlink(output.c_str()) != 0) fail(output);
    }
  }
}

}  // namespace

int main(int count, char** words) try {
  const std::span<char*> arguments(words + 1, static_cast<std::size_t>(count - 1));
  const std::string_view how = arguments.empty() ? "" : arguments[0];
  if (arguments.size() > 3 && (how == "read" || how == "read-random")) {
    return read_values(std::stod(arguments[1]), static_cast<unsigned>(std::stoul(arguments[2])),
                       how == "read" ? MADV_NORMAL : MADV_RANDOM, arguments.subspan(3));
  }
  if (arguments.size() > 2 && how == "rewrite") rewrite(arguments[1], arguments.subspan(2));
  fmt::print(stderr,
             "cache_load read|read-random SECONDS THREADS FILE... | rewrite OUTPUT FILE...\n");
  return 2;
} catch (const std::exception& error) {
  fmt::print(stderr, "cache_load: {}\n", error.what());
  return 1;
}
