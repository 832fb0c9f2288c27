// The superblocks of the capacity device while the pool is active: where MDC0's generations are
// kept.
#pragma once

#include <mutex>

#include "engine/device/device.h"
#include "engine/format/superblock.h"

namespace mpool {

// Writes one superblock: SB0, then SB1, each durable before the next (on-media-format,
// "Superblock"). A copy that was bad is good afterwards.
void write_superblock(Device& device, const Superblock& superblock);
// Overwrites both copies with zeros; durable on return.
void wipe_superblocks(Device& device);

// Threads: all functions may be called at the same time. The lock is a leaf but for the device I/O.
class SuperblockStore {
 public:
  // `superblock` has an MDC0 part. With `on_media` false nothing is written before publish().
  SuperblockStore(Device& device, Superblock superblock, bool on_media);

  Mdc0Location mdc0() const;
  // Records the generation of one of MDC0's mlogs; durable on return.
  void record_generation(unsigned half, std::uint64_t generation);
  // Writes the superblocks for the first time.
  void publish();

 private:
  Device& device_;
  mutable std::mutex mutex_;
  Superblock superblock_;
  bool on_media_;
};

}  // namespace mpool
