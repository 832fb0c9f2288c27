// The root MDC as the journal uses it: its room, and how it grows (engine/tree/records.md,
// "Room").
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "engine/pool/pool.h"

namespace mpool::names {

// Both logs of the pair grow together: room for both is allocated before the first is replaced, so
// that a tree that needs the larger log can always be compacted again.
//
// Threads: the caller serialises compact() with appends to the MDC; the rest may be called by any
// thread.
class RootLog {
 public:
  // `pool` and `mdc` must outlive it.
  RootLog(Pool& pool, Mdc& mdc) : pool_(pool), mdc_(mdc) {}

  Mdc& mdc() { return mdc_; }

  // bytes available to every compaction: the size of the smaller log
  std::uint64_t capacity() const;
  std::uint64_t active_capacity() const { return mdc_.capacity(); }
  std::uint64_t used() const { return mdc_.used(); }

  // False when there is too little free space, or growth failed and the free space has not
  // increased since.
  bool can_grow() const;
  // The capacity that growth could reach with the free space there is; at least capacity().
  std::uint64_t possible_capacity() const;
  // The logs differ in size: growth was interrupted.
  bool is_uneven() const { return mdc_.capacity() != mdc_.inactive_capacity(); }

  // As Mdc::compact(), for records of `live` bytes in the log. If they would fill more than half of
  // a log, both logs grow first, as far as space permits; `needed`: bytes required in addition.
  void compact(std::uint64_t live, std::uint64_t needed,
               const std::function<void(const Mdc::Append&)>& write_live);

 private:
  // For the inactive log, and for the active one.
  using Successors = std::array<std::optional<ObjectRecord>, 2>;

  Successors allocate(std::uint64_t wanted);
  std::optional<Successors> allocate_exactly(std::uint64_t wanted);
  bool replace_inactive(const ObjectRecord& successor);
  std::uint64_t free_bytes() const;
  std::uint64_t least_growth() const;
  void note_refused();

  Pool& pool_;
  Mdc& mdc_;
  // The free bytes when growth last failed; kNeverRefused: it did not fail.
  static constexpr std::uint64_t kNeverRefused = UINT64_MAX;
  std::atomic<std::uint64_t> refused_with_ = kNeverRefused;
};

}  // namespace mpool::names
