// The root MDC as the journal uses it: its room, and how it grows (engine/names/records.md,
// "Room").
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "engine/pool/pool.h"

namespace mpool::names {

// Both logs of the pair grow together: room for both is found before the first is replaced, so that
// a tree that needs the larger one can always be compacted again.
//
// Threads: compact() is serialised with appends to the MDC by the caller; the rest may be called by
// any thread.
class RootLog {
 public:
  // Both outlive it.
  RootLog(Pool& pool, Mdc& mdc) : pool_(pool), mdc_(mdc) {}

  Mdc& mdc() { return mdc_; }

  std::uint64_t capacity() const;  // bytes that every compaction has: of the smaller log
  std::uint64_t active_capacity() const { return mdc_.capacity(); }
  std::uint64_t used() const { return mdc_.used(); }

  // False when there is too little free space, or there was when growth was tried and there is not
  // more since.
  bool can_grow() const;
  // The capacity that growth could reach with the free space there is; at least capacity().
  std::uint64_t possible_capacity() const;
  // The logs differ: growth was interrupted.
  bool is_uneven() const { return mdc_.capacity() != mdc_.inactive_capacity(); }

  // As Mdc::compact(), of records of `live` bytes in the log. Where they would fill more than half
  // of a log, both grow first, as far as there is space; `needed`: bytes that are wanted beside
  // them.
  void compact(std::uint64_t live, std::uint64_t needed,
               const std::function<void(const Mdc::Append&)>& write_live);

 private:
  // For the log that is not active, and for the one that is.
  using Successors = std::array<std::optional<ObjectRecord>, 2>;

  Successors allocate(std::uint64_t wanted);
  std::optional<Successors> allocate_exactly(std::uint64_t wanted);
  bool replace_inactive(const ObjectRecord& successor);
  std::uint64_t free_bytes() const;
  std::uint64_t least_growth() const;
  void note_refused();

  Pool& pool_;
  Mdc& mdc_;
  // Free bytes when growth failed; nothing: it did not.
  static constexpr std::uint64_t kNeverRefused = UINT64_MAX;
  std::atomic<std::uint64_t> refused_with_ = kNeverRefused;
};

}  // namespace mpool::names
