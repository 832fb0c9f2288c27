#include "tests/bench/engine_cases.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <random>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "engine/io/open.h"
#include "engine/mlog/mlog.h"
#include "engine/object/mblock.h"
#include "engine/pool/pool.h"
#include "engine/space/space_map.h"

namespace mpool::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Duration = std::chrono::duration<double>;

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::size_t kRecordSize = 128;

// Calls `step(thread)` in this many threads for about this time, at least once; returns calls per
// second. An exception of a thread ends the run.
double rate(unsigned threads, double seconds, const std::function<void(unsigned)>& step) {
  std::atomic<std::uint64_t> calls = 0;
  std::atomic<bool> failed = false;
  std::vector<std::exception_ptr> failures(threads);
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(Duration(seconds));
  {
    std::vector<std::jthread> workers;
    for (unsigned thread = 0; thread < threads; ++thread) {
      workers.emplace_back([&, thread] {
        try {
          do {
            step(thread);
            calls.fetch_add(1, std::memory_order_relaxed);
          } while (!failed && Clock::now() < end);
        } catch (...) {
          failures[thread] = std::current_exception();
          failed = true;
        }
      });
    }
  }
  const double took = Duration(Clock::now() - start).count();
  for (const auto& failure : failures) {
    if (failure != nullptr) std::rethrow_exception(failure);
  }
  return static_cast<double>(calls) / took;
}

FileDescriptor open_file(const std::filesystem::path& path, int flags) {
  FileDescriptor fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (fd.get() < 0) raise_system(errno, path, "open");
  return fd;
}

void write_all(int fd, const std::filesystem::path& path, ConstByteSpan bytes) {
  if (::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    raise_system(errno, path, "write");
  }
}

std::string row_of(const char* what, unsigned threads) {
  return fmt::format("{}, {} thread{}", what, threads, threads == 1 ? "" : "s");
}

// --- pools in a file ---

// A file with all blocks allocated and written, like those of a file system's image.
std::filesystem::path make_image(const Settings& settings) {
  const std::filesystem::path path = settings.directory / "pool";
  if (std::filesystem::exists(path)) return path;
  create_image_file(path, (settings.tiny ? 64 : 1024) * kMiB);
  const auto device = open_device(path, OpenMode::activate);
  const AlignedBuffer zeros = AlignedBuffer::zeroed(kMiB);
  for (std::uint64_t at = 0; at < device->properties().size; at += kMiB)
    device->write(at, zeros.span());
  device->flush();
  return path;
}

// A new pool in it. Zones are small, so that there are many.
std::unique_ptr<Pool> fresh_pool(const Settings& settings) {
  CreateOptions options;
  options.name = "bench";
  options.zone_size = 16 * 1024;
  options.mdc_count = settings.tiny ? 2 : 16;
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(open_device(make_image(settings), OpenMode::activate));
  Pool::create(*devices.front(), nullptr, options);
  return Pool::activate(std::move(devices));
}

double commit_rate(const Settings& settings, unsigned threads) {
  const auto pool = fresh_pool(settings);
  const AlignedBuffer content = AlignedBuffer::zeroed(kPageSize);
  return rate(threads, settings.seconds,
              [&](unsigned) { store_mblock(*pool, {}, content.span()); });
}

// The same with files: create, write, fsync.
double file_rate(const Settings& settings, unsigned threads) {
  const auto directory = settings.directory / "files";
  std::filesystem::create_directory(directory);
  const AlignedBuffer content = AlignedBuffer::zeroed(kPageSize);
  std::vector<std::uint64_t> numbers(threads);
  const double result = rate(threads, settings.seconds, [&](unsigned thread) {
    const auto path = directory / fmt::format("{}-{}", thread, numbers[thread]++);
    const FileDescriptor fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL);
    write_all(fd.get(), path, content.span());
    if (::fsync(fd.get()) != 0) raise_system(errno, path, "fsync");
  });
  std::filesystem::remove_all(directory);
  ::sync();
  return result;
}

double append_rate(const Settings& settings, unsigned threads) {
  const auto pool = fresh_pool(settings);
  const std::uint64_t capacity = pool->device(MediaClass::capacity).properties().size / 8;
  const ObjectRecord object = pool->allocate(ObjectType::mlog, capacity, {});
  pool->commit(std::span(&object, 1));
  const auto log = Mlog::open(pool->mlog_location(object), CompactionSemantics::off);
  const std::array<std::byte, kRecordSize> record{};
  return rate(threads, settings.seconds, [&](unsigned) { log->sync(log->append(record)); });
}

// The same with a file: append, fdatasync.
double file_append_rate(const Settings& settings, unsigned threads) {
  const auto path = settings.directory / "log";
  const std::array<std::byte, kRecordSize> record{};
  double result = 0;
  {
    const FileDescriptor fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
    result = rate(threads, settings.seconds, [&](unsigned) {
      write_all(fd.get(), path, record);
      if (::fdatasync(fd.get()) != 0) raise_system(errno, path, "fdatasync");
    });
  }
  std::filesystem::remove(path);
  ::sync();
  return result;
}

// --- activation ---

// A pool with this many mblocks, on a file with room for their zones and metadata only.
std::filesystem::path make_pool_with(const Settings& settings, std::uint64_t objects) {
  constexpr std::uint64_t kZone = 4096;
  constexpr std::uint64_t kRecord = 48;
  constexpr unsigned kMdcs = 16;
  constexpr std::uint64_t kBatch = 10000;
  CreateOptions options;
  options.name = fmt::format("bench{}", objects);
  options.zone_size = kZone;
  options.mdc_count = kMdcs;
  options.mdc_capacity = round_up(objects * kRecord * 5 / 4 / kMdcs, kZone) + 64 * 1024;
  options.root_capacity = kMiB;
  options.spare_percent = 0;
  const auto path = settings.directory / options.name;
  create_image_file(path, objects * kZone + 2 * kMdcs * *options.mdc_capacity + 16 * kMiB);
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(open_device(path, OpenMode::activate));
  Pool::create(*devices.front(), nullptr, options);
  // The MDCs, which are filling up, must not be changed.
  const auto pool = Pool::activate(
      std::move(devices),
      {.mdc_count = {}, .tunables = {.maintenance = {.period = std::chrono::seconds(0)}}});
  for (std::uint64_t made = 0; made < objects;) {
    std::vector<ObjectRecord> batch;
    for (; batch.size() < kBatch && made < objects; ++made) {
      batch.push_back(pool->allocate(ObjectType::mblock, 0, {}));
      batch.back().written_length = kPageSize;
    }
    pool->commit(batch);
  }
  return path;
}

std::uint64_t allocated_memory() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Seconds, and bytes of memory for an object.
std::vector<double> activation(const std::filesystem::path& path, std::uint64_t objects) {
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(open_device(path, OpenMode::activate));
  const std::uint64_t before = allocated_memory();
  const auto start = Clock::now();
  const auto pool = Pool::activate(std::move(devices));
  const double took = Duration(Clock::now() - start).count();
  const std::uint64_t memory = allocated_memory() - before;
  if (pool->object_counts().mblocks != objects) {
    raise(EIO, path, "{} objects, expected {}", pool->object_counts().mblocks, objects);
  }
  return {took, static_cast<double>(memory) / static_cast<double>(objects)};
}

// --- space ---

// Allocations and frees per second in a map with half of its zones used, at random.
double allocation_rate(std::uint32_t zones, double seconds) {
  SpaceMap map("bench", zones, 0);
  std::mt19937 random(zones);
  std::vector<std::uint64_t> used;
  for (std::uint32_t zone = 0; zone < zones; ++zone) {
    if (random() % 2 == 0) continue;
    map.insert(zone, 1);
    used.push_back(zone);
  }
  // One step: half a thousand of the used zones are freed, and as many allocated.
  constexpr unsigned kOperations = 1000;
  const double steps = rate(1, seconds, [&](unsigned) {
    for (unsigned i = 0; i < kOperations / 2; ++i) {
      std::uint64_t& zone = used[random() % used.size()];
      map.retire(zone, 1);
      map.release(zone, 1);
      zone = map.allocate(1, SpacePolicy::usable_only).value();
    }
  });
  return steps * kOperations;
}

}  // namespace

namespace {

using Rate = double (*)(const Settings& settings, unsigned threads);

// The same bar for an object of the engine and for a file, which must not be faster.
void compare(Group& group, const Settings& settings, unsigned threads, const char* object,
             Rate object_rate, const char* file, Rate file_rate) {
  const auto add = [&](const char* what, Rate rate) {
    group.cases.push_back(
        {{row_of(what, threads)}, [=] { return std::vector{rate(settings, threads)}; }});
  };
  add(object, object_rate);
  add(file, file_rate);
  group.bars.push_back({row_of(object, threads), row_of(file, threads), true, 1});
}

}  // namespace

Group commits(const Settings& settings) {
  make_image(settings);
  Group group{.name = "durable commits of 4 KiB", .unit = "1/s", .cases = {}, .bars = {}};
  for (const unsigned threads : {1u, 2u, 4u, 16u})
    compare(group, settings, threads, "mblocks", commit_rate, "files", file_rate);
  group.bars.push_back({row_of("mblocks", 16), row_of("mblocks", 1), true, 4});
  return group;
}

Group appends(const Settings& settings) {
  make_image(settings);
  Group group{.name = "synced appends of 128 bytes", .unit = "1/s", .cases = {}, .bars = {}};
  for (const unsigned threads : {1u, 16u})
    compare(group, settings, threads, "mlog", append_rate, "file", file_append_rate);
  return group;
}

Group activations(const Settings& settings) {
  const std::uint64_t few = settings.tiny ? 1'000 : 100'000;
  const std::uint64_t many = 10 * few;
  Group group{.name = "activation", .unit = "s, bytes/object", .cases = {}, .bars = {}};
  const auto time_of = [](std::uint64_t objects) {
    return fmt::format("time, {} objects", objects);
  };
  for (const std::uint64_t objects : {few, many}) {
    const auto path = make_pool_with(settings, objects);
    const std::string memory = fmt::format("memory, {} objects", objects);
    group.cases.push_back({{time_of(objects), memory}, [=] { return activation(path, objects); }});
    group.bars.push_back({memory, "", false, 200});
  }
  group.bars.push_back({time_of(few), "", false, 1});
  group.bars.push_back({time_of(many), "", false, 10});
  group.bars.push_back({time_of(many), time_of(few), false, 15});  // linear, with some noise
  return group;
}

Group allocations(const Settings& settings) {
  Group group{.name = "allocations and frees, half the zones used at random",
              .unit = "1/s",
              .cases = {},
              .bars = {}};
  const auto row = [](std::uint32_t zones) { return fmt::format("{} zones", zones); };
  constexpr std::uint32_t kMinZones = 10'000;
  constexpr std::uint32_t kMaxZones = 1'000'000;
  for (const std::uint32_t zones : {kMinZones, 100'000u, kMaxZones}) {
    group.cases.push_back({{row(zones)}, [zones, seconds = settings.seconds] {
                             return std::vector{allocation_rate(zones, seconds)};
                           }});
  }
  group.bars.push_back({row(kMaxZones), "", true, 1e6});
  // Logarithmic in the fragments, with half of the ratio as tolerance: memory is slower than
  // caches. A search linear in the fragments would reach a hundredth.
  group.bars.push_back({row(kMaxZones), row(kMinZones), true,
                        0.5 * std::bit_width(kMinZones) / std::bit_width(kMaxZones)});
  return group;
}

}  // namespace mpool::bench
