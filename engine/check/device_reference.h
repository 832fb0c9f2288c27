// A device owned by another object. Internal to engine/check.
#pragma once

#include "engine/io/device.h"

namespace mpool::check {

// Forwards every call to `device`, which outlives it.
class DeviceReference : public Device {
 public:
  explicit DeviceReference(Device& device)
      : Device(device.name(), device.properties()), device_(device) {}

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override { device_.read(offset, into); }
  void write_impl(std::uint64_t offset, ConstByteSpan from) override {
    device_.write(offset, from);
  }
  void flush_impl() override { device_.flush(); }
  void discard_impl(std::uint64_t offset, std::uint64_t length) override {
    device_.discard(offset, length);
  }

 private:
  Device& device_;
};

}  // namespace mpool::check
