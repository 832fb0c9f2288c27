// A pool in memory for tests of the object layer.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/io/simulated_crash.h"
#include "engine/pool/pool.h"
#include "tests/support/error_of.h"

namespace mpool::test {

// An active pool with one MDC on media of `zones` zones. The media's old content is 0xa5
// everywhere, and discards leave it, so that a missing zero fill is detected.
struct TestPool {
  static constexpr std::uint64_t kZoneSize = 256u << 10;

  explicit TestPool(std::uint32_t zones, std::uint64_t zone_size = kZoneSize)
      : media(std::make_shared<SimulatedMedia>(zones * zone_size, 512, std::byte{0xa5})) {
    SimulatedDevice creation("media", media, options());
    Pool::create(creation, nullptr,
                 {.name = "test",
                  .zone_size = zone_size,
                  .mdc_count = 1,
                  .mdc0_capacity = zone_size,
                  .mdc_capacity = zone_size,
                  .root_capacity = zone_size,
                  .spare_percent = 0});
    activate();
  }
  // The pool on the media.
  explicit TestPool(std::shared_ptr<SimulatedMedia> existing) : media(std::move(existing)) {
    activate();
  }

  void activate() {
    pool.reset();
    before = copy_of({media});
    history = std::make_shared<SimulatedHistory>();
    std::vector<std::unique_ptr<Device>> devices;
    auto opened = std::make_unique<SimulatedDevice>("media", media, options());
    device = opened.get();
    devices.push_back(std::move(opened));
    pool = Pool::activate(std::move(devices), {.mdc_count = 1});
    // The first id handed out costs a checkpoint record, which would disturb tests that count
    // writes.
    pool->abort(pool->allocate(ObjectType::mblock, 0, {}));
    pool->wait_for_discards(std::chrono::seconds(10));
  }

  // The n-th write from now on fails.
  void fail_write(std::uint64_t n) const {
    faults->arm({.target = SimulatedFaults::Target::write, .number = n});
  }
  // The media after a power failure that loses everything unflushed.
  std::shared_ptr<SimulatedMedia> after_crash() const {
    return CrashImages::durable(before, history->operations(), DiscardEffect::keeps).front();
  }
  std::uint32_t used_zones() const { return pool->class_info(MediaClass::capacity).space.used; }

  std::shared_ptr<SimulatedMedia> media;
  WriteMemory write_memory;  // outlives pools that activate() replaces
  std::unique_ptr<Pool> pool;
  Device* device = nullptr;

 private:
  SimulatedDevice::Options options() const {
    return {.history = history, .number = 0, .faults = faults, .discard_zeros = false};
  }

  MediaSet before;  // the media at the activation
  std::shared_ptr<SimulatedHistory> history;
  std::shared_ptr<SimulatedFaults> faults = std::make_shared<SimulatedFaults>();
};

// Byte `offset` of a test's content: never 0 and not of a short period.
inline std::byte content_byte(std::uint64_t offset) {
  const std::uint64_t mixed = (offset + 1) * 0x9e3779b97f4a7c15ull;
  return static_cast<std::byte>((mixed >> 56) | 1);
}

inline std::vector<std::byte> content(std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i)
    bytes[i] = content_byte(offset + i);
  return bytes;
}
// The first byte in which two contents differ, or npos; comparing this way keeps failures readable.
inline std::size_t first_difference(ConstByteSpan a, ConstByteSpan b) {
  const std::size_t common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (a[i] != b[i]) return i;
  }
  return a.size() == b.size() ? std::string::npos : common;
}

#define EXPECT_SAME_BYTES(a, b) \
  EXPECT_EQ(::mpool::test::first_difference((a), (b)), std::string::npos)
#define ASSERT_SAME_BYTES(a, b) \
  ASSERT_EQ(::mpool::test::first_difference((a), (b)), std::string::npos)

}  // namespace mpool::test
