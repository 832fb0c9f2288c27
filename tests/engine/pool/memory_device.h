// Media in memory that outlive their device, for activating again and for looking at the state
// after each write.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "engine/base/error.h"
#include "engine/device/device.h"

namespace mpool::test {

// Pages of a device; never written ones read as zeros. A copy shares the pages until they are
// written.
class Media {
 public:
  Media(std::uint64_t size, std::uint32_t sector_size) : size_(size), sector_size_(sector_size) {}
  Media(const Media& other) : size_(other.size_), sector_size_(other.sector_size_) {
    const std::lock_guard lock(other.mutex_);
    pages_ = other.pages_;
  }

  std::uint64_t size() const { return size_; }
  std::uint32_t sector_size() const { return sector_size_; }

  void read(std::uint64_t offset, ByteSpan into) const {
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < into.size(); done += kPageSize) {
      const auto page = pages_.find((offset + done) / kPageSize);
      if (page == pages_.end()) {
        std::memset(into.data() + done, 0, kPageSize);
      } else {
        std::memcpy(into.data() + done, page->second->data(), kPageSize);
      }
    }
  }
  void write(std::uint64_t offset, ConstByteSpan from) {
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < from.size(); done += kPageSize) {
      auto page = std::make_shared<Page>();
      std::memcpy(page->data(), from.data() + done, kPageSize);
      pages_[(offset + done) / kPageSize] = std::move(page);
    }
  }
  void zero(std::uint64_t offset, std::uint64_t length) {
    const std::lock_guard lock(mutex_);
    pages_.erase(pages_.lower_bound(offset / kPageSize),
                 pages_.lower_bound((offset + length) / kPageSize));
  }

 private:
  using Page = std::array<std::byte, kPageSize>;
  const std::uint64_t size_;
  const std::uint32_t sector_size_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<const Page>> pages_;
};

class MemoryDevice : public Device {
 public:
  // What to do before a write; may throw Error to make it fail.
  using Hook = std::function<void(std::uint64_t offset, ConstByteSpan from)>;

  MemoryDevice(std::string name, std::shared_ptr<Media> media)
      : Device(std::move(name), properties_of(*media)), media_(std::move(media)) {}
  void before_write(Hook hook) { before_ = std::move(hook); }
  void after_write(std::function<void()> hook) { after_ = std::move(hook); }

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override { media_->read(offset, into); }
  void write_impl(std::uint64_t offset, ConstByteSpan from) override {
    if (before_) before_(offset, from);
    media_->write(offset, from);
    if (after_) after_();
  }
  void flush_impl() override {}
  void discard_impl(std::uint64_t offset, std::uint64_t length) override {
    media_->zero(offset, length);
  }

 private:
  static DeviceProperties properties_of(const Media& media) {
    DeviceProperties properties;
    properties.size = media.size();
    properties.logical_sector_size = media.sector_size();
    properties.physical_sector_size = media.sector_size();
    properties.discard_granularity = kPageSize;
    return properties;
  }

  std::shared_ptr<Media> media_;
  Hook before_;
  std::function<void()> after_;
};

}  // namespace mpool::test
