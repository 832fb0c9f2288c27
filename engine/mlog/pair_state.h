// What the two logs of an MDC, as they were found, prove about it (engine/mlog/README.md, "Pairs").
// Pure, no I/O. Used by opening an MDC and by checking one.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace mpool {

class Mlog;

// One log of a pair as it was found.
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
// Of a log that was opened with compaction semantics and OnDamage::report.
FoundLog describe(const Mlog& log);

enum class PairUse {
  unused,   // its owner knows that nothing was ever kept in it
  unknown,  // it was never used only if both generations are 0
};

// What to do with a pair.
struct PairDecision {
  unsigned active = 0;       // the half whose records count; in doubt, the one that tells most
  bool first_use = false;    // CSTART and CEND, or only CEND, are to be written to it
  bool erase_other = false;  // the other half holds nothing that counts
  // Not empty: the media does not prove what the pair holds, and why not. Nothing may be written.
  std::string doubt = {};
};
PairDecision decide_pair(const std::array<FoundLog, 2>& halves, PairUse use);

}  // namespace mpool
