// A file with known content, whose reads can be planned.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <gtest/gtest.h>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/file/read_plan.h"
#include "engine/io/device.h"

namespace mpool::test {

inline constexpr std::size_t kRead = 128u << 10;  // bytes

inline std::byte content_at(std::uint64_t offset) {
  return static_cast<std::byte>(offset / kPageSize + 1);
}

// Each page has its own byte. Transfers complete with the ring's next completions.
class PatternDevice final : public Device {
 public:
  PatternDevice(std::uint64_t size, bool in_memory)
      : Device("pattern", properties_of(size, in_memory)) {}

  std::uint64_t failing_from = UINT64_MAX;

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override {
    if (offset + into.size() > failing_from) raise(EIO, name(), "read made to fail");
    for (std::size_t at = 0; at < into.size(); at += kPageSize)
      std::memset(into.data() + at, static_cast<int>(content_at(offset + at)), kPageSize);
  }
  void write_impl(std::uint64_t, ConstByteSpan) override { FAIL() << "a write"; }
  void flush_impl() override {}
  void discard_impl(std::uint64_t, std::uint64_t) override { FAIL() << "a discard"; }

 private:
  static DeviceProperties properties_of(std::uint64_t size, bool in_memory) {
    DeviceProperties properties;
    properties.size = size;
    properties.in_memory = in_memory;
    return properties;
  }
};

// A committed file that covers a whole device.
class WholeDevice final : public ReadSource {
 public:
  WholeDevice(std::uint64_t id, std::uint64_t size, bool in_memory = false)
      : device(round_up(size, kPageSize), in_memory), id_(id), size_(size) {}

  std::uint64_t source_id() const noexcept override { return id_; }

  bool plan_read(std::uint64_t offset, std::size_t length, ByteSpan memory,
                 ReadPlan& plan) override {
    EXPECT_GE(memory.size(), length);
    if (offset >= unplannable_from) raise(ENOMEM, "a file", "planning made to fail");
    if (!plannable) return false;
    plan = {};
    if (offset >= size_) return true;
    plan.length = std::min<std::uint64_t>(length, size_ - offset);
    plan.count = 1;
    plan.transfers[0] = {&device, offset, 0, round_up(plan.length, kPageSize)};
    return true;
  }

  PatternDevice device;
  std::uint64_t unplannable_from = UINT64_MAX;  // plan_read() throws
  bool plannable = true;

 private:
  const std::uint64_t id_;
  const std::uint64_t size_;
};

}  // namespace mpool::test
