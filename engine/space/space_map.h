// Which zones of a device are free (spec engine.md, "Space (space map)").
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace mpool {

enum class SpacePolicy { usable_only, usable_then_spare, spare_only, spare_then_usable };

// Zone counts. A zone is used, free, or pending (freed but not yet discarded). used + free + pending = total.
struct SpaceUsage {
  std::uint32_t total = 0;
  std::uint32_t usable = 0;       // total * (100 - spare percent) / 100
  std::uint32_t spare = 0;        // total - usable
  std::uint32_t used = 0;         // by objects and superblocks; may exceed usable
  std::uint32_t free_usable = 0;  // can be allocated under usable_only
  std::uint32_t free_spare = 0;
  std::uint32_t pending = 0;
};

// Free and used zones of one device, in regions that are searched first fit and round robin.
//
// Threads: all functions may be called at the same time; regions have locks of their own. The locks are
// leaves of the lock order (engine/pool/locking.md): nothing else is taken under them.
// Cost: logarithmic in the number of zones for allocate, release and insert.
class SpaceMap {
 public:
  static constexpr unsigned kDefaultRegions = 4;
  static constexpr unsigned kDefaultSparePercent = 5;

  // All `zones` are free. `name` is the device's, for messages. regions: 1..zones (clamped).
  // spare_percent: 0..100.
  SpaceMap(std::string name, std::uint32_t zones, unsigned spare_percent = kDefaultSparePercent,
           unsigned regions = kDefaultRegions);
  ~SpaceMap();

  // Marks zones used that an object on the media owns (counts as usable). Throws Error ENOTRECOVERABLE
  // when they are out of range or partly owned already.
  void insert(std::uint64_t first_zone, std::uint32_t count);

  // Allocates `count` (≥ 1) contiguous zones, the first a multiple of `alignment` (a power of two), or
  // nullopt when there is no room under `policy`. With `near`, the first place at or after that zone in its
  // region is tried first (so that a file's zones lie next to each other); then the regions in turn.
  std::optional<std::uint64_t> allocate(std::uint32_t count, SpacePolicy policy,
                                        std::uint32_t alignment = 1,
                                        std::optional<std::uint64_t> near = std::nullopt);

  // used -> pending: the zones are no longer an object's but must be discarded before they are allocated
  // again. They must be used.
  void retire(std::uint64_t first_zone, std::uint32_t count);
  // pending -> free; goes back to spare first.
  void release(std::uint64_t first_zone, std::uint32_t count);

  // 0..100. Never fails; used may then exceed usable.
  void set_spare_percent(unsigned percent);
  // More zones at the end (the device grew): `zones` is the new total, not below the present one.
  void grow(std::uint32_t zones);

  SpaceUsage usage() const;
  unsigned spare_percent() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool
