// What the two logs of an MDC, as they were found, prove about it (engine/mlog/README.md, "Pairs").
// Pure, no I/O. Used by opening an MDC and by checking one.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace mpool {

class Mlog;

// The state of one log of a pair at open.
struct FoundLog {
  std::string name;
  std::string begin = {};  // where its first block is: "byte 3145728 of /dev/sdb"
  std::uint64_t generation = 0;
  std::string damage = {};    // not empty: how it is damaged
  bool torn_blocks = false;   // blocks of a torn flush lie past its end
  std::uint32_t blocks = 0;   // of the log
  bool has_start = false;     // CSTART
  bool has_end = false;       // CEND
  std::uint64_t records = 0;  // data records
  bool records_after_end = false;

  bool written() const { return blocks != 0 || torn_blocks; }
  bool complete() const { return has_start && has_end; }
};
// Describes a log that was opened with compaction semantics and OnDamage::report.
FoundLog describe(const Mlog& log);

enum class PairUse {
  unused,   // the owner knows that it never stored a record in it
  unknown,  // it was never used only if both generations are 0
};

// The decision for a pair.
struct PairDecision {
  unsigned active = 0;       // the half whose records are valid; in doubt, the more complete half
  bool first_use = false;    // CSTART and CEND, or only CEND, must be written to it
  bool erase_other = false;  // the other half holds no valid record
  // Not empty: the media does not prove the content of the pair; the reason. Nothing may be
  // written.
  std::string doubt = {};
};
PairDecision decide_pair(const std::array<FoundLog, 2>& halves, PairUse use);

}  // namespace mpool
