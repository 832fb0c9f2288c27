// A block device or regular file as Device.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "engine/device/device.h"
#include "engine/device/file_descriptor.h"

namespace mpool {

// Positioned system calls on one descriptor. Made by open_device() (open.h), which chooses the
// flags.
class FileDevice : public Device {
 public:
  // Owns `fd` and, with it, the flock on it. Memory not aligned to memory_alignment (a power of
  // two; 1 where fd goes through the page cache) is copied through an aligned buffer.
  // `backing_lock` is kept for the lock on it: of the file behind a loop device, or none.
  FileDevice(std::string name, DeviceProperties properties, FileDescriptor fd,
             std::uint32_t memory_alignment, FileDescriptor backing_lock);

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override;
  void write_impl(std::uint64_t offset, ConstByteSpan from) override;
  void flush_impl() override;
  void discard_impl(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t query_size() override;
  void start_impl(DeviceTransfer& transfer) override;

 private:
  bool needs_bounce(const std::byte* memory) const;
  void read_aligned(std::uint64_t offset, ByteSpan into);
  void write_aligned(std::uint64_t offset, ConstByteSpan from);

  FileDescriptor fd_;
  FileDescriptor backing_lock_;
  const std::uint32_t memory_alignment_;
  std::atomic<bool> can_discard_;  // false, too, once the system said "not supported"
};

}  // namespace mpool
