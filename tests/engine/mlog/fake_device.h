// A device in memory that records its writes and fails on demand.
#pragma once

#include <algorithm>
#include <cerrno>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "engine/base/error.h"
#include "engine/io/device.h"
#include "tests/support/error_of.h"

namespace mpool::test {

using Image = std::vector<std::byte>;

class FakeDevice : public Device {
 public:
  struct Write {
    std::uint64_t offset;
    Image data;
  };

  explicit FakeDevice(std::uint64_t size) : FakeDevice(Image(size)) {}
  explicit FakeDevice(Image image)
      : Device("fake", properties_of_size(image.size())), image_(std::move(image)) {}

  // Called before each write or flush takes effect, without a lock; may throw, or block.
  std::function<void(const Write&)> before_write = [](const Write&) {};
  std::function<void()> before_flush = [] {};
  // Called after each write with the new content.
  std::function<void(const Image&)> after_write = [](const Image&) {};

  Image image() const {
    const std::shared_lock lock(mutex_);
    return image_;
  }
  // All writes since the last call.
  std::vector<Write> take_writes() {
    const std::unique_lock lock(mutex_);
    return std::exchange(writes_, {});
  }
  void put(std::uint64_t offset, ConstByteSpan data) {
    const std::unique_lock lock(mutex_);
    std::ranges::copy(data, image_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  bool discard_clears = true;
  bool discard_fails = false;

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override {
    const std::shared_lock lock(mutex_);
    std::copy_n(image_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
  }
  void write_impl(std::uint64_t offset, ConstByteSpan from) override {
    Write write{offset, Image(from.begin(), from.end())};
    before_write(write);
    {
      const std::unique_lock lock(mutex_);
      std::ranges::copy(from, image_.begin() + static_cast<std::ptrdiff_t>(offset));
      writes_.push_back(std::move(write));
    }
    after_write(image_);
  }
  void flush_impl() override { before_flush(); }
  void discard_impl(std::uint64_t offset, std::uint64_t length) override {
    if (discard_fails) raise(EIO, name(), "discard fails");
    if (!discard_clears) return;
    const std::unique_lock lock(mutex_);
    std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{});
  }

 private:
  static DeviceProperties properties_of_size(std::uint64_t size) {
    DeviceProperties properties;
    properties.size = size;
    return properties;
  }

  mutable std::shared_mutex mutex_;
  Image image_;
  std::vector<Write> writes_;
};

}  // namespace mpool::test
