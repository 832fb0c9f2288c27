// Which zones of a device are free (engine/space/README.md, "Zones").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace mpool {

enum class SpacePolicy { usable_only, usable_then_spare, spare_only, spare_then_usable };

// Zone counts. A zone is used, free, or pending (freed but not yet discarded). used + free +
// pending = total.
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
// Threads: all functions may be called at the same time; regions have locks of their own. The locks
// are leaves of the lock order (engine/pool/locking.md): no other lock is taken under them. Cost:
// logarithmic in the number of zones for allocate, release and insert; an alignment adds one search
// per free run that is long enough but not aligned.
class SpaceMap {
 public:
  static constexpr unsigned kDefaultRegions = 4;
  static constexpr unsigned kDefaultSparePercent = 5;

  // All `zones` (≥ 1) are free. `name` is the device's, for messages. regions: 1..zones (clamped).
  // spare_percent: 0..100.
  SpaceMap(std::string name, std::uint32_t zones, unsigned spare_percent = kDefaultSparePercent,
           unsigned regions = kDefaultRegions);
  ~SpaceMap();

  // Marks zones used that an object on the media owns (charged to usable space). Throws Error
  // ENOTRECOVERABLE, nothing changed, when the range is empty, out of range or partly owned
  // already.
  void insert(std::uint64_t first_zone, std::uint32_t count);

  // Allocates `count` (≥ 1) contiguous zones, the first a multiple of `alignment` (a power of two).
  // Returns nullopt when there is no room under `policy`. A run lies inside one region, or crosses
  // their boundaries when no region has room for it. usable_then_spare and spare_then_usable may
  // charge a part to each. With `near`, the first place at or after that zone in its region is
  // tried first (so that a file's zones are adjacent); then the following regions in turn. Throws
  // Error EINVAL for a count of 0 or another alignment.
  std::optional<std::uint64_t> allocate(std::uint32_t count, SpacePolicy policy,
                                        std::uint32_t alignment = 1,
                                        std::optional<std::uint64_t> near = std::nullopt);

  // used -> pending: no object owns the zones any more, but they must be discarded before they are
  // allocated again. Throws Error EINVAL, nothing changed, when not all of them are used.
  void retire(std::uint64_t first_zone, std::uint32_t count);
  // pending -> free; credited to spare space first. Throws Error EINVAL, nothing changed, when not
  // all of them are pending.
  void release(std::uint64_t first_zone, std::uint32_t count);

  // 0..100 (more counts as 100). Never fails; used may then exceed usable.
  void set_spare_percent(unsigned percent);
  // More zones at the end (the device grew), added to the last region: `zones` is the new total.
  // Throws Error EINVAL when it is below the present one.
  void grow(std::uint32_t zones);

  SpaceUsage usage() const;
  unsigned spare_percent() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mpool
