// Which chunks are evicted when: the reaper's policy.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "engine/base/clock.h"
#include "engine/cache/advice.h"
#include "engine/cache/cached_chunk.h"
#include "engine/cache/reap_pressure.h"

namespace mpool {

// Numbers of pages; the last three since the beginning.
struct ReapCounts {
  std::uint64_t chunks = 0;                            // tracked
  std::array<std::uint64_t, kAdviceCount> resident{};  // by Advice
  std::uint64_t evicted = 0;
  std::uint64_t skipped = 0;       // left by an eviction, because they are mapped or locked
  std::uint64_t over_evicted = 0;  // came back within the time to live
};

// The tracked chunks. A chunk is used when it has more resident pages than at the last look, or
// its owner knows of a use. One that is not used for the time to live, times 1, 10 or 100 by its
// advice, is probed, then evicted. Each return of pages, after a probe or an eviction, doubles the
// least time that the chunk stays unused.
//
// Threads: one at a time.
class ReapLists {
 public:
  ReapLists(Clock& clock, const ReaperPolicy& policy)
      : clock_(clock), policy_(policy), pressure_(policy), lists_(policy.lists) {}

  void add(std::shared_ptr<CachedChunk> chunk);
  // Something may have changed: all lists are looked at.
  void note_activity() { quiet_looks_ = 0; }
  // Forgets all chunks.
  void clear();

  // Looks at the next list, and evicts from it. Returns the time until the next look, nullopt when
  // none is needed until chunks are opened or read, or memory gets short.
  std::optional<Clock::Duration> look(const MemoryInfo& memory, const ReaperSettings& settings);

  const ReapCounts& counts() const { return counts_; }
  const ReapPressure& pressure() const { return pressure_; }

 private:
  struct Tracked {
    std::shared_ptr<CachedChunk> chunk;
    std::uint64_t resident = 0;
    std::uint64_t uses = 0;
    Clock::Time last_use{};
    std::uint64_t evicted = 0;  // pages whose return would be an over-eviction
    Clock::Time evicted_at{};
    unsigned grace = 1;
    bool probed = false;  // since the last use
  };
  struct List {
    std::vector<Tracked> chunks;
    std::size_t next = 0;  // of a look that ran out of time
  };

  bool observe(Tracked& tracked, const ReaperSettings& settings);
  void note_use(Tracked& tracked, std::uint64_t grown);
  void evict_idle(List& list);
  void evict(Tracked& tracked);
  bool is_idle(const Tracked& tracked) const;
  std::uint64_t resident() const;
  void recount();
  std::optional<Clock::Duration> next_look(const ReaperSettings& settings) const;

  Clock& clock_;
  const ReaperPolicy policy_;
  ReapPressure pressure_;
  std::vector<List> lists_;
  std::size_t next_list_ = 0;
  std::size_t next_to_fill_ = 0;
  ReapCounts counts_;
  std::minstd_rand random_;
  unsigned quiet_looks_ = 0;  // consecutive, without use or eviction
  bool busy_ = false;         // the present look found uses, or evicted
  // In this round and the one before.
  std::uint64_t round_evicted_ = 0;
  std::uint64_t round_returned_ = 0;
  double returned_ = 0;
};

}  // namespace mpool
