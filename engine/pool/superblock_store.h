// The superblocks of the capacity device while the pool is active: they store MDC0's generations
// and the pool's name.
#pragma once

#include <mutex>
#include <string>

#include "engine/format/superblock.h"
#include "engine/io/device.h"

namespace mpool {

// Writes one superblock: SB0, then SB1, each durable before the next (engine/format/README.md,
// "Superblock"). A copy that was bad is good afterwards.
void write_superblock(Device& device, const Superblock& superblock);
// Writes copy 0 or 1 only; durable on return.
void write_superblock_copy(Device& device, const Superblock& superblock, std::size_t copy);
// Overwrites both copies with zeros; durable on return.
void wipe_superblocks(Device& device);

// Threads: all functions may be called at the same time. The lock is a leaf, except that device I/O
// is done under it.
class SuperblockStore {
 public:
  // `superblock` has an MDC0 part. With `on_media` false nothing is written before publish().
  SuperblockStore(Device& device, Superblock superblock, bool on_media);

  Mdc0Location mdc0() const;
  std::string pool_name() const;
  // Records the generation of one of MDC0's mlogs; durable on return.
  void record_generation(unsigned half, std::uint64_t generation);
  // Records the pool's name and the device's parameters; durable on return. After an error either
  // may be on the media.
  void record_params(const std::string& pool_name, const DeviceParams& device);
  // Writes the superblocks for the first time.
  void publish();

 private:
  void write_updated(Superblock updated);

  Device& device_;
  mutable std::mutex mutex_;
  Superblock superblock_;
  bool on_media_;
};

}  // namespace mpool
