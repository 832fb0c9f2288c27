// A device in memory that knows what a power cut may take: the writes and discards since the last
// flush.
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "tests/engine/pool/memory_device.h"

namespace mpool::test {

class UnflushedDevice : public MemoryDevice {
 public:
  static constexpr std::size_t kSector = 512;

  explicit UnflushedDevice(std::shared_ptr<Media> media)
      : MemoryDevice("memory", media), durable_(*media) {}

  // The media after a power cut now: of what was not flushed each write and discard is there, or
  // not, or (a write) some sectors of it.
  std::shared_ptr<Media> crashed(std::mt19937_64& random) const {
    const std::lock_guard lock(mutex_);
    auto media = std::make_shared<Media>(durable_);
    for (const Change& change : unflushed_) {
      switch (random() % 3) {
        case 0:
          break;
        case 1:
          apply(change, *media);
          break;
        default:
          apply_torn(change, *media, random);
      }
    }
    return media;
  }

 protected:
  void write_impl(std::uint64_t offset, ConstByteSpan from) override {
    {
      const std::lock_guard lock(mutex_);
      unflushed_.push_back({offset, from.size(), {from.begin(), from.end()}});
    }
    MemoryDevice::write_impl(offset, from);
  }
  void discard_impl(std::uint64_t offset, std::uint64_t length) override {
    MemoryDevice::discard_impl(offset, length);
    const std::lock_guard lock(mutex_);
    unflushed_.push_back({offset, length, {}});
  }
  void flush_impl() override {
    MemoryDevice::flush_impl();
    const std::lock_guard lock(mutex_);
    for (const Change& change : unflushed_)
      apply(change, durable_);
    unflushed_.clear();
  }

 private:
  struct Change {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::vector<std::byte> data;  // empty: a discard
  };

  static void apply(const Change& change, Media& media) {
    if (change.data.empty()) {
      media.zero(change.offset, change.length);
    } else {
      media.write(change.offset, change.data);
    }
  }
  static void apply_torn(const Change& change, Media& media, std::mt19937_64& random) {
    std::vector<std::byte> mixed(change.length);
    media.read(change.offset, mixed);
    for (std::size_t at = 0; at < change.data.size(); at += kSector) {
      if (random() % 2 == 0) std::memcpy(mixed.data() + at, change.data.data() + at, kSector);
    }
    media.write(change.offset, mixed);
  }

  mutable std::mutex mutex_;
  Media durable_;  // as of the last flush
  std::vector<Change> unflushed_;
};

}  // namespace mpool::test
