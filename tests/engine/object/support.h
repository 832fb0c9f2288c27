// A pool in memory for tests of the object layer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/pool/pool.h"
#include "tests/support/error_of.h"

namespace mpool::test {

// The media: outlives the devices that are opened on it. Its old content is 0xa5 everywhere, and
// discards leave it, so that a missing zero fill shows.
struct Media {
  explicit Media(std::size_t size) : now(size, std::byte{0xa5}), durable(now) {}
  // What a power failure leaves when nothing that was not flushed arrived.
  std::shared_ptr<Media> after_crash() {
    const std::lock_guard lock(mutex);
    auto copy = std::make_shared<Media>(0);
    copy->now = copy->durable = durable;
    return copy;
  }

  std::mutex mutex;
  std::vector<std::byte> now;
  std::vector<std::byte> durable;
  std::set<std::uint64_t> dirty;  // pages in which they differ
};

class MediaDevice : public Device {
 public:
  explicit MediaDevice(std::shared_ptr<Media> media)
      : Device("media", {.size = media->now.size(), .discard_granularity = kPageSize, .model = {}}),
        media_(std::move(media)) {}

  // The n-th write from now on fails; 0: none.
  void fail_write(std::int64_t n) { writes_left_ = n; }

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override {
    const std::lock_guard lock(media_->mutex);
    std::memcpy(into.data(), media_->now.data() + offset, into.size());
  }
  void write_impl(std::uint64_t offset, ConstByteSpan from) override {
    if (writes_left_ > 0 && --writes_left_ == 0) raise(EIO, name(), "write made to fail");
    const std::lock_guard lock(media_->mutex);
    std::memcpy(media_->now.data() + offset, from.data(), from.size());
    for (std::size_t i = 0; i < from.size(); i += kPageSize)
      media_->dirty.insert(offset + i);
  }
  void flush_impl() override {
    const std::lock_guard lock(media_->mutex);
    for (const std::uint64_t page : media_->dirty) {
      std::memcpy(media_->durable.data() + page, media_->now.data() + page, kPageSize);
    }
    media_->dirty.clear();
  }
  void discard_impl(std::uint64_t, std::uint64_t) override {}

 private:
  std::shared_ptr<Media> media_;
  std::atomic<std::int64_t> writes_left_ = 0;
};

// An active pool with one MDC on media of `zones` zones.
struct TestPool {
  static constexpr std::uint64_t kZoneSize = 256u << 10;

  explicit TestPool(std::uint32_t zones, std::uint64_t zone_size = kZoneSize)
      : media(std::make_shared<Media>(zones * zone_size)) {
    MediaDevice creation(media);
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
  // The pool that is on the media.
  explicit TestPool(std::shared_ptr<Media> existing) : media(std::move(existing)) { activate(); }

  void activate() {
    pool.reset();
    auto opened = std::make_unique<MediaDevice>(media);
    device = opened.get();
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(opened));
    pool = Pool::activate(std::move(devices), {.mdc_count = 1});
    // The first id handed out costs a checkpoint record, which tests that count writes do not want.
    pool->abort(pool->allocate(ObjectType::mblock, 0, {}));
    pool->wait_for_discards(std::chrono::seconds(10));
  }

  std::uint32_t used_zones() const { return pool->class_facts(MediaClass::capacity).space.used; }

  std::shared_ptr<Media> media;
  std::unique_ptr<Pool> pool;
  MediaDevice* device = nullptr;
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
