// Shared by the log tests.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/mlog/mlog.h"
#include "tests/engine/mlog/fake_device.h"

namespace mpool::test {

using Record = std::vector<std::byte>;
using Records = std::vector<Record>;

inline constexpr std::uint64_t kLogOffset = 16 * kPageSize;

inline Uuid test_uuid(unsigned char seed = 7) {
  Uuid uuid;
  for (std::size_t i = 0; i < Uuid::kSize; ++i) {
    uuid.bytes[i] = static_cast<std::byte>(seed + 16 * i);
  }
  return uuid;
}

inline MlogLocation location_on(Device& device, std::uint32_t sector_size, std::uint64_t capacity,
                                std::uint64_t generation = 3) {
  return {.device = &device,
          .offset = kLogOffset,
          .capacity = capacity,
          .sector_size = sector_size,
          .uuid = test_uuid(),
          .generation = generation,
          .name = "test log"};
}

// Record `number` with `length` bytes, identified by its content.
inline Record make_record(std::uint64_t number, std::size_t length) {
  Record record(length);
  std::uint64_t state = number * 0x9e3779b97f4a7c15ull + length;
  for (std::byte& byte : record) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    byte = static_cast<std::byte>(state >> 56);
  }
  return record;
}

inline Records read_all(const Mlog& log) {
  MlogReader reader(log);
  Records records;
  for (Record record; reader.next(record);)
    records.push_back(record);
  return records;
}

inline std::unique_ptr<Mlog> open_plain(const MlogLocation& location) {
  return Mlog::open(location, CompactionSemantics::off);
}

}  // namespace mpool::test
