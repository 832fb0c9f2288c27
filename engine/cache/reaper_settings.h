// What an administrator sets of the reaper (mpoolfs(8), "TUNABLES").
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mpool {

struct ReaperSettings {
  // The share of the available memory, in percent, that pages of committed content may use, 5..100;
  // 100: nothing is evicted. 0: by the amount of memory, default_percent().
  unsigned percent = 0;
  std::chrono::microseconds ttl{10'000'000};  // 100 us .. 1 h
  // Path of the memory cgroup of the readers; empty: the cgroup of this process, where it has a
  // limit, otherwise the machine.
  std::string cgroup{};
  // 0..3: logs nothing, cuts of read-ahead, also looks that evict, all looks.
  unsigned debug = 0;
};

// The fixed numbers of the policy (engine/cache/README.md, "The reaper").
struct ReaperPolicy {
  std::uint64_t chunk_size = 32u << 20;  // bytes of a file that are tracked as one
  // The tracked chunks are in this many lists; each is looked at once in a round.
  unsigned lists = 3;
  std::chrono::milliseconds round{1000};
  // A look that takes longer goes on with the next one.
  std::chrono::milliseconds look_time{20};
  // Before a chunk is evicted, this part of it is: if pages return, the chunk is in use.
  unsigned probe_divisor = 16;
  unsigned max_grace =
      1024;  // how often a chunk's return can double the time it stays, as a factor
  // Free memory, as a part of the low watermark, from which on read-ahead is cut for content that
  // is cold, for warm content, too, and unused content is evicted at once.
  unsigned cold_divisor = 4;
  unsigned warm_divisor = 8;
  unsigned distress_divisor = 8;
  unsigned high_percent = 5;    // the high watermark is above the low one, of the available memory
  std::uint64_t few_pages = 8;  // of a read-ahead that is cut
};

// The share in percent for this amount of memory in bytes.
unsigned default_percent(std::uint64_t memory);

// A setting that can be changed by its name.
struct ReaperTunable {
  std::string_view name;
  std::string_view unit;
  std::string_view fallback;
  std::string_view range;
  std::string (*get)(const ReaperSettings&);
  // Returns false, with nothing changed, for a value out of the range.
  bool (*set)(ReaperSettings&, std::string_view value);
};
std::span<const ReaperTunable> reaper_tunables();

// EINVAL: no such setting, or the value is out of the range, which the message has.
void apply(ReaperSettings& settings, std::string_view name, std::string_view value);

}  // namespace mpool
