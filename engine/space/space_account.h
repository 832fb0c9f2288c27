// How many zones are used, free and spare (engine/space/README.md, "Usable and spare space").
#pragma once

#include <cstdint>
#include <mutex>

#include "engine/space/space_map.h"

namespace mpool {

// The zone counts of a SpaceMap. Used and pending zones are charged to usable or to spare space;
// returned zones are credited to spare space first. Each operation is a few additions under one
// lock, so a snapshot is always consistent and the percentage can change at any time.
//
// Threads: all functions may be called at the same time. The lock is a leaf.
class SpaceAccount {
 public:
  SpaceAccount(std::uint32_t total, unsigned spare_percent);

  // True when `count` zones can be charged under `policy` now.
  bool has_room(std::uint32_t count, SpacePolicy policy) const;
  // free -> used under `policy`; returns false with nothing changed when there is no room.
  bool charge(std::uint32_t count, SpacePolicy policy);
  // free -> used, charged to usable space even without room. The zones must be free.
  void charge_loaded(std::uint32_t count);
  // used -> pending.
  void retire(std::uint32_t count);
  // pending -> free.
  void release(std::uint32_t count);

  void set_total(std::uint32_t total);
  void set_spare_percent(unsigned percent);
  unsigned spare_percent() const;
  SpaceUsage usage() const;

 private:
  struct Free {
    std::uint32_t usable, spare;
  };
  Free free() const;
  // The number of zones, of `count`, that are charged to spare space.
  static std::uint32_t spare_part(std::uint32_t count, SpacePolicy policy, Free free);
  static bool fits(std::uint32_t count, SpacePolicy policy, Free free);
  void divide();

  mutable std::mutex mutex_;
  std::uint32_t total_;
  unsigned percent_;
  std::uint32_t usable_ = 0;  // total_ - usable_ are spare
  std::uint32_t used_ = 0;
  std::uint32_t pending_ = 0;
  std::uint32_t spare_charged_ = 0;  // of used_ + pending_; ≤ total_ - usable_
};

}  // namespace mpool
