// A pair of logs in memory, and the MDC in it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "engine/mlog/mdc.h"
#include "tests/engine/mlog/log_support.h"

namespace mpool::test {

inline constexpr std::uint64_t kHalf = 64u << 10;
inline constexpr std::array<ObjectId, 2> kIds = {mdc_log_id(5, 0), mdc_log_id(5, 1)};
using Generations = std::array<std::uint64_t, 2>;

// A pair of halves, and the generations that their owner has made durable.
struct Pair {
  explicit Pair(std::uint32_t sector, Generations start = {0, 0})
      : sector_size(sector), generations(start) {}
  Pair(std::uint32_t sector, Generations start, Image image)
      : sector_size(sector), generations(start), device(std::move(image)) {}

  MlogLocation location(unsigned half) {
    return {.device = &device,
            .offset = half * kHalf,
            .capacity = kHalf,
            .sector_size = sector_size,
            .uuid = test_uuid(static_cast<unsigned char>(half)),
            .generation = generations[half],
            .name = fmt::format("half {}", half)};
  }
  std::unique_ptr<Mdc> open(Mdc::OpenOptions options = {}) {
    return Mdc::open(
        "mdc", {{{kIds[0], location(0)}, {kIds[1], location(1)}}},
        [this](ObjectId id, std::uint64_t generation) {
          before_record(id, generation);
          generations[id == kIds[0] ? 0 : 1] = generation;
          after_record();
        },
        options);
  }
  // Makes a half by hand: CSTART, the records, and CEND if `finished`.
  void write_half(unsigned half, const Records& records, bool finished) {
    const auto log = Mlog::open(location(half), CompactionSemantics::on);
    log->append_compaction_start();
    for (const Record& record : records)
      log->append(record);
    if (finished) log->append_compaction_end();
    log->sync();
  }

  std::uint32_t sector_size;
  Generations generations;
  FakeDevice device{2 * kHalf};
  std::function<void(ObjectId, std::uint64_t)> before_record = [](ObjectId, std::uint64_t) {};
  std::function<void()> after_record = [] {};
};

inline Records content(const Mdc& mdc) {
  MlogReader reader = mdc.reader();
  Records records;
  for (Record record; reader.next(record);)
    records.push_back(record);
  return records;
}

inline Records some_records(std::uint64_t first, std::uint64_t count, std::size_t length = 100) {
  Records records;
  for (std::uint64_t i = 0; i < count; ++i)
    records.push_back(make_record(first + i, length + i));
  return records;
}

inline void write_all(const Records& records, const Mdc::Append& append) {
  for (const Record& record : records)
    append(record);
}

class MdcTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  Pair pair_{GetParam()};
};

}  // namespace mpool::test
