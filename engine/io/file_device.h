// A block device or regular file as Device.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "engine/io/device.h"
#include "engine/io/file_descriptor.h"
#include "engine/io/media_lock.h"

namespace mpool {

// The locks that exclude other activations of a device.
struct DeviceLocks {
  FileDescriptor backing;    // the flock on the file behind a loop device
  MediaLocks media;          // locks on the identity of the device, independent of the path
  bool claims = false;       // an activated block device: it must be claimed
  FileDescriptor exclusive;  // the claim (Device::claim)
};

// Positioned system calls on one descriptor. Made by open_device() (open.h), which chooses the
// flags.
class FileDevice : public Device {
 public:
  // Owns `fd` and the flock on it. Memory not aligned to memory_alignment (a power of two; 1 where
  // fd uses the page cache) is copied through an aligned buffer. `locks` are held until
  // destruction.
  FileDevice(std::string name, DeviceProperties properties, FileDescriptor fd,
             std::uint32_t memory_alignment, DeviceLocks locks);

  // Adds a lock to be held until destruction.
  void keep(MediaLock lock) { locks_.media.push_back(std::move(lock)); }

  int claim() override;
  void release_claim() override;

 protected:
  void read_impl(std::uint64_t offset, ByteSpan into) override;
  void write_impl(std::uint64_t offset, ConstByteSpan from) override;
  void read_parts_impl(std::uint64_t offset, std::span<const ByteSpan> parts) override;
  void write_parts_impl(std::uint64_t offset, std::span<const ConstByteSpan> parts) override;
  void flush_impl() override;
  void discard_impl(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t query_size() override;
  void start_impl(DeviceTransfer& transfer) override;
  void reserve_impl(std::uint64_t offset, std::uint64_t length) override;
  bool room_is_certain_impl() override;

 private:
  bool needs_bounce(const std::byte* memory) const;
  template <typename Span, typename Call>
  void transfer_all(const char* operation, std::uint64_t offset, Span memory, Call call);
  void read_aligned(std::uint64_t offset, ByteSpan into);
  void write_aligned(std::uint64_t offset, ConstByteSpan from);
  template <typename Span, typename Call, typename Single>
  void transfer_parts(std::uint64_t offset, std::span<const Span> parts, Call vectored,
                      Single single);

  FileDescriptor fd_;
  DeviceLocks locks_;
  const std::uint32_t memory_alignment_;
  std::atomic<bool> can_discard_;  // also false once the system reported "not supported"
  const bool sparse_;              // a file with unallocated blocks
  std::atomic<std::int64_t> room_looked_at_ = 0;  // last query, nanoseconds of the clock
  std::atomic<bool> room_found_ = false;
};

}  // namespace mpool
