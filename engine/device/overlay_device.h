// A device whose writes stay in memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>

#include "engine/device/device.h"

namespace mpool {

// Reads come from `base` where nothing was written, or as zeros without a base; writes and discards
// (which make the range read as zeros) stay in memory. With a base it lets a pool be activated, recovery
// included, without changing the media (`mpool dump`, read-only mounts). Without one it is a device in
// memory for tests. Memory use: one page per page written.
class OverlayDevice : public Device {
 public:
  explicit OverlayDevice(std::unique_ptr<Device> base);
  OverlayDevice(std::string name, std::uint64_t size, std::uint32_t sector_size = 512);

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override;
  void write_impl(std::uint64_t offset, ConstByteSpan from) override;
  void flush_impl() override {}
  void discard_impl(std::uint64_t offset, std::uint64_t length) override;

 private:
  std::unique_ptr<Device> base_;
  std::shared_mutex mutex_;
  std::map<std::uint64_t, AlignedBuffer> pages_;  // by page number; an empty buffer reads as zeros
};

}  // namespace mpool
