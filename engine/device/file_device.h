// A block device or regular file as Device.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "engine/device/device.h"
#include "engine/device/file_descriptor.h"
#include "engine/device/media_lock.h"

namespace mpool {

// What keeps other activations away from a device.
struct DeviceLocks {
  FileDescriptor backing;    // the flock on the file behind a loop device
  MediaLocks media;          // on what the device is, by whatever path
  bool claims = false;       // a block device that is activated: it is to be claimed
  FileDescriptor exclusive;  // the claim (Device::claim)
};

// Positioned system calls on one descriptor. Made by open_device() (open.h), which chooses the
// flags.
class FileDevice : public Device {
 public:
  // Owns `fd` and, with it, the flock on it. Memory not aligned to memory_alignment (a power of
  // two; 1 where fd goes through the page cache) is copied through an aligned buffer. `locks` are
  // kept until the end.
  FileDevice(std::string name, DeviceProperties properties, FileDescriptor fd,
             std::uint32_t memory_alignment, DeviceLocks locks);

  // A further lock to be kept until the end.
  void keep(MediaLock lock) { locks_.media.push_back(std::move(lock)); }

  int claim() override;
  void release_claim() override;

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override;
  void write_impl(std::uint64_t offset, ConstByteSpan from) override;
  void flush_impl() override;
  void discard_impl(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t query_size() override;
  void start_impl(DeviceTransfer& transfer) override;
  void reserve_impl(std::uint64_t offset, std::uint64_t length) override;
  bool room_is_certain_impl() override;

 private:
  bool needs_bounce(const std::byte* memory) const;
  void read_aligned(std::uint64_t offset, ByteSpan into);
  void write_aligned(std::uint64_t offset, ConstByteSpan from);

  FileDescriptor fd_;
  DeviceLocks locks_;
  const std::uint32_t memory_alignment_;
  std::atomic<bool> can_discard_;  // false, too, once the system said "not supported"
  const bool sparse_;              // a file not all of whose blocks are allocated
  std::atomic<std::int64_t> room_looked_at_ = 0;  // nanoseconds of the steady clock
  std::atomic<bool> room_found_ = false;
};

}  // namespace mpool
